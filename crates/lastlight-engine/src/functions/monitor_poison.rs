//! `GET /api/monitor/poison`: counts dead-lettered messages and optionally lists them. `POST`:
//! processes all of them, resends one or discards one.

use axum::{
    body::Bytes,
    extract::{
        Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    response::Response,
};
use lastlight_api::poison::{
    Discarded, PoisonOrder, PoisonProcessed, PoisonQueue, PoisonSettled, PoisonStatus, Redriven,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::{
    model::{Timestamp, clock},
    transport::{dead_letters::MOST_AT_ONCE, sender::QueueRole},
    workflow::DeadLetterReport,
};

#[derive(Debug, Deserialize)]
pub(super) struct Look {
    #[serde(default)]
    peek: Option<String>,
}

pub(super) async fn look(
    State(app): State<AppState>,
    query: Result<Query<Look>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Look { peek }) = query.map_err(|problem| bad(problem.to_string()))?;
    let peek = match &peek {
        None => 0,
        Some(text) => {
            text.parse().ok().filter(|number| *number <= MOST_AT_ONCE).ok_or_else(|| {
                bad(format!(
                    "peek must be a whole number from 0 to {MOST_AT_ONCE}, not {:?}",
                    shortened(text)
                ))
            })?
        }
    };
    let reports = app.controller.poison_status(peek).await;
    let found: u64 = reports.iter().filter_map(|report| report.count.as_ref().ok()).sum();
    // A queue that cannot be counted may have messages.
    let is_quiet = reports.iter().all(|report| matches!(report.count, Ok(0)));
    let answer = PoisonStatus {
        action: "status_check".to_owned(),
        poison_messages_found: found,
        queues_checked: reports.iter().map(|report| report.queue.clone()).collect(),
        queue_details: reports.into_iter().map(details).collect(),
        status: if is_quiet { "healthy" } else { "attention_needed" }.to_owned(),
        last_checked: Timestamp(clock::now()),
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}

fn details(report: DeadLetterReport) -> (String, PoisonQueue) {
    let holds = match report.role {
        QueueRole::Jobs => "job messages that were delivered too often",
        QueueRole::Tasks => "task messages that were delivered too often",
        QueueRole::Poison => "messages that this app cannot process; only an operator moves them",
    };
    let mut details = PoisonQueue {
        processing_path: report.path,
        holds: holds.to_owned(),
        is_review: report.role == QueueRole::Poison,
        poison_messages: None,
        messages: None,
        error: None,
    };
    match report.count {
        Ok(count) => details.poison_messages = Some(count),
        Err(error) => details.error = Some(error.to_string()),
    }
    match report.messages {
        Some(Ok(messages)) => details.messages = Some(messages),
        Some(Err(error)) => details.error = Some(error.to_string()),
        None => {}
    }
    (report.queue, details)
}

pub(super) async fn order(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let order: PoisonOrder = if body.trim_ascii().is_empty() {
        PoisonOrder::default()
    } else {
        // As a map first: a struct would also accept an array.
        let fields = serde_json::from_slice(&body).map(Value::Object);
        fields.and_then(serde_json::from_value).map_err(|error| {
            bad(format!(
                "the body cannot be read: {error}; send an empty body, or {{\"action\": \"process\"}}, or {{\"action\": \
                 \"redrive\" or \"discard\", \"queue\": \"…\", \"message_id\": \"…\"}}"
            ))
        })?
    };
    let controller = &app.controller;
    match order.action.as_deref().unwrap_or("process") {
        "process" if order.queue.is_some() || order.message_id.is_some() => Err(bad(
            "queue and message_id need the action \"redrive\" or \"discard\"; omit them to process all messages"
                .to_owned(),
        )),
        "process" => Ok(process(&app).await),
        "redrive" => {
            let (queue, message_id) = message_of(&order)?;
            let message = controller.redrive(queue, message_id).await?;
            Ok(settled("redrive", message))
        }
        "discard" => {
            let (queue, message_id) = message_of(&order)?;
            let message = controller.discard(queue, message_id).await?;
            Ok(settled("discard", message))
        }
        other => Err(bad(format!(
            "action must be \"process\", \"redrive\" or \"discard\", not {:?}",
            shortened(other)
        ))),
    }
}

fn settled(action: &'static str, message: impl Serialize) -> Response {
    let answer = PoisonSettled { action: action.to_owned(), success: true, message };
    stamped_answer(StatusCode::OK, answer)
}

fn message_of(order: &PoisonOrder) -> Result<(&str, &str), ApiError> {
    let missing = |field: &str| {
        bad(format!(
            "{field} is missing: {} needs the queue and the message_id as returned by GET /api/monitor/poison?peek=32",
            order.action.as_deref().unwrap_or_default()
        ))
    };
    Ok((
        order.queue.as_deref().ok_or_else(|| missing("queue"))?,
        order.message_id.as_deref().ok_or_else(|| missing("message_id"))?,
    ))
}

async fn process(app: &AppState) -> Response {
    let run = app.controller.process_poison().await;
    let answer = PoisonProcessed {
        action: "process_poison_messages".to_owned(),
        poison_messages_found: run.found,
        left_for_review: Some(run.for_review),
        jobs_marked_failed: run.jobs_failed,
        tasks_marked_failed: run.tasks_failed,
        messages: run.messages,
        success: run.errors.is_empty(),
        errors: run.errors,
        processed_at: Timestamp(clock::now()),
    };
    stamped_answer(StatusCode::OK, answer)
}

pub(super) fn operation_of_look(schemas: &mut Schemas) -> Operation {
    let peek = json!({ "type": "integer", "minimum": 0, "maximum": MOST_AT_ONCE, "default": 0 });
    Operation::new()
        .query(
            "peek",
            peek,
            "Number of messages of each queue to return. On Service Bus, looking at a message counts as a delivery.",
        )
        .answers::<PoisonStatus>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}

pub(super) fn operation_of_order(schemas: &mut Schemas) -> Operation {
    let one = |action: &str| {
        json!({
            "type": "object",
            "properties": {
                "action": { "const": action }, "queue": { "type": "string" }, "message_id": { "type": "string" },
            },
            "required": ["action", "queue", "message_id"],
            "additionalProperties": false,
        })
    };
    let all = json!({
        "type": "object",
        "properties": {
            "action": { "enum": ["process", null] }, "queue": { "type": "null" }, "message_id": { "type": "null" },
        },
        "additionalProperties": false,
    });
    let answers = [
        schemas.of::<PoisonProcessed>(),
        schemas.of::<PoisonSettled<Redriven>>(),
        schemas.of::<PoisonSettled<Discarded>>(),
    ];
    Operation::new()
        .body(false, json!({ "anyOf": [all, one("redrive"), one("discard")] }))
        .answers_json(json!({ "anyOf": answers }))
        .refuses(&[
            StatusCode::BAD_REQUEST,
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::PAYLOAD_TOO_LARGE,
        ])
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn bad(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad request", message)
}
