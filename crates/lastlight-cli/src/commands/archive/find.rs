//! The archived run that a job id, or its beginning, and perhaps a number mean.

use clap::Args;
use lastlight_api::{JobId, archive::ArchivedRun};
use lastlight_engine::archive::ArchiveStorage;

use super::ArchiveError;
use crate::tell;

/// Which run of which job.
#[derive(Debug, Args)]
pub(super) struct JobArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// The run: 1, and one more after each resubmission. Without it, the newest.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    run: Option<i32>,
}

/// Finds the run; says on standard error if there are others.
pub(super) async fn find(
    archive: &ArchiveStorage,
    arguments: &JobArguments,
) -> Result<ArchivedRun, ArchiveError> {
    let text = arguments.job_id.trim().to_ascii_lowercase();
    if !(4..=64).contains(&text.len()) || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(ArchiveError::Argument(format!(
            "{:?} is not a job id: expected 64 characters of 0-9 and a-f, or the first 4 or more of them",
            text.chars().take(80).collect::<String>()
        )));
    }
    let runs = runs(archive, &text).await?;
    let Some(newest) = runs.last() else {
        return Err(ArchiveError::NoSuchJob(format!(
            "no archived job id begins with {text} in the container {}",
            archive.container()
        )));
    };
    let job_id = newest.job_id;
    let numbers: Vec<String> = runs.iter().map(|run| run.run.to_string()).collect();
    let chosen = match arguments.run {
        None => Some(newest),
        // Of several lives of a job that was deleted, the last one.
        Some(number) => runs.iter().rev().find(|run| run.run == number),
    };
    let Some(chosen) = chosen else {
        return Err(ArchiveError::NoSuchJob(format!(
            "run {} of {job_id} is not in the archive; archived runs: {}",
            arguments.run.unwrap_or_default(),
            numbers.join(", ")
        )));
    };
    if runs.len() > 1 && arguments.run.is_none() {
        tell!(
            "lastlight: run {} of {job_id}, the newest of the archived runs {}; --run chooses another one",
            chosen.run,
            numbers.join(", ")
        );
    }
    Ok(chosen.clone())
}

/// The runs of the one job whose id begins so, the oldest first.
async fn runs(archive: &ArchiveStorage, prefix: &str) -> Result<Vec<ArchivedRun>, ArchiveError> {
    let mut found: Vec<ArchivedRun> = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let (page, next) = archive.list(prefix, from.as_deref()).await?;
        found.extend(page);
        let first: Option<JobId> = found.first().map(|run| run.job_id);
        if let Some(other) = found.iter().find(|run| Some(run.job_id) != first)
            && let Some(first) = first
        {
            return Err(ArchiveError::NoSuchJob(format!(
                "more than one archived job id begins with {prefix}: {first} and {}; give more characters",
                other.job_id
            )));
        }
        from = next;
        if from.is_none() {
            break;
        }
    }
    found.sort_by_key(|run| (run.created_at, run.run));
    Ok(found)
}
