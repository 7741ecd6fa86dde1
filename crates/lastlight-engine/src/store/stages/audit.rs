//! The audit: the state of all planned tasks, and the number of deliveries and attempts that were
//! ignored.

use std::collections::BTreeMap;

use super::Stages;
use crate::{
    model::{JobId, Stage},
    store::connection::DatabaseError,
};

/// A delivery or attempt that is counted although it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Ignored {
    /// A delivery that was ignored as a duplicate.
    Duplicate,
    /// The end of an attempt that no longer held its task.
    Stale,
}

/// Audit of a stage: its counters and a recount of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct StageAudit {
    pub stage: Stage,
    /// Whether the stage is planned completely.
    pub is_planned: bool,
    /// Whether the stage is finished.
    pub is_finished: bool,
    /// The stage's counters.
    pub counters: Counts,
    /// The recount of its tasks' rows.
    pub recount: Counts,
    pub attempts: i64,
    /// Deliveries that were ignored as duplicates.
    pub duplicates: i64,
    /// Ends of attempts that came too late to count.
    pub stale: i64,
    /// Messages sent for the first time.
    pub messages_first: i64,
    /// Messages sent again after a lost message, a process that died or a failed attempt.
    pub messages_again: i64,
    /// Batches whose messages are unsent.
    pub batches_unsent: i64,
    /// Seconds from the first batch to the last outcome; `None` until the stage is finished.
    pub busy_seconds: Option<f64>,
}

/// Number of tasks by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that the planner has written.
    pub total: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
}

impl Counts {
    pub fn open(&self) -> i64 {
        self.total - self.completed - self.failed - self.skipped
    }
}

impl Stages<'_> {
    /// Audits of a job's stages so far, in order. Reads every task of the job.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn audit(self, job_id: &JobId) -> Result<Vec<StageAudit>, DatabaseError> {
        let stages = sqlx::query_file!("src/store/sql/audit_stages.sql", job_id.as_str())
            .map(|row| StageAudit {
                stage: row.stage,
                is_planned: row.is_planned,
                is_finished: row.is_finished,
                counters: Counts {
                    total: row.total,
                    completed: row.completed,
                    failed: row.failed,
                    skipped: row.skipped,
                },
                recount: Counts {
                    total: row.tasks,
                    completed: row.tasks_completed,
                    failed: row.tasks_failed,
                    skipped: row.tasks_skipped,
                },
                attempts: row.attempts,
                duplicates: row.duplicates,
                stale: row.stale,
                messages_first: row.first_messages.min(row.batch_messages),
                messages_again: (row.batch_messages - row.first_messages).max(0) + row.tasks_resent,
                batches_unsent: row.batches_unsent,
                busy_seconds: row.busy_seconds,
            })
            .fetch_all(self.0.pool().await?)
            .await?;
        Ok(stages)
    }

    /// Counts ignored deliveries or attempts, one for each item of `stages`. A count that cannot be
    /// written is lost; nothing depends on it.
    pub(in crate::store) async fn count_ignored(
        self,
        stages: impl Iterator<Item = (JobId, Stage)>,
        what: Ignored,
    ) {
        let mut counts: BTreeMap<(JobId, Stage), i64> = BTreeMap::new();
        for stage in stages {
            *counts.entry(stage).or_default() += 1;
        }
        if counts.is_empty() {
            return;
        }
        let jobs: Vec<&str> = counts.keys().map(|(job_id, _)| job_id.as_str()).collect();
        let numbers: Vec<i16> = counts.keys().map(|(_, stage)| stage.number()).collect();
        let counted =
            |kind| counts.values().map(|count| if kind == what { *count } else { 0 }).collect();
        let (duplicates, stale): (Vec<i64>, Vec<i64>) =
            (counted(Ignored::Duplicate), counted(Ignored::Stale));
        let noted = async {
            sqlx::query_file!(
                "src/store/sql/count_ignored.sql",
                &jobs as _,
                &numbers,
                &duplicates,
                &stale,
            )
            .execute(self.0.pool().await?)
            .await?;
            Ok::<_, DatabaseError>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "could not write the counts for the audit");
        }
    }
}
