//! `GET /api/jobs/status/{job_id}`: a job's status, with the progress of each stage. `?wait=30`
//! delays the response until the job changes; with `&seen=<version>` a change before the request
//! counts too.

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
    queries::JobStanding,
};

/// Maximum of `wait`, in seconds: well below the host's limit on a request.
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
        None | Some(0) => app.queries.status(&job_id).await?,
        Some(seconds) => {
            let wait = Duration::from_secs(seconds.into());
            app.queries.status_after_change(&job_id, wait, seen).await?
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
    /// The current or next stage.
    stage: Stage,
    total_stages: Stage,
    processing_path: ProcessingPath,
    parameters: Box<RawValue>,
    /// A summary of each finished stage, keyed by stage number.
    stage_results: Box<RawValue>,
    /// The progress of the stages so far, in order.
    progress: Vec<StageProgress>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// The job fails if it is not finished by this time.
    deadline: Option<Timestamp>,
    /// Whether the job is to pause at the end of its current stage.
    pause_requested: bool,
    /// Time since which the job is paused; null if it is not.
    paused_at: Option<Timestamp>,
    /// The version of the job's state. Pass it as `seen` together with `wait` so that no change is
    /// missed.
    version: JobVersion,
    /// The final result, once the job has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_data: Option<Box<RawValue>>,
    /// The reason, if the job failed.
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
            "Respond once the job is finished, has changed, or this number of seconds has passed.",
        )
        .query(
            "seen",
            seen,
            "With `wait`: the version in the last response. If the job has changed since, respond immediately.",
        )
        .answers::<JobStatusAnswer>(schemas)
}
