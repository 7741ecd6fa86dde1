//! `lastlight archive list`: the archived runs by their metadata, without reading a blob.

use std::{cmp::Reverse, collections::BinaryHeap};

use clap::Args;
use lastlight_api::{JobStatus, Timestamp, archive::ArchivedRun};
use lastlight_engine::archive::ArchiveStorage;
use serde_json::json;
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, Time, format_description::well_known::Rfc3339,
    macros::format_description,
};

use super::{ArchiveError, size};
use crate::{
    format::{Align, Table, plain},
    output, say,
    style::{Look, Paint},
};

/// `lastlight archive list`.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only jobs of this type.
    #[arg(long = "type", value_name = "JOB_TYPE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job_type: Option<String>,
    /// Only jobs that ended so: completed, failed or cancelled. Can be repeated.
    #[arg(long, value_name = "STATUS", value_parser = ended)]
    status: Vec<JobStatus>,
    /// Only runs that ended at this time or later: 2026-12-01, or 2026-12-01T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time_of)]
    from: Option<OffsetDateTime>,
    /// Only runs that ended before this time.
    #[arg(long, value_name = "TIME", value_parser = time_of)]
    to: Option<OffsetDateTime>,
    /// Maximum number of runs to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

fn ended(text: &str) -> Result<JobStatus, String> {
    JobStatus::from_name(&text.to_ascii_lowercase())
        .filter(|status| status.is_terminal())
        .ok_or_else(|| "use completed, failed or cancelled".to_owned())
}

/// A date, which means its beginning in UTC, or a time.
fn time_of(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc());
    }
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        "use a date or a time with its offset: 2026-12-01, 2026-12-01T08:00:00Z".to_owned()
    })
}

impl ListArguments {
    fn wants(&self, run: &ArchivedRun) -> bool {
        self.job_type.as_ref().is_none_or(|wanted| *wanted == run.job_type)
            && (self.status.is_empty() || self.status.contains(&run.status))
            && self.from.is_none_or(|from| run.finished_at.0 >= from)
            && self.to.is_none_or(|to| run.finished_at.0 < to)
    }
}

pub(super) async fn list(
    archive: &ArchiveStorage,
    arguments: &ListArguments,
    is_json: bool,
) -> Result<(), ArchiveError> {
    // The service lists by name, which says nothing about time: all are looked at, and those kept that ended last.
    let mut newest = BinaryHeap::new();
    let (mut matching, mut number) = (0_u64, 0_u64);
    let mut from: Option<String> = None;
    loop {
        let (page, next) = archive.list("", from.as_deref()).await?;
        for run in page.into_iter().filter(|run| arguments.wants(run)) {
            matching += 1;
            number += 1;
            // The number tells runs apart that ended at the same time.
            newest.push(Reverse(ByEnd { ended: run.finished_at, number, run }));
            if newest.len() > arguments.limit as usize {
                newest.pop();
            }
        }
        from = next;
        if from.is_none() {
            break;
        }
    }
    let runs: Vec<ArchivedRun> =
        newest.into_sorted_vec().into_iter().map(|Reverse(by_end)| by_end.run).collect();
    if is_json {
        say!("{}", json!({ "container": archive.container(), "matching": matching, "runs": runs }));
        return Ok(());
    }
    if runs.is_empty() {
        say!("No archived run matches, in the container {}.", archive.container());
        return Ok(());
    }
    output::text(&table(&runs));
    if matching > runs.len() as u64 {
        say!("{} of {matching}; --limit shows more.", runs.len());
    }
    Ok(())
}

#[derive(Debug)]
struct ByEnd {
    ended: Timestamp,
    number: u64,
    run: ArchivedRun,
}

impl ByEnd {
    fn key(&self) -> (Timestamp, Reverse<u64>) {
        (self.ended, Reverse(self.number))
    }
}

impl PartialEq for ByEnd {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ByEnd {}

impl PartialOrd for ByEnd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByEnd {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

fn table(runs: &[ArchivedRun]) -> String {
    let mut table = Table::new([
        ("JOB", Align::Left),
        ("RUN", Align::Right),
        ("TYPE", Align::Left),
        ("STATUS", Align::Left),
        ("ENDED (UTC)", Align::Left),
        ("TASKS", Align::Right),
        ("SIZE", Align::Right),
    ]);
    for run in runs {
        let job_id = run.job_id.to_string();
        table.row([
            plain(job_id.get(..12).unwrap_or(&job_id)),
            plain(run.run.to_string()),
            plain(run.job_type.clone()),
            (run.status.to_string(), look_of(run.status)),
            plain(second(run.finished_at)),
            plain(run.tasks.to_string()),
            plain(size(run.bytes)),
        ]);
    }
    table.text(Paint::for_stdout())
}

pub(super) fn look_of(status: JobStatus) -> Look {
    match status {
        JobStatus::Completed => Look::Good,
        JobStatus::Failed => Look::Bad,
        _ => Look::Warning,
    }
}

pub(super) fn second(time: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.0.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_have_an_offset() {
        assert_eq!(time_of("2026-12-01"), time_of("2026-12-01T00:00:00Z"));
        assert_eq!(time_of("2026-12-01T02:00:00+02:00"), time_of("2026-12-01"));
        for wrong in ["", "yesterday", "2026-13-01", "2026-12-01T00:00:00", "2026-12"] {
            assert!(time_of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_ends_are_statuses_here() {
        assert_eq!(ended("Failed"), Ok(JobStatus::Failed));
        assert!(ended("queued").is_err() && ended("").is_err());
    }
}
