//! Audit a job: recount its tasks, compare them with its counters, and report how much was repeated
//! or ignored on the way.

use schemars::JsonSchema;
use serde::Serialize;

use super::Queries;
use crate::workflow::ControllerError;
use crate::{
    model::{JobId, JobStatus, Stage},
    store::StageAudit,
};

/// The audit of a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAudit {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// Whether in every stage planned = completed + failed + skipped + open, the counters agree
    /// with a recount of the tasks, and no task is open once the stage is finished.
    pub consistent: bool,
    /// Each stage so far.
    pub stages: Vec<AuditedStage>,
}

/// The audit of a stage.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditedStage {
    /// The number of the stage.
    pub stage: Stage,
    /// Whether all of its tasks are planned.
    pub is_planned: bool,
    /// Whether the stage is finished.
    #[serde(rename = "isOver")]
    pub is_finished: bool,
    /// Planned tasks.
    pub planned: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed for good.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
    /// Tasks without an outcome.
    pub open: i64,
    /// Whether the stage's counters are equal to a recount of its tasks.
    pub counters_agree: bool,
    /// Attempts that began.
    pub attempts: i64,
    /// Deliveries that were ignored as duplicates, since there was nothing to do.
    #[serde(rename = "duplicatesAbsorbed")]
    pub duplicates_ignored: i64,
    /// Attempts that ended too late, so that their outcomes were discarded.
    pub stale_completions_refused: i64,
    /// Messages sent in total.
    pub messages_sent: i64,
    /// Of these, messages that were sent again: after a loss, the death of a process or a failed
    /// attempt.
    pub messages_resent: i64,
    /// Batches whose messages are unsent.
    #[serde(rename = "batchesOwed")]
    pub batches_unsent: i64,
    /// Seconds from the stage's first batch to its last outcome, as in the comparison's
    /// `tasks_per_second`, but including the time that passed until a user retried it. Null until
    /// the stage is finished.
    pub busy_seconds: Option<f64>,
}

impl From<StageAudit> for AuditedStage {
    fn from(audit: StageAudit) -> Self {
        // The tasks' rows are what happened; the counters are what the workflow relies on.
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

impl Queries {
    /// Audits a job. Reads every task of the job, so it is not for polling.
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
