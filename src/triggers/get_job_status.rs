//! `GET /api/jobs/status/{job_id}`: where a job stands, with the progress of each stage.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde_json::{Value, json};

use super::{ApiError, App, answer, job_id};
use crate::{
    model::timestamp,
    repositories::postgres::{JobRecord, StageRecord},
};

pub(super) async fn handle(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (job, stages) = app.controller.status(&job_id(&id)?).await?;
    Ok(answer(StatusCode::OK, body(&job, &stages)))
}

fn body(job: &JobRecord, stages: &[StageRecord]) -> Value {
    let mut body = json!({
        "jobId": job.job_id,
        "jobType": job.job_type,
        "status": job.status,
        "stage": job.stage,
        "totalStages": job.total_stages,
        "processingPath": job.path,
        "parameters": job.parameters,
        "stageResults": job.stage_results,
        "progress": stages.iter().map(progress).collect::<Vec<_>>(),
        "createdAt": timestamp::write(job.created_at),
        "updatedAt": timestamp::write(job.updated_at),
        "deadline": job.deadline.map(timestamp::write),
        "pauseRequested": job.is_pause_requested,
        "pausedAt": job.paused_at.map(timestamp::write),
    });
    if let Value::Object(fields) = &mut body {
        if let Some(result) = &job.result_data {
            fields.insert("resultData".to_owned(), json!(result));
        }
        if let Some(error) = &job.error_details {
            fields.insert("errorDetails".to_owned(), json!(error));
        }
    }
    body
}

fn progress(stage: &StageRecord) -> Value {
    json!({
        "stage": stage.stage,
        "planned": stage.planned_at.is_some(),
        "total": stage.total,
        "pendingQueue": stage.owed,
        "open": stage.total - stage.completed - stage.failed - stage.skipped,
        "completed": stage.completed,
        "failed": stage.failed,
        "skipped": stage.skipped,
    })
}
