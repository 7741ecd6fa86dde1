//! `GET /api/monitor/poison`: how many messages were set aside, and on request which. `POST`: have them dealt with, send
//! one again, or discard one.

use axum::{
    body::Bytes,
    extract::{
        Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ApiError, App, answer};
use crate::{
    controller::SetAsideReport,
    model::{clock, timestamp},
    repositories::{sender::QueueRole, set_aside::MOST_AT_ONCE},
};

#[derive(Debug, Deserialize)]
pub(super) struct Look {
    #[serde(default)]
    peek: Option<String>,
}

pub(super) async fn look(
    State(app): State<App>,
    query: Result<Query<Look>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Look { peek }) = query.map_err(|problem| bad(problem.to_string()))?;
    let peek = match &peek {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number <= MOST_AT_ONCE)
            .ok_or_else(|| {
                bad(format!(
                    "peek must be a whole number from 0 to {MOST_AT_ONCE}, not {:?}",
                    shortened(text)
                ))
            })?,
    };
    let reports = app.controller.poison_status(peek).await;
    let found: u64 = reports
        .iter()
        .filter_map(|report| report.count.as_ref().ok())
        .sum();
    // What cannot be seen may be bad.
    let is_quiet = reports.iter().all(|report| matches!(report.count, Ok(0)));
    Ok(answer(
        StatusCode::OK,
        json!({
            "action": "status_check",
            "poison_messages_found": found,
            "queues_checked": reports.iter().map(|report| &report.queue).collect::<Vec<_>>(),
            "queue_details": reports.iter().map(details).collect::<Map<_, _>>(),
            "status": if is_quiet { "healthy" } else { "attention_needed" },
            "last_checked": timestamp::write(clock::now()),
        }),
    ))
}

fn details(report: &SetAsideReport) -> (String, Value) {
    let holds = match report.role {
        QueueRole::Jobs => "job messages that were delivered too often",
        QueueRole::Tasks => "task messages that were delivered too often",
        QueueRole::Poison => "messages that mean nothing to this app; only a person moves them",
    };
    let mut details = json!({ "processing_path": report.path, "holds": holds });
    if let Value::Object(fields) = &mut details {
        match &report.count {
            Ok(count) => fields.insert("poison_messages".to_owned(), json!(count)),
            Err(error) => fields.insert("error".to_owned(), json!(error.to_string())),
        };
        match &report.messages {
            Some(Ok(messages)) => fields.insert("messages".to_owned(), json!(messages)),
            Some(Err(error)) => fields.insert("error".to_owned(), json!(error.to_string())),
            None => None,
        };
    }
    (report.queue.clone(), details)
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
    State(app): State<App>,
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
    let answered = match order.action.as_deref().unwrap_or("process") {
        "process" => return Ok(process(&app).await),
        "redrive" => {
            let (queue, message_id) = order.message()?;
            json!(controller.redrive(queue, message_id).await?)
        }
        "discard" => {
            let (queue, message_id) = order.message()?;
            json!(controller.discard(queue, message_id).await?)
        }
        other => {
            return Err(bad(format!(
                "action must be \"process\", \"redrive\" or \"discard\", not {:?}",
                shortened(other)
            )));
        }
    };
    let mut body = json!({ "action": order.action, "success": true });
    if let (Value::Object(fields), Value::Object(answered)) = (&mut body, answered) {
        fields.extend(answered);
    }
    Ok(answer(StatusCode::OK, body))
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

async fn process(app: &App) -> Response {
    let run = app.controller.process_poison().await;
    answer(
        StatusCode::OK,
        json!({
            "action": "process_poison_messages",
            "poison_messages_found": run.found,
            "jobs_marked_failed": run.jobs_failed,
            "tasks_marked_failed": run.tasks_failed,
            "messages": run.messages,
            "errors": run.errors,
            "processed_at": timestamp::write(clock::now()),
            "success": run.errors.is_empty(),
        }),
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn bad(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad request", message)
}
