//! Stages that wait for the end of another job.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::Stages;
use crate::{
    model::{GateDecision, JobId, Labels, ProcessingPath, Stage},
    store::{
        connection::DatabaseError,
        rows::{StageKey, StoredLabels},
    },
};

/// A stage that is ready to submit the job that it waits for.
#[derive(Debug, Clone)]
pub struct ChildToSubmit {
    pub job_id: JobId,
    pub stage: Stage,
    /// The stage's name.
    pub name: String,
    /// The type of the job that has the stage.
    pub job_type: String,
    pub definition_id: Option<String>,
    pub parameters: Box<RawValue>,
    pub path: ProcessingPath,
    /// The labels of the job that has the stage.
    pub labels: Labels,
    /// Since when it is ready.
    pub ready_at: OffsetDateTime,
}

impl ChildToSubmit {
    /// The stage.
    pub fn key(&self) -> StageKey {
        StageKey { job_id: self.job_id, stage: self.stage }
    }
}

impl Stages<'_> {
    /// The stages of a job, or of all jobs, that are ready to submit the job that they wait for.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn children_to_submit(
        self,
        job_id: Option<&JobId>,
        limit: i64,
    ) -> Result<Vec<ChildToSubmit>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            ChildToSubmit,
            "src/store/sql/children_to_submit.sql",
            job_id.map(JobId::as_str),
            limit,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Notes which job a stage waits for; `false` if the stage waits for none any more.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn wait_for_child(
        self,
        key: &StageKey,
        child: &JobId,
    ) -> Result<bool, DatabaseError> {
        Ok(sqlx::query_file_scalar!(
            "src/store/sql/wait_for_child.sql",
            key.job_id.as_str(),
            key.stage.number(),
            child.as_str(),
        )
        .fetch_one(self.0.pool().await?)
        .await?)
    }

    /// Ends a stage that submits no job, because that failed or because it does not run, or that
    /// cannot wait for the job `child`. `output` is JSON.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn end_without_child(
        self,
        key: &StageKey,
        decision: GateDecision,
        output: &str,
        child: Option<&JobId>,
    ) -> Result<bool, DatabaseError> {
        let ended = sqlx::query_file!(
            "src/store/sql/fail_child.sql",
            key.job_id.as_str(),
            key.stage.number(),
            output as _,
            decision.as_str(),
            child.map(JobId::as_str),
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Ends the stages whose job has finished: that job, or any. Each is returned to one caller,
    /// which must advance it.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn children_ended(
        self,
        child: Option<&JobId>,
        limit: i64,
    ) -> Result<Vec<StageKey>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            StageKey,
            "src/store/sql/children_ended.sql",
            child.map(JobId::as_str),
            limit,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// The jobs that wait for a job, directly and through others, with the number of steps between.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn ancestors(
        self,
        job_id: &JobId,
        most_steps: i32,
    ) -> Result<Vec<(JobId, i32)>, DatabaseError> {
        Ok(sqlx::query_file!("src/store/sql/job_ancestors.sql", job_id.as_str(), most_steps)
            .map(|row| (row.job_id, row.steps))
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// The jobs for which the stages of an ended job waited, and no other running job waits.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn children_of(self, job_id: &JobId) -> Result<Vec<JobId>, DatabaseError> {
        let children = sqlx::query_file_scalar!("src/store/sql/children_of.sql", job_id.as_str())
            .fetch_all(self.0.pool().await?)
            .await?;
        Ok(children.iter().filter_map(|child| child.parse().ok()).collect())
    }
}
