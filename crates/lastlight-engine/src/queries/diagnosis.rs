//! Diagnosis of the database for operators. Nothing here is part of a job's life.

use std::time::Duration;

use lastlight_api::tasks::ListedTask;

use super::{JobFilter, Queries, Since, StoredJob, TaskFilter};
pub use crate::store::{EnumDiagnosis, IndexStatistics, StatementDiagnosis, TableStatistics};
use crate::workflow::ControllerError;

/// A list for debugging looks back as many hours as it can.
const EVER: u16 = u16::MAX;

impl Queries {
    /// Size, maintenance and use of tables and indexes; and the schema's name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn statistics(
        &self,
    ) -> Result<(&str, Vec<TableStatistics>, Vec<IndexStatistics>), ControllerError> {
        let database = &self.0.database;
        let tables = database.diagnostics().table_statistics().await?;
        Ok((database.schema(), tables, database.diagnostics().index_statistics().await?))
    }

    /// The schema's enum types, compared with those that the app expects.
    ///
    /// # Errors
    /// The database failed.
    pub async fn diagnose_enums(&self) -> Result<Vec<EnumDiagnosis>, ControllerError> {
        Ok(self.0.database.diagnostics().enums().await?)
    }

    /// Whether the database accepts each of the app's statements; and how long the check took.
    ///
    /// # Errors
    /// The database failed.
    pub async fn diagnose_statements(
        &self,
    ) -> Result<(Vec<StatementDiagnosis>, Duration), ControllerError> {
        Ok(self.0.database.diagnostics().statements().await?)
    }

    /// The newest jobs with all their data, and the first tasks of the newest jobs; at most `limit`
    /// of each.
    ///
    /// # Errors
    /// The database failed.
    pub async fn newest(
        &self,
        limit: u16,
    ) -> Result<(Vec<StoredJob>, Vec<ListedTask>), ControllerError> {
        let every_job = JobFilter { since: Since::Ever, ..JobFilter::default() };
        let listed = self.list_jobs(every_job, None, limit).await?;
        let mut jobs = Vec::with_capacity(listed.rows.len());
        for row in listed.rows {
            // A job that was deleted in the meantime is left out.
            jobs.extend(self.0.database.jobs().get(&row.job_id).await?.map(StoredJob::from));
        }
        let every_task = TaskFilter { hours: EVER, job_type: None, stage: None, status: None };
        Ok((jobs, self.list_tasks(every_task, None, limit).await?.rows))
    }
}
