//! The audit: does everything that was planned have its place, and what did the system absorb on
//! the way?

use schemars::JsonSchema;
use serde::Serialize;

use super::{Controller, ControllerError};
use crate::{
    model::{JobId, JobStatus, Stage},
    store::StageAudit,
};

/// A job's books.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAudit {
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// In every stage: planned = completed + failed + skipped + open, the counters agree with a
    /// recount of the tasks, and if the job is over, nothing is open.
    pub consistent: bool,
    /// Each stage so far.
    pub stages: Vec<AuditedStage>,
}

/// A stage's books.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditedStage {
    /// Which stage.
    pub stage: Stage,
    /// Its plan is whole.
    pub is_planned: bool,
    /// It is over.
    #[serde(rename = "isOver")]
    pub is_finished: bool,
    /// Tasks that were planned.
    pub planned: i64,
    /// With a result.
    pub completed: i64,
    /// Failed for good.
    pub failed: i64,
    /// That will not run.
    pub skipped: i64,
    /// Without an outcome.
    pub open: i64,
    /// The stage's counters are what a recount of its tasks comes to.
    pub counters_agree: bool,
    /// Attempts that began.
    pub attempts: i64,
    /// Deliveries that found nothing to do.
    #[serde(rename = "duplicatesAbsorbed")]
    pub duplicates_ignored: i64,
    /// Ends of attempts that came too late to count.
    pub stale_completions_refused: i64,
    /// Messages sent, over all.
    pub messages_sent: i64,
    /// Of these, sent again: after a loss, a death or a failed attempt.
    pub messages_resent: i64,
    /// Batches whose messages are owed.
    #[serde(rename = "batchesOwed")]
    pub batches_unsent: i64,
    /// From the stage's first batch to its last outcome, as in the comparison's `tasks_per_second`,
    /// but with the time that a person took to retry it. Null until the stage is over.
    pub busy_seconds: Option<f64>,
}

impl From<StageAudit> for AuditedStage {
    fn from(audit: StageAudit) -> Self {
        // What stands in the tasks' rows is what happened; the counters are what the workflow goes
        // by.
        let counts = audit.recount;
        Self {
            stage: audit.stage,
            is_planned: audit.is_planned,
            is_finished: audit.is_finished,
            planned: counts.total,
            completed: counts.completed,
            failed: counts.failed,
            skipped: counts.skipped,
            open: counts.open(),
            counters_agree: audit.counters == counts,
            attempts: audit.attempts,
            duplicates_ignored: audit.duplicates,
            stale_completions_refused: audit.stale,
            messages_sent: audit.messages_first + audit.messages_again,
            messages_resent: audit.messages_again,
            batches_unsent: audit.batches_unsent,
            busy_seconds: audit.busy_seconds,
        }
    }
}

impl Controller {
    /// A job's books. Reads every task of the job, so it is not for polling.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn audit(&self, job_id: &JobId) -> Result<JobAudit, ControllerError> {
        let unknown = ControllerError::UnknownJob { job_id: *job_id };
        let job = self.0.database.get_job(job_id).await?.ok_or(unknown)?;
        let stages: Vec<AuditedStage> = self
            .0
            .database
            .audit_stages(job_id)
            .await?
            .into_iter()
            .map(AuditedStage::from)
            .collect();
        let is_whole =
            |books: &AuditedStage| books.open >= 0 && (books.open == 0 || !books.is_finished);
        Ok(JobAudit {
            job_id: *job_id,
            status: job.status,
            consistent: stages.iter().all(|books| books.counters_agree && is_whole(books)),
            stages,
        })
    }
}
