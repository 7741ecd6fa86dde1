//! `GET /api/monitor/poison`: how many messages were set aside, and on request which. `POST`: have
//! them dealt with, send one again, or discard one.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{
        Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::{
    model::{ProcessingPath, Timestamp, clock},
    transport::{dead_letters::MOST_AT_ONCE, sender::QueueRole},
    workflow::{DeadLetterReport, DeadLetterView, Discarded, ProcessedMessage, Redriven},
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
    // What cannot be seen may be bad.
    let is_quiet = reports.iter().all(|report| matches!(report.count, Ok(0)));
    let answer = Seen {
        action: "status_check",
        poison_messages_found: found,
        queues_checked: reports.iter().map(|report| report.queue.clone()).collect(),
        queue_details: reports.into_iter().map(details).collect(),
        status: if is_quiet { "healthy" } else { "attention_needed" },
        last_checked: Timestamp(clock::now()),
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}

/// What was set aside.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PoisonStatus")]
struct Seen {
    /// `status_check`.
    action: &'static str,
    /// In all queues that could be counted.
    poison_messages_found: u64,
    /// Their names.
    queues_checked: Vec<String>,
    /// Each queue by its name.
    queue_details: BTreeMap<String, QueueDetails>,
    /// `healthy`, or `attention_needed`: something was set aside, or a queue cannot be counted.
    status: &'static str,
    last_checked: Timestamp,
}

/// A queue of messages set aside.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PoisonQueue")]
struct QueueDetails {
    /// The pipeline that it belongs to.
    processing_path: ProcessingPath,
    /// What comes there, for people.
    holds: &'static str,
    /// No function empties it: only a person moves what is there.
    is_review: bool,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    poison_messages: Option<u64>,
    /// The first of them, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<DeadLetterView>>,
    /// Why it cannot be counted, or its messages cannot be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn details(report: DeadLetterReport) -> (String, QueueDetails) {
    let holds = match report.role {
        QueueRole::Jobs => "job messages that were delivered too often",
        QueueRole::Tasks => "task messages that were delivered too often",
        QueueRole::Poison => "messages that mean nothing to this app; only a person moves them",
    };
    let mut details = QueueDetails {
        processing_path: report.path,
        holds,
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

/// What a person asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    action: Option<String>,
    queue: Option<String>,
    message_id: Option<String>,
}

pub(super) async fn order(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let order: Order = if body.trim_ascii().is_empty() {
        Order::default()
    } else {
        // As a map first: a struct would take an array, too.
        let fields = serde_json::from_slice(&body).map(Value::Object);
        fields.and_then(serde_json::from_value).map_err(|error| {
            bad(format!(
                "the body cannot be read: {error}; send nothing, or {{\"action\": \"process\"}}, or {{\"action\": \
                 \"redrive\" or \"discard\", \"queue\": \"…\", \"message_id\": \"…\"}}"
            ))
        })?
    };
    let controller = &app.controller;
    match order.action.as_deref().unwrap_or("process") {
        "process" if order.queue.is_some() || order.message_id.is_some() => Err(bad(
            "queue and message_id go with the action \"redrive\" or \"discard\"; without them everything is processed"
                .to_owned(),
        )),
        "process" => Ok(process(&app).await),
        "redrive" => {
            let (queue, message_id) = order.message()?;
            let message = controller.redrive(queue, message_id).await?;
            Ok(settled("redrive", message))
        }
        "discard" => {
            let (queue, message_id) = order.message()?;
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
    let answer = Settled { action, success: true, message };
    stamped_answer(StatusCode::OK, answer)
}

impl Order {
    fn message(&self) -> Result<(&str, &str), ApiError> {
        let missing = |field: &str| {
            bad(format!(
                "{field} is missing: {} needs the queue and the message_id that GET /api/monitor/poison?peek=32 shows",
                self.action.as_deref().unwrap_or_default()
            ))
        };
        Ok((
            self.queue.as_deref().ok_or_else(|| missing("queue"))?,
            self.message_id.as_deref().ok_or_else(|| missing("message_id"))?,
        ))
    }
}

async fn process(app: &AppState) -> Response {
    let run = app.controller.process_poison().await;
    let answer = Processed {
        action: "process_poison_messages",
        poison_messages_found: run.found,
        left_for_review: run.for_review,
        jobs_marked_failed: run.jobs_failed,
        tasks_marked_failed: run.tasks_failed,
        messages: run.messages,
        success: run.errors.is_empty(),
        errors: run.errors,
        processed_at: Timestamp(clock::now()),
    };
    stamped_answer(StatusCode::OK, answer)
}

/// What dealing with everything came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PoisonProcessed")]
struct Processed {
    /// `process_poison_messages`.
    action: &'static str,
    /// In all queues before.
    poison_messages_found: u64,
    /// Of these, in the review queues, which are left as they are: redrive or discard them one by
    /// one.
    left_for_review: u64,
    jobs_marked_failed: u64,
    tasks_marked_failed: u64,
    /// What became of each message that was dealt with.
    messages: Vec<ProcessedMessage>,
    /// What went wrong: these messages are where they were.
    errors: Vec<String>,
    processed_at: Timestamp,
    /// Nothing went wrong.
    success: bool,
}

/// One message was sent again, or thrown away.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PoisonSettled")]
struct Settled<T> {
    action: &'static str,
    success: bool,
    #[serde(flatten)]
    message: T,
}

pub(super) fn operation_of_look(schemas: &mut Schemas) -> Operation {
    let peek = json!({ "type": "integer", "minimum": 0, "maximum": MOST_AT_ONCE, "default": 0 });
    Operation::new()
        .query(
            "peek",
            peek,
            "Show the first messages of each queue, so many. On Service Bus to look is to deliver.",
        )
        .answers::<Seen>(schemas)
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
        schemas.of::<Processed>(),
        schemas.of::<Settled<Redriven>>(),
        schemas.of::<Settled<Discarded>>(),
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
