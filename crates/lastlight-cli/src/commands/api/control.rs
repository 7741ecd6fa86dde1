//! `lastlight cancel`, `retry`, `pause`, `resume` and `audit`.

use clap::Args;
use lastlight_api::{
    JobStatus,
    audit::JobAudit,
    control::{Cancellation, Pause, Retry},
};
use serde::de::DeserializeOwned;

use super::{AppArguments, CommandError, Session, Verdict, look_of};
use crate::{
    client::Asked,
    format::{Align, Table, count_of_bad, plain},
    output, say,
    style::Look,
};

/// The arguments of a command that changes a job.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    #[command(flatten)]
    asked: AskedArguments,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// `lastlight resubmit`.
#[derive(Debug, Args)]
pub(crate) struct ResubmitArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// Run by the workflow file that the job was submitted with, although the file is another one by now.
    #[arg(long)]
    stored_definition: bool,
    #[command(flatten)]
    asked: AskedArguments,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Who asks for a change, and why.
#[derive(Debug, Args)]
pub(crate) struct AskedArguments {
    /// Why, for the events of the job.
    #[arg(long)]
    reason: Option<String>,
    /// Who asks, for the events of the job.
    #[arg(long, env = "USER", hide_env_values = true)]
    by: Option<String>,
}

impl AskedArguments {
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { by: self.by.as_deref(), reason: self.reason.as_deref() }
    }
}

/// The arguments of a command that takes only a job.
#[derive(Debug, Args)]
pub(crate) struct ControlArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

pub(super) async fn cancel(arguments: &ChangeArguments) -> Result<Verdict, CommandError> {
    change("cancel", arguments, |job: Cancellation| (job.status, job.message)).await
}

pub(super) async fn retry(arguments: &ChangeArguments) -> Result<Verdict, CommandError> {
    change("retry", arguments, |job: Retry| (job.status, job.message)).await
}

pub(super) async fn pause(arguments: &ChangeArguments) -> Result<Verdict, CommandError> {
    change("pause", arguments, |job: Pause| (job.status, job.message)).await
}

pub(super) async fn resume(arguments: &ChangeArguments) -> Result<Verdict, CommandError> {
    change("resume", arguments, |job: Pause| (job.status, job.message)).await
}

/// Runs a job again; its progress is followed by `lastlight watch`.
pub(super) async fn resubmit(arguments: &ResubmitArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let asked = arguments.asked.asked();
    let answer = session.client.resubmit(&job_id, arguments.stored_definition, asked).await?;
    if !session.printed(&answer.document) {
        let short = super::short(&job_id);
        say!("{} lastlight watch {short} follows it.", answer.body.message);
    }
    Ok(Verdict::Good)
}

/// Requests `action` for the job and prints its status and the message.
async fn change<T: DeserializeOwned>(
    action: &str,
    arguments: &ChangeArguments,
    outcome: fn(T) -> (JobStatus, String),
) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let answer = session.client.change(action, &job_id, arguments.asked.asked()).await?;
    if !session.printed(&answer.document) {
        let (status, message) = outcome(answer.body);
        let status = session.paint.text(look_of(status), status.as_str());
        say!("{} is {status}. {message}", super::short(&job_id));
    }
    Ok(Verdict::Good)
}

/// Prints the audit of a job; an inconsistent audit is a failure.
pub(super) async fn audit(arguments: &ControlArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let answer = session.client.audit(&job_id).await?;
    if !session.printed(&answer.document) {
        output::text(&books(&session, &answer.body));
    }
    Ok(if answer.body.consistent { Verdict::Good } else { Verdict::Bad })
}

fn books(session: &Session, audit: &JobAudit) -> String {
    let mut table = Table::new([
        ("STAGE", Align::Right),
        ("PLANNED", Align::Right),
        ("COMPLETED", Align::Right),
        ("FAILED", Align::Right),
        ("SKIPPED", Align::Right),
        ("OPEN", Align::Right),
        ("UNSENT", Align::Right),
        ("ATTEMPTS", Align::Right),
        ("MESSAGES", Align::Right),
        ("RESENT", Align::Right),
        ("DUPLICATES", Align::Right),
        ("STALE", Align::Right),
        ("COUNTERS", Align::Left),
    ]);
    for stage in &audit.stages {
        let counters = if stage.counters_agree {
            ("agree".to_owned(), Look::Good)
        } else {
            ("differ".to_owned(), Look::Bad)
        };
        table.row([
            plain(stage.stage.to_string()),
            plain(stage.planned.to_string()),
            plain(stage.completed.to_string()),
            count_of_bad(stage.failed),
            plain(stage.skipped.to_string()),
            plain(stage.open.to_string()),
            plain(stage.batches_unsent.map(|unsent| unsent.to_string()).unwrap_or_default()),
            plain(stage.attempts.to_string()),
            plain(stage.messages_sent.to_string()),
            plain(stage.messages_resent.to_string()),
            plain(stage.duplicates_ignored.to_string()),
            plain(stage.stale_completions_refused.to_string()),
            counters,
        ]);
    }
    let verdict = if audit.consistent {
        session.paint.text(Look::Good, "Consistent: every planned task is accounted for.")
    } else {
        session.paint.text(
            Look::Bad,
            "Inconsistent: the counters do not match the tasks. `reconcile` repairs counters; audit again in a minute.",
        )
    };
    format!("{}{verdict}\n", table.text(session.paint))
}
