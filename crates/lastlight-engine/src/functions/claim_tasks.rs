//! `POST /api/workers/claim`: gives a worker ready tasks, at once or as soon as there are any.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::workers::{
    ClaimedTask, ClaimedTasks, LONGEST_WAIT_SECONDS, MOST_HANDLERS, MOST_TASKS,
};
use serde_json::json;

use super::{
    ApiError, AppState,
    json_fields::{Fields, NAME, is_name, name_schema, object},
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer,
};
use crate::{
    model::DEFAULT_QUEUE,
    workflow::{TaskForWorker, WorkerRequest},
};

const FIELDS: [&str; 5] = ["worker_id", "queue", "handlers", "max", "wait_seconds"];

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let send = "send {\"worker_id\": …, \"queue\": …, \"handlers\": [\"…\"], \"max\": 1, \"wait_seconds\": 20}";
    let request = request(Fields::of_body(&body?, send)?).map_err(bad)?;
    let tasks = app.controller.claim_for_worker(request).await?;
    let answer = ClaimedTasks { tasks: tasks.iter().map(claimed).collect() };
    Ok(stamped_answer(StatusCode::OK, answer))
}

fn request(mut fields: Fields) -> Result<WorkerRequest, String> {
    let worker_id = fields.required_name("worker_id", 100)?;
    let queue = fields.name("queue", 50)?.unwrap_or_else(|| DEFAULT_QUEUE.to_owned());
    let handlers = fields.list("handlers", 1..=MOST_HANDLERS)?;
    let handlers = handlers.iter().enumerate().map(|(index, name)| {
        let read: Option<String> = serde_json::from_str(name.get()).ok();
        read.filter(|name| is_name(name, 100)).ok_or_else(|| {
            format!(
                "handlers[{index}] must be text of 1 to 100 characters, not {}",
                shortened(name.get())
            )
        })
    });
    let handlers = handlers.collect::<Result<_, _>>()?;
    let max = fields.whole("max", 1..=MOST_TASKS)?.unwrap_or(1);
    let wait = fields.number("wait_seconds", 0.0..=LONGEST_WAIT_SECONDS)?.unwrap_or(0.0);
    fields.finish(&FIELDS)?;
    Ok(WorkerRequest { worker_id, queue, handlers, max, wait: Duration::from_secs_f64(wait) })
}

fn claimed(task: &TaskForWorker) -> ClaimedTask {
    ClaimedTask {
        job_id: task.task.job_id,
        stage: task.task.stage,
        task_id: task.task.task_id.clone(),
        node: task.node.clone(),
        handler: task.handler.clone(),
        params: task.inputs.parameters.clone(),
        predecessor_result: task.inputs.predecessor_result.clone(),
        attempt: task.task.attempt,
        lease_seconds: task.lease.as_secs_f64(),
        timeout_seconds: task.timeout.map(|timeout| timeout.as_secs_f64()),
        traceparent: task.trace.map(|trace| trace.to_string()),
    }
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let body = object(
        json!({
            "worker_id": name_schema(100, "The worker's name, unique among all that run at the same time."),
            "queue": {
                "type": ["string", "null"], "minLength": 1, "maxLength": 50, "pattern": NAME, "default": DEFAULT_QUEUE,
                "description": "The queue that it serves.",
            },
            "handlers": {
                "type": "array", "items": name_schema(100, "A handler's name."), "minItems": 1,
                "maxItems": MOST_HANDLERS, "description": "The handlers that it has.",
            },
            "max": {
                "type": ["integer", "null"], "minimum": 1, "maximum": MOST_TASKS, "default": 1,
                "description": "Maximum number of tasks.",
            },
            "wait_seconds": {
                "type": ["number", "null"], "minimum": 0, "maximum": LONGEST_WAIT_SECONDS, "default": 0,
                "description": "How long to wait for a task if there is none.",
            },
        }),
        &["worker_id", "handlers"],
    );
    Operation::new()
        .body(true, body)
        .answers::<ClaimedTasks>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE])
}
