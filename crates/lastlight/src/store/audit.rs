//! The audit: the state of all planned tasks, and the number of deliveries and attempts that were
//! ignored.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{Database, DatabaseError, jobs::stage_of};
use crate::model::{JobId, Stage};

/// A delivery or attempt that is counted although it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
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

impl Database {
    /// Audits of a job's stages so far, in order. Reads every task of the job.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn audit_stages(&self, job_id: &JobId) -> Result<Vec<StageAudit>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/audit_stages.sql"))
            .bind(job_id.as_str())
            .fetch_all(self.pool().await?)
            .await?;
        let stages = rows.iter().map(|row| {
            let first: i64 = row.try_get("first_messages")?;
            let messages: i64 = row.try_get("batch_messages")?;
            Ok::<_, sqlx::Error>(StageAudit {
                stage: stage_of(row, "stage")?,
                is_planned: row.try_get("planned")?,
                is_finished: row.try_get("advanced")?,
                counters: Counts {
                    total: row.try_get("total")?,
                    completed: row.try_get("completed")?,
                    failed: row.try_get("failed")?,
                    skipped: row.try_get("skipped")?,
                },
                recount: Counts {
                    total: row.try_get("tasks")?,
                    completed: row.try_get("tasks_completed")?,
                    failed: row.try_get("tasks_failed")?,
                    skipped: row.try_get("tasks_skipped")?,
                },
                attempts: row.try_get("attempts")?,
                duplicates: row.try_get("duplicates")?,
                stale: row.try_get("stale")?,
                messages_first: first.min(messages),
                messages_again: (messages - first).max(0)
                    + row.try_get::<i64, _>("tasks_resent")?,
                batches_unsent: row.try_get("batches_owed")?,
                busy_seconds: row.try_get("busy_seconds")?,
            })
        });
        Ok(stages.collect::<Result<_, _>>()?)
    }

    /// Counts ignored deliveries or attempts, one for each item of `stages`. A count that cannot be
    /// written is lost; nothing depends on it.
    pub(super) async fn count_ignored(
        &self,
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
        let numbers: Vec<i16> = counts.keys().map(|(_, stage)| i16::from(stage.get())).collect();
        let counted =
            |kind| counts.values().map(|count| if kind == what { *count } else { 0 }).collect();
        let (duplicates, stale): (Vec<i64>, Vec<i64>) =
            (counted(Ignored::Duplicate), counted(Ignored::Stale));
        let noted = async {
            sqlx::query(include_str!("sql/count_ignored.sql"))
                .bind(jobs)
                .bind(numbers)
                .bind(duplicates)
                .bind(stale)
                .execute(self.pool().await?)
                .await?;
            Ok::<_, DatabaseError>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "could not write the counts for the audit");
        }
    }
}
