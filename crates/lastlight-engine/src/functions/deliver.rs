//! Shared code of the queue triggers: decodes the messages of an invocation, passes each to the
//! controller, and responds once for all.
//!
//! The response covers the whole batch: a failure makes the host redeliver all of it, and 2xx means
//! that the outcome of every message is durable. So a message that cannot be processed is
//! dead-lettered here if others of its batch succeeded; if all failed, the host dead-letters them.

use std::time::Duration;

use axum::response::Response;
use tracing::Span;

use super::{ApiError, AppState};
use crate::{
    invocation::{self, MessageText, Messages},
    model::{
        BatchId, ProcessingPath,
        messages::{JobReference, TaskMessage},
    },
    transport::sender::QueueRole,
    workflow::{AskedBy, ControllerError, note_delivery},
};

/// The binding's name in the function.json of every queue trigger.
const BINDING: &str = "msg";

/// Pause before a dead-lettered message that cannot be processed now is released.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) async fn jobs(
    app: &AppState,
    path: ProcessingPath,
    body: &[u8],
) -> Result<Response, ApiError> {
    note_deliveries(path, body);
    let texts = texts(body)?;
    let mut results = Vec::with_capacity(texts.len());
    for text in &texts {
        results.push(job(app, text).await);
    }
    answer(app, path, &texts, &results).await
}

async fn job(app: &AppState, text: &MessageText) -> Result<(), ControllerError> {
    let message = JobReference::decode(&text.0)?;
    let delivery = app.controller.process_job_message(&message).await;
    let Some(delivery) = unless_of_an_earlier_run(app, delivery).await? else { return Ok(()) };
    tracing::debug!(
        job_id = %message.job_id, stage = message.stage.get(), outcome = delivery.as_str(), tasks = delivery.tasks(),
        "job message"
    );
    Ok(())
}

pub(super) async fn tasks(
    app: &AppState,
    path: ProcessingPath,
    body: &[u8],
) -> Result<Response, ApiError> {
    note_deliveries(path, body);
    let texts = texts(body)?;
    let decoded: Vec<_> = texts.iter().map(|text| TaskMessage::decode(&text.0)).collect();
    let messages: Vec<TaskMessage> =
        decoded.iter().filter_map(|message| message.as_ref().ok()).cloned().collect();
    let mut delivered = app.controller.process_task_messages(messages).await.into_iter();
    let mut results: Vec<Result<(), ControllerError>> = Vec::with_capacity(decoded.len());
    for message in decoded {
        results.push(match message {
            Ok(_) => {
                let result = delivered.next().unwrap_or(Ok(()));
                unless_of_an_earlier_run(app, result).await.map(drop)
            }
            Err(error) => Err(error.into()),
        });
    }
    answer(app, path, &texts, &results).await
}

/// Processes a dead-lettered message.
pub(super) async fn poison(
    app: &AppState,
    path: ProcessingPath,
    role: QueueRole,
    body: &[u8],
) -> Result<Response, ApiError> {
    note_deliveries(path, body);
    let MessageText(text) = invocation::message(body, BINDING).map_err(ControllerError::from)?;
    let delivery = app.controller.process_poison_message(path, role, &text, AskedBy::Queue).await;
    match unless_of_an_earlier_run(app, delivery).await {
        Ok(None) => Ok(invocation::success()),
        Ok(Some(delivery)) => {
            note_delivery(&delivery, path);
            Ok(invocation::success())
        }
        Err(error) => {
            // Service Bus redelivers a dead letter immediately and without a limit. The host's
            // poison queues wait ten minutes.
            if path == ProcessingPath::ServiceBus {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error.into())
        }
    }
}

/// The result of a message; `None` if it is for a job that was deleted, or for a task that an earlier run had, and is
/// ignored.
async fn unless_of_an_earlier_run<T>(
    app: &AppState,
    result: Result<T, ControllerError>,
) -> Result<Option<T>, ControllerError> {
    match result {
        Err(
            ControllerError::UnknownJob { job_id }
            | ControllerError::UnknownTask { job_id, .. }
            | ControllerError::UnknownBatch { batch_id: BatchId { job_id, .. } }
            | ControllerError::StageNotReached { job_id, .. },
        ) if app.controller.ran_before(&job_id).await? => {
            tracing::debug!(%job_id, "a message for an earlier run of a job is ignored");
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Records in the invocation's span how often the host has delivered its messages so far.
fn note_deliveries(path: ProcessingPath, body: &[u8]) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    let names: &[&str] = match path {
        ProcessingPath::QueueStorage | ProcessingPath::Worker => &["DequeueCount"],
        ProcessingPath::ServiceBus => &["DeliveryCount", "DeliveryCountArray"],
    };
    span.record("delivery_count", invocation::deliveries(body, names));
}

fn texts(body: &[u8]) -> Result<Vec<MessageText>, ApiError> {
    match invocation::messages(body, BINDING).map_err(ControllerError::from)? {
        Messages::One(text) => Ok(vec![text]),
        Messages::Many(texts) => Ok(texts),
    }
}

async fn answer(
    app: &AppState,
    path: ProcessingPath,
    texts: &[MessageText],
    results: &[Result<(), ControllerError>],
) -> Result<Response, ApiError> {
    let failures = || results.iter().filter_map(|result| result.as_ref().err());
    // A message that may succeed later must be redelivered, and the whole batch with it. Processed
    // messages are then ignored as duplicates.
    if let Some(error) = failures().find(|error| error.is_transient()) {
        return Err(error.clone().into());
    }
    let refused: Vec<(&str, &ControllerError)> = texts
        .iter()
        .zip(results)
        .filter_map(|(text, result)| Some((text.0.as_str(), result.as_ref().err()?)))
        .collect();
    for (_, reason) in &refused {
        tracing::warn!(%path, %reason, "a message was rejected");
    }
    match refused.first() {
        None => Ok(invocation::success()),
        Some((_, error)) if refused.len() == texts.len() => Err((*error).clone().into()),
        Some(_) => {
            app.controller.dead_letters(path, &refused, texts.len()).await?;
            Ok(invocation::success())
        }
    }
}
