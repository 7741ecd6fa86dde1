//! `POST /api/workers/heartbeat`: extends the leases of tasks that run in a worker, and tells it which
//! of them to stop.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::workers::{BeatAnswer, HeartbeatAnswers, MOST_BEATS, Standing};
use serde_json::json;

use super::{
    ApiError, AppState,
    json_fields::{ATTEMPT, Fields, attempt_schema, key, name_schema, object, text_schema},
    openapi::{Operation, Schemas},
    query::bad,
    stamped_answer,
};
use crate::{
    job::Note,
    workflow::{HeartbeatAnswer, WorkerBeat},
};

const FIELDS: [&str; 2] = ["worker_id", "tasks"];

const OF_A_TASK: [&str; 7] =
    ["job_id", "stage", "task_id", "attempt", "progress", "message", "log_tail"];

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let send = "send {\"worker_id\": …, \"tasks\": [{\"job_id\": …, \"stage\": …, \"task_id\": …, \"attempt\": …}]}";
    let (worker_id, beats) = request(Fields::of_body(&body?, send)?).map_err(bad)?;
    let keys: Vec<_> = beats.iter().map(|beat| key(beat.task.clone())).collect();
    let answers = app.controller.worker_heartbeat(&worker_id, beats).await?;
    let tasks = keys.into_iter().zip(answers).map(|(key, answer)| BeatAnswer {
        key,
        answer: match answer {
            HeartbeatAnswer::Continue => Standing::Continue,
            HeartbeatAnswer::Cancelled => Standing::Cancelled,
            HeartbeatAnswer::Lost => Standing::Lost,
        },
    });
    Ok(stamped_answer(StatusCode::OK, HeartbeatAnswers { tasks: tasks.collect() }))
}

fn request(mut fields: Fields) -> Result<(String, Vec<WorkerBeat>), String> {
    let worker_id = fields.required_name("worker_id", 100)?;
    let tasks = fields.list("tasks", 0..=MOST_BEATS)?;
    fields.finish(&FIELDS)?;
    let beats = tasks.iter().enumerate().map(|(index, task)| {
        let mut fields = Fields::of_item("tasks", index, task)?;
        let task = fields.attempt()?;
        let progress = fields.number("progress", 0.0..=1.0)?.map(|progress| progress as f32);
        let note =
            Note { progress, message: fields.text("message")?, log_tail: fields.text("log_tail")? };
        fields.finish(&OF_A_TASK)?;
        Ok(WorkerBeat { task, note })
    });
    Ok((worker_id, beats.collect::<Result<_, String>>()?))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let mut task = attempt_schema();
    task["progress"] = json!({
        "type": ["number", "null"], "minimum": 0, "maximum": 1,
        "description": "The share of the work that is done.",
    });
    task["message"] = text_schema("What it does; cut at 500 characters.");
    task["log_tail"] = text_schema("The end of its log; the last 64 KiB are kept.");
    let body = object(
        json!({
            "worker_id": name_schema(100, "The worker's name."),
            "tasks": {
                "type": "array", "items": object(task, &ATTEMPT), "maxItems": MOST_BEATS,
                "description": "What it runs.",
            },
        }),
        &FIELDS,
    );
    Operation::new()
        .body(true, body)
        .answers::<HeartbeatAnswers>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE])
}
