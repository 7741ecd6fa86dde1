//! `lastlight delete` and `lastlight purge`: jobs that are over, with their tasks.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::{Args, ValueEnum};
use lastlight_api::{JobStatus, purge::PurgeJobs};
use serde_json::json;

use super::{AppArguments, CommandError, Verdict, control::AskedArguments, look_of, short};
use crate::{
    format::{Align, Table, ago, plain},
    output, say, tell,
};

/// `lastlight delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// Cancel the job first if it runs.
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    asked: AskedArguments,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// `lastlight purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeArguments {
    /// Delete only jobs that have been over for longer than this: 30d, 12h.
    #[arg(long, value_name = "TIME", value_parser = days)]
    older_than: f64,
    /// Delete only jobs that ended so. Can be repeated.
    #[arg(long, value_enum, required = true)]
    status: Vec<Ended>,
    /// Delete only jobs of this type.
    #[arg(long, value_name = "JOB_TYPE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job_type: Option<String>,
    /// Say what would be deleted, and delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ended {
    Completed,
    Cancelled,
    Failed,
}

impl Ended {
    fn status(self) -> JobStatus {
        match self {
            Self::Completed => JobStatus::Completed,
            Self::Cancelled => JobStatus::Cancelled,
            Self::Failed => JobStatus::Failed,
        }
    }
}

/// A number with `d` or `h`, in days.
fn days(text: &str) -> Result<f64, String> {
    let allowed = "use a number of days or hours, at least 1h: 30d, 12h";
    let (number, hours) = match text.strip_suffix('d') {
        Some(number) => (number, 24.0),
        None => (text.strip_suffix('h').ok_or(allowed)?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| allowed)?;
    let days = number * hours / 24.0;
    (1.0 / 24.0..=36_500.0).contains(&days).then_some(days).ok_or_else(|| allowed.to_owned())
}

pub(super) async fn delete(arguments: &DeleteArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let answer = session.client.delete(&job_id, arguments.cancel, arguments.asked.asked()).await?;
    if !session.printed(&answer.document) {
        say!("{}: {}", short(&job_id), answer.body.message);
    }
    Ok(Verdict::Good)
}

pub(super) async fn purge(arguments: &PurgeArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let request = |dry_run| PurgeJobs {
        older_than_days: arguments.older_than,
        status: arguments.status.iter().map(|ended| ended.status()).collect(),
        job_type: arguments.job_type.clone(),
        dry_run,
    };
    let found = session.client.purge(&request(true)).await?;
    if arguments.dry_run || found.body.jobs == 0 {
        if !session.printed(&found.document) {
            match found.body.jobs {
                0 => say!("No job is old enough to be deleted."),
                jobs => say!("{} would be deleted:", counted(jobs, found.body.has_more)),
            }
            output::text(&sample(&session, &found.body.sample));
        }
        return Ok(Verdict::Good);
    }
    if !arguments.yes && !session.is_json {
        let jobs = counted(found.body.jobs, found.body.has_more);
        output::text(&sample(&session, &found.body.sample));
        if !io::stdin().is_terminal() {
            return Err(CommandError::Argument(format!(
                "{jobs} would be deleted, and nobody can be asked here: add --yes, or look with --dry-run"
            )));
        }
        eprint!("Delete {jobs} with their tasks? Type yes: ");
        let _ = io::stderr().flush();
        let mut typed = String::new();
        if io::stdin().read_line(&mut typed).is_err() || typed.trim() != "yes" {
            return Err(CommandError::Argument("nothing was deleted".to_owned()));
        }
    }
    let mut jobs = 0;
    let archives_first = loop {
        let purged = session.client.purge(&request(false)).await?;
        jobs += purged.body.jobs;
        if !purged.body.has_more {
            break purged.body.archives_first;
        }
        if !session.is_json {
            tell!("{jobs} jobs so far");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    if !session.printed(&json!({ "jobs": jobs })) {
        say!(
            "{} are being deleted, with their tasks; the sweep does it in steps{}.",
            counted(jobs, false),
            if archives_first { ", each once it is archived" } else { "" }
        );
    }
    Ok(Verdict::Good)
}

fn counted(jobs: u64, has_more: bool) -> String {
    match (jobs, has_more) {
        (jobs, true) => format!("{jobs} jobs or more"),
        (1, false) => "1 job".to_owned(),
        (jobs, false) => format!("{jobs} jobs"),
    }
}

fn sample(session: &super::Session, jobs: &[lastlight_api::purge::PurgedJob]) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("JOB", Align::Left),
        ("TYPE", Align::Left),
        ("STATUS", Align::Left),
        ("ENDED", Align::Left),
    ]);
    let now = time::OffsetDateTime::now_utc();
    for job in jobs {
        table.row([
            plain(short(&job.job_id.to_string())),
            plain(job.job_type.clone()),
            (job.status.to_string(), look_of(job.status)),
            plain(ago(job.finished_at.0, now)),
        ]);
    }
    table.text(session.paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_days_or_hours() {
        assert_eq!(days("30d"), Ok(30.0));
        assert_eq!(days("12h"), Ok(0.5));
        assert_eq!(days("1.5d"), Ok(1.5));
        for wrong in ["0d", "-1d", "soon", "30", "10m", "", "d", "infd", "99999d", "0.5h"] {
            assert!(days(wrong).is_err(), "{wrong:?}");
        }
    }
}
