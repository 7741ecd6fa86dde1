//! Audit a job: recount its tasks, compare them with its counters, and report how much was repeated
//! or ignored on the way.

use lastlight_api::audit::{AuditedStage, JobAudit};

use super::Queries;
use crate::workflow::ControllerError;
use crate::{model::JobId, store::StageAudit};

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
            batches_unsent: Some(audit.batches_unsent),
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
        let job = self.0.database.jobs().get(job_id).await?.ok_or(unknown)?;
        let stages: Vec<AuditedStage> = self
            .0
            .database
            .stages()
            .audit(job_id)
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
