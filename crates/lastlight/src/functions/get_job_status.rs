//! `GET /api/jobs/status/{job_id}`: where a job stands, with the progress of each stage. `?wait=30`
//! answers once something has happened, and with `&seen=<version>` also if that was before the
//! request came.

use std::time::Duration;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{
    ApiError, AppState, job_id,
    openapi::{Operation, Schemas},
    query::{QueryParameters, bad},
    stamped_answer,
    views::StageProgress,
};
use crate::{
    model::{IdError, JobId, JobStatus, JobVersion, ProcessingPath, Stage, Timestamp},
    workflow::JobStanding,
};

/// Seconds that a request may wait: well below the host's limit on a request.
const LONGEST_WAIT: u16 = 30;

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let seen = match query.text("seen")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|error: IdError| bad(error.to_string()))?),
    };
    let standing = match query.number("wait", 0..=LONGEST_WAIT)? {
        None | Some(0) => app.controller.status(&job_id).await?,
        Some(seconds) => {
            let wait = Duration::from_secs(seconds.into());
            app.controller.status_after_change(&job_id, wait, seen).await?
        }
    };
    Ok(stamped_answer(StatusCode::OK, JobStatusAnswer::from(standing)))
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct JobStatusAnswer {
    job_id: JobId,
    job_type: String,
    status: JobStatus,
    /// The stage that runs or is next.
    stage: Stage,
    total_stages: Stage,
    processing_path: ProcessingPath,
    parameters: Box<RawValue>,
    /// A summary of each stage that ended, keyed by its number.
    stage_results: Box<RawValue>,
    /// Its stages so far, in order.
    progress: Vec<StageProgress>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// A job that is not over by then fails.
    deadline: Option<Timestamp>,
    /// It is to stop at the end of its stage.
    pause_requested: bool,
    /// Since when it stands still, if it does.
    paused_at: Option<Timestamp>,
    /// Which state of the job this is. As `seen` beside `wait` it makes sure that no change is
    /// missed.
    version: JobVersion,
    /// The final result, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_data: Option<Box<RawValue>>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_details: Option<String>,
}

impl From<JobStanding> for JobStatusAnswer {
    fn from(JobStanding { version, job, stages }: JobStanding) -> Self {
        Self {
            job_id: job.job_id,
            job_type: job.job_type,
            status: job.status,
            stage: job.stage,
            total_stages: job.total_stages,
            processing_path: job.path,
            parameters: job.parameters,
            stage_results: job.stage_results,
            progress: stages.iter().map(StageProgress::from).collect(),
            created_at: Timestamp(job.created_at),
            updated_at: Timestamp(job.updated_at),
            deadline: job.deadline.map(Timestamp),
            pause_requested: job.is_pause_requested,
            paused_at: job.paused_at.map(Timestamp),
            version,
            result_data: job.result_data,
            error_details: job.error_details,
        }
    }
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let seen = json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" });
    let wait = json!({ "type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0 });
    Operation::new()
        .of_a_job()
        .query(
            "wait",
            wait,
            "Answer once the job is over, something has happened to it, or so many seconds have passed.",
        )
        .query(
            "seen",
            seen,
            "With wait: the version of the last answer. What has happened since then is told at once.",
        )
        .answers::<JobStatusAnswer>(schemas)
}
