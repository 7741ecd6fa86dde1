//! Storing a submission as a job, and reading jobs.

use serde_json::value::RawValue;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::{Jobs, search::parts};
use crate::{
    failpoint::failpoint,
    model::{
        JobId, JobStatus, JobVersion, Labels, ProcessingPath, Stage, StageInGraph, StageKind, Term,
        TraceParent,
    },
    store::{
        connection::DatabaseError,
        rows::{ArchiveFirst, JsonText, StageKey, StoredLabels, StoredTrace},
    },
};

/// A submission that passed all checks.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// Hash of the job type and the parameters.
    pub job_id: &'a JobId,
    /// Its name in the catalog.
    pub job_type: &'a str,
    /// Number of stages that it will have.
    pub total_stages: Stage,
    /// The parameters with their defaults, as JSON.
    pub parameters: &'a str,
    /// Chosen at submission, never changed.
    pub path: ProcessingPath,
    /// Seconds until the job fails unless it is finished.
    pub deadline_seconds: f64,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
    pub labels: &'a Labels,
    /// What it can be found by.
    pub terms: &'a [Term],
    /// Its stages, in order, if they form a graph.
    pub graph: Option<&'a [StageInGraph]>,
    /// The definition that its stages were made from.
    pub definition: Option<NewDefinition<'a>>,
    /// The addresses that are told of its end.
    pub notify: &'a [String],
}

/// The text from which a job was made.
#[derive(Debug, Clone, Copy)]
pub struct NewDefinition<'a> {
    /// The SHA-256 of the source, in hexadecimal digits.
    pub id: &'a str,
    pub name: &'a str,
    pub version: Option<i32>,
    pub source: &'a str,
}

/// The text from which jobs were made, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDefinition {
    /// The name of their job type.
    pub name: String,
    /// A number that its author gave it.
    pub version: Option<i32>,
    /// The text.
    pub source: String,
}

/// A job as stored.
#[derive(Debug, Clone)]
pub struct JobRecord {
    pub job_id: JobId,
    /// Its name in the catalog.
    pub job_type: String,
    pub status: JobStatus,
    /// The stage that runs or is next.
    pub stage: Stage,
    /// Number of its stages.
    pub total_stages: Stage,
    /// The parameters with their defaults.
    pub parameters: Box<RawValue>,
    /// One summary per ended stage, keyed by the number of the stage.
    pub stage_results: Box<RawValue>,
    /// The final result, once there is one.
    pub result_data: Option<JsonText>,
    /// Why it failed, if it did.
    pub error_details: Option<String>,
    pub path: ProcessingPath,
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    /// When its row changed last.
    pub updated_at: OffsetDateTime,
    /// When it finished.
    pub finished_at: Option<OffsetDateTime>,
    /// When it fails unless it is finished.
    pub deadline: Option<OffsetDateTime>,
    /// Whether it is to pause at the end of its stage.
    pub is_pause_requested: bool,
    /// Since when it is paused, if it is.
    pub paused_at: Option<OffsetDateTime>,
    /// The definition that its stages were made from.
    pub definition_id: Option<String>,
    /// The stages that have not ended, if its stages form a graph.
    pub open_stages: Option<i16>,
    /// Whether stages of other jobs may wait for its end.
    pub is_child: Option<bool>,
    /// Whether it is being deleted, also to run again; not read for lists.
    pub is_purging: Option<bool>,
    /// The run of the job: 1, and one more after each resubmission; not read for lists.
    pub run: Option<i32>,
    /// Whether it is to run again once its tasks are deleted; not read for lists.
    pub is_resubmitted: Option<bool>,
    /// Those of its first submission.
    pub labels: Labels,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

impl JobRecord {
    /// Whether its stages form a graph.
    pub fn is_graph(&self) -> bool {
        self.open_stages.is_some()
    }

    /// The stage that runs or is next; of a graph the last one that became ready.
    pub fn key(&self) -> StageKey {
        StageKey { job_id: self.job_id, stage: self.stage }
    }
}

/// Whether a job is finished, and the version of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPulse {
    /// Whether the job is finished.
    pub is_finished: bool,
    /// Changes whenever something happens to the job.
    pub version: JobVersion,
}

impl Jobs<'_> {
    /// Stores a job, its first stage (all stages of a graph) and its unsent job messages; `false` if
    /// the job exists already, in which case nothing was written. `grace_seconds`: how long only the caller may send the
    /// message.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn insert(self, job: NewJob<'_>, grace_seconds: f64) -> Result<bool, DatabaseError> {
        failpoint!("submit.before_commit", Err(DatabaseError::lost()));
        let is_new = match job.graph {
            Some(stages) => {
                let mut transaction = self.0.begin().await?;
                let begins = Begins { grace_seconds, is_next_run: false };
                let is_new = insert_graph(&mut transaction, job, stages, begins).await?;
                if is_new {
                    transaction.commit().await?;
                }
                is_new
            }
            None => {
                let begins = Begins { grace_seconds, is_next_run: false };
                insert_line(self.0.pool().await?, job, begins).await?
            }
        };
        failpoint!("submit.after_commit", Err(DatabaseError::lost()));
        Ok(is_new)
    }

    /// Begins the next run of a job that is marked for it and has no tasks any more; `false` if it is not
    /// marked, has some, or its run is not in the archive, if there is one.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn begin_next_run(
        self,
        job: NewJob<'_>,
        grace_seconds: f64,
        archive: ArchiveFirst,
    ) -> Result<bool, DatabaseError> {
        let ArchiveFirst(archive) = archive;
        let mut transaction = self.0.begin().await?;
        let cleared =
            sqlx::query_file!("src/store/sql/clear_run.sql", job.job_id.as_str(), archive)
                .fetch_optional(&mut *transaction)
                .await?;
        if cleared.is_none() {
            return Ok(false);
        }
        let begins = Begins { grace_seconds, is_next_run: true };
        let begun = match job.graph {
            Some(stages) => insert_graph(&mut transaction, job, stages, begins).await?,
            None => insert_line(&mut *transaction, job, begins).await?,
        };
        failpoint!("next_run.before_commit", Err(DatabaseError::lost()));
        if begun {
            transaction.commit().await?;
        }
        failpoint!("next_run.after_commit", Err(DatabaseError::lost()));
        Ok(begun)
    }

    /// The text from which jobs were made, if it is known.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn definition(
        self,
        definition_id: &str,
    ) -> Result<Option<StoredDefinition>, DatabaseError> {
        let file = sqlx::query_file_as!(
            StoredDefinition,
            "src/store/sql/get_definition.sql",
            definition_id
        );
        Ok(file.fetch_optional(self.0.pool().await?).await?)
    }

    /// The job with this id, if it exists.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get(self, job_id: &JobId) -> Result<Option<JobRecord>, DatabaseError> {
        Ok(sqlx::query_file_as!(JobRecord, "src/store/sql/get_job.sql", job_id.as_str())
            .fetch_optional(self.0.pool().await?)
            .await?)
    }

    /// The version of a job's state, from a few rows. `None` if the job does not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn pulse(self, job_id: &JobId) -> Result<Option<JobPulse>, DatabaseError> {
        Ok(sqlx::query_file_as!(JobPulse, "src/store/sql/job_pulse.sql", job_id.as_str())
            .fetch_optional(self.0.pool().await?)
            .await?)
    }
}

/// How a run of a job begins.
#[derive(Debug, Clone, Copy)]
struct Begins {
    /// How long only the caller may send the job messages.
    grace_seconds: f64,
    /// The job exists, and a run of it was cleared.
    is_next_run: bool,
}

/// Stores a job as [`Jobs::insert`] does, as a part of a larger transaction.
pub(in crate::store) async fn insert_within(
    connection: &mut PgConnection,
    job: NewJob<'_>,
    grace_seconds: f64,
) -> Result<bool, sqlx::Error> {
    let begins = Begins { grace_seconds, is_next_run: false };
    match job.graph {
        Some(stages) => insert_graph(connection, job, stages, begins).await,
        None => insert_line(connection, job, begins).await,
    }
}

async fn insert_line(
    executor: impl PgExecutor<'_>,
    job: NewJob<'_>,
    begins: Begins,
) -> Result<bool, sqlx::Error> {
    let (names, values) = parts(job.terms.iter());
    sqlx::query_file_scalar!(
        "src/store/sql/insert_job.sql",
        job.job_id.as_str(),
        job.job_type,
        job.total_stages.number(),
        job.parameters as _,
        job.path.as_str(),
        begins.grace_seconds,
        job.deadline_seconds,
        job.trace.as_ref().map(TraceParent::as_str),
        begins.is_next_run,
        labels_text(job.labels) as _,
        &names as _,
        &values as _,
        (!job.notify.is_empty()).then_some(job.notify) as _,
    )
    .fetch_one(executor)
    .await
}

async fn insert_graph(
    connection: &mut PgConnection,
    job: NewJob<'_>,
    stages: &[StageInGraph],
    begins: Begins,
) -> Result<bool, sqlx::Error> {
    if let Some(definition) = job.definition {
        sqlx::query_file!(
            "src/store/sql/insert_definition.sql",
            definition.id,
            definition.name,
            definition.version,
            definition.source,
        )
        .execute(&mut *connection)
        .await?;
    }
    let numbers: Vec<i16> = (1..).take(stages.len()).collect();
    let ready = || (1i16..).zip(stages).filter(|(_, stage)| stage.dependencies() == 0);
    // Without a job message nobody would change the job's status.
    let is_queued = ready().all(|(_, stage)| stage.kind == StageKind::Tasks);
    let status = if is_queued { JobStatus::Queued } else { JobStatus::Processing };
    let last_ready = ready().map(|(number, _)| number).max().unwrap_or(1);
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let kinds: Vec<&str> = stages.iter().map(|stage| stage.kind.as_str()).collect();
    let best_effort: Vec<bool> = stages.iter().map(|stage| stage.best_effort).collect();
    let is_finalize: Vec<bool> = stages.iter().map(|stage| stage.is_finalize).collect();
    let seconds: Vec<Option<i32>> = stages
        .iter()
        .map(|stage| stage.timeout.map(|(seconds, _)| seconds.min(i32::MAX as u32) as i32))
        .collect();
    let on_timeout: Vec<Option<&str>> =
        stages.iter().map(|stage| stage.timeout.map(|(_, decision)| decision.as_str())).collect();
    let waits_for: Vec<i16> = stages.iter().map(StageInGraph::dependencies).collect();
    let (mut sources, mut targets, mut needed) = (Vec::new(), Vec::new(), Vec::new());
    for (number, stage) in numbers.iter().zip(stages) {
        let needs = stage.needs.iter().map(|one| (one, true));
        for (source, is_needed) in needs.chain(stage.follows.iter().map(|one| (one, false))) {
            sources.push(source.number());
            targets.push(*number);
            needed.push(is_needed);
        }
    }
    let (term_names, term_values) = parts(job.terms.iter());
    sqlx::query_file_scalar!(
        "src/store/sql/insert_graph.sql",
        job.job_id.as_str(),
        job.job_type,
        last_ready,
        job.parameters as _,
        job.path.as_str(),
        begins.grace_seconds,
        job.deadline_seconds,
        job.trace.as_ref().map(TraceParent::as_str),
        job.definition.map(|definition| definition.id),
        status.as_str(),
        &numbers,
        &names as _,
        &kinds as _,
        &best_effort,
        &seconds as _,
        &on_timeout as _,
        &waits_for,
        &sources,
        &targets,
        &needed,
        &is_finalize,
        begins.is_next_run,
        labels_text(job.labels) as _,
        &term_names as _,
        &term_values as _,
        (!job.notify.is_empty()).then_some(job.notify) as _,
    )
    .fetch_one(&mut *connection)
    .await
}

/// Labels as JSON. Texts can always be written.
fn labels_text(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".to_owned())
}
