//! Creates outgoing messages and sends unsent ones. Messages that were sent are marked; the others
//! stay unsent.

use std::time::Duration;

use serde_json::value::RawValue;

use super::Shared;
use crate::{
    failpoint::failpoint,
    model::{
        JobId, ProcessingPath, Stage, TaskId, TraceParent,
        messages::{
            Empty, JobQueueMessage, LARGEST_PARAMETERS_SENT, TaskBatchQueueMessage,
            TaskQueueMessage, message_time,
        },
    },
    store::{BatchKey, DatabaseError, StageKey, UnsentTask},
    telemetry,
    transport::sender::{BatchSendReport, OutgoingMessage, QueueRole},
};

/// The Python app rejects a message with a larger retry count.
const LARGEST_RETRY_COUNT: u32 = 10;

/// Queues count delays in whole seconds, and one of them by this process's clock.
const HIDDEN_LONGER: Duration = Duration::from_secs(1);

/// The fields that all task messages of a stage share.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskMessages<'a> {
    pub job_id: &'a JobId,
    pub stage: Stage,
    pub timestamp: &'a str,
    pub trace: Option<TraceParent>,
}

/// One task, borrowed from its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskToSend<'a> {
    pub task_id: &'a str,
    pub job_type: &'a str,
    pub task_type: &'a str,
    pub task_index: &'a str,
    pub parent_task_id: Option<&'a str>,
    pub parameters: &'a str,
    pub attempt: u32,
    pub resends: u32,
    pub runs_alone: bool,
}

impl<'a> From<&'a UnsentTask> for TaskToSend<'a> {
    fn from(task: &'a UnsentTask) -> Self {
        Self {
            task_id: task.task_id.as_str(),
            job_type: &task.job_type,
            task_type: &task.task_type,
            task_index: &task.task_index,
            parent_task_id: task.parent_task_id.as_ref().map(TaskId::as_str),
            parameters: task.parameters.get(),
            attempt: task.attempt,
            resends: task.resends,
            runs_alone: false,
        }
    }
}

impl TaskMessages<'_> {
    /// The message of one task. The same attempt and resend have the same message id, whoever sends
    /// it, so that duplicate detection can drop a message that was sent twice because an answer was
    /// lost; a resend after a loss has another id, or it would be dropped too, and so has a message of another run of
    /// the job. At most 100 + 16 + 12 characters.
    pub(super) fn message(
        &self,
        task: TaskToSend<'_>,
    ) -> Result<OutgoingMessage, serde_json::Error> {
        let parameters =
            if task.parameters.len() > LARGEST_PARAMETERS_SENT { "{}" } else { task.parameters };
        let body = serde_json::to_string(&TaskQueueMessage {
            task_id: task.task_id,
            parent_job_id: self.job_id,
            job_type: task.job_type,
            task_type: task.task_type,
            stage: self.stage,
            task_index: task.task_index,
            parameters: serde_json::from_str::<&RawValue>(parameters)?,
            parent_task_id: task.parent_task_id,
            retry_count: task.attempt.max(task.resends).min(LARGEST_RETRY_COUNT),
            runs_alone: task.runs_alone,
            timestamp: self.timestamp,
            traceparent: self.trace,
        })?;
        Ok(OutgoingMessage {
            message_id: format!(
                "{}-{}{}-{}.{}",
                task.task_id,
                &self.job_id.as_str()[8..16],
                mark_of_run(self.trace.as_ref()),
                task.attempt % 1000,
                task.resends % 1_000_000
            ),
            correlation_id: self.job_id.to_string(),
            body,
            delay: None,
            trace: self.trace,
        })
    }
}

/// A batch that has a single message.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchToSend<'a> {
    pub key: &'a BatchKey,
    pub job_type: &'a str,
    pub task_type: &'a str,
    pub resends: u32,
    pub trace: Option<TraceParent>,
}

impl BatchToSend<'_> {
    /// The coarse message of the batch. Its id follows the same rule as a task's: at most 77 + 17
    /// characters.
    pub(super) fn message(&self, timestamp: &str) -> Result<OutgoingMessage, serde_json::Error> {
        let batch_id = self.key.batch_id().to_string();
        let body = serde_json::to_string(&TaskBatchQueueMessage {
            batch_id: &batch_id,
            parent_job_id: &self.key.job_id,
            job_type: self.job_type,
            task_type: self.task_type,
            stage: self.key.stage,
            retry_count: self.resends.min(LARGEST_RETRY_COUNT),
            timestamp,
            traceparent: self.trace,
        })?;
        Ok(OutgoingMessage {
            message_id: format!(
                "{batch_id}-{}-{}",
                mark_of_run(self.trace.as_ref()),
                self.resends % 1_000_000
            ),
            correlation_id: self.key.job_id.to_string(),
            body,
            delay: None,
            trace: self.trace,
        })
    }
}

/// What tells the messages of a run of a job from those of another run: each run has a trace of its own. Eight
/// characters.
fn mark_of_run(trace: Option<&TraceParent>) -> &str {
    trace.map_or("00000000", |trace| &trace.trace_id()[..8])
}

impl Shared {
    /// Sends a job message and removes it from the outbox; a failure is recorded, and it stays
    /// unsent.
    pub(super) async fn send_job_message(
        &self,
        key: &StageKey,
        sends: u32,
        job_type: &str,
        parameters: &RawValue,
        path: ProcessingPath,
        trace: Option<TraceParent>,
    ) -> Result<OutgoingMessage, String> {
        let trace = telemetry::outgoing(trace);
        let message = OutgoingMessage {
            message_id: format!(
                "{}-s{}-{}-{sends}",
                key.job_id,
                key.stage,
                mark_of_run(trace.as_ref())
            ),
            correlation_id: key.job_id.to_string(),
            body: serde_json::to_string(&JobQueueMessage {
                job_id: &key.job_id,
                job_type,
                stage: key.stage,
                parameters,
                stage_results: Empty {},
                retry_count: 0,
                timestamp: &message_time(),
                traceparent: trace,
            })
            .map_err(|error| error.to_string())?,
            delay: None,
            trace,
        };
        let message = self.shrunk_to_fit(message, path, key, job_type)?;
        let report = self.send(path, QueueRole::Jobs, std::slice::from_ref(&message)).await;
        let noted = if report.success {
            self.database.outbox().job_message_sent(key).await
        } else {
            self.database.outbox().job_message_failed(key, &reasons(&report)).await
        };
        if let Err(error) = noted {
            // The message may be sent twice, which changes nothing.
            tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), %error, "the outbox could not be updated");
        }
        if report.success { Ok(message) } else { Err(reasons(&report)) }
    }

    /// Removes the parameters from a job message that is too large for the transport: the handler
    /// reads them from PostgreSQL anyway.
    fn shrunk_to_fit(
        &self,
        message: OutgoingMessage,
        path: ProcessingPath,
        key: &StageKey,
        job_type: &str,
    ) -> Result<OutgoingMessage, String> {
        let fits = self
            .senders
            .for_path(path)
            .is_none_or(|sender| message.body.len() <= sender.max_body_bytes());
        if fits {
            return Ok(message);
        }
        let none = serde_json::from_str::<&RawValue>("{}").map_err(|error| error.to_string())?;
        let body = serde_json::to_string(&JobQueueMessage {
            job_id: &key.job_id,
            job_type,
            stage: key.stage,
            parameters: none,
            stage_results: Empty {},
            retry_count: 0,
            timestamp: &message_time(),
            traceparent: message.trace,
        });
        Ok(OutgoingMessage { body: body.map_err(|error| error.to_string())?, ..message })
    }

    /// Sends the messages of batches and marks the batches sent; a failure is recorded, and all of
    /// them stay unsent.
    pub(super) async fn send_batches(
        &self,
        path: ProcessingPath,
        batches: &[BatchKey],
        messages: &[OutgoingMessage],
    ) -> Result<bool, DatabaseError> {
        let report = self.send(path, QueueRole::Tasks, messages).await;
        if report.success {
            // Batches that are sent together have the same number of messages.
            let each = messages.len() / batches.len().max(1);
            self.database
                .outbox()
                .batch_update_status(batches, u32::try_from(each).unwrap_or(u32::MAX))
                .await?;
        } else {
            let reasons = reasons(&report);
            if let Some(first) = batches.first() {
                tracing::warn!(job_id = %first.job_id, stage = first.stage.get(), batch = first.batch_no,
                    batches = batches.len(), reasons, "batches could not be sent and stay pending");
            }
            self.database.outbox().batch_failed(batches, &reasons).await?;
        }
        Ok(report.success)
    }

    /// Sends the message of a task that is to be retried. The message stays hidden a little longer
    /// than the task, since one that comes early finds nothing to do. If it cannot be sent or gets
    /// lost, `reconcile` sends another.
    pub(super) async fn send_retry(&self, key: &StageKey, task_id: &TaskId, pause: Duration) {
        let (task, path) = match self.database.outbox().unsent_task(key, task_id).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(job_id = %key.job_id, %task_id, %error, "a retry message could not be sent; reconcile sends it");
                return;
            }
        };
        let shared = TaskMessages {
            job_id: &key.job_id,
            stage: key.stage,
            timestamp: &message_time(),
            trace: telemetry::outgoing(task.trace),
        };
        let Ok(message) = shared.message(TaskToSend::from(&task)) else {
            return;
        };
        failpoint!("retry.before_send");
        let message = OutgoingMessage { delay: Some(pause + HIDDEN_LONGER), ..message };
        let report = self.send(path, QueueRole::Tasks, std::slice::from_ref(&message)).await;
        if !report.success {
            tracing::warn!(job_id = %key.job_id, %task_id, reasons = reasons(&report),
                "a retry message could not be sent; reconcile sends it");
        }
    }

    pub(super) async fn send(
        &self,
        path: ProcessingPath,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport {
        failpoint!("send.before", unanswered());
        let report = match self.senders.for_path(path) {
            Some(sender) => sender.batch_send_messages(role, messages).await,
            None => BatchSendReport {
                errors: vec![crate::transport::sender::SendError::Unavailable {
                    detail: "Service Bus is switched off; set ENABLE_SERVICE_BUS=true".to_owned(),
                }],
                ..BatchSendReport::default()
            },
        };
        self.counters.note_send(path, &report);
        failpoint!("send.after", unanswered());
        report
    }
}

/// What a fail point returns in place of a queue service.
#[cfg(feature = "fault-injection")]
fn unanswered() -> BatchSendReport {
    BatchSendReport {
        errors: vec![crate::transport::sender::SendError::Unavailable {
            detail: "a fail point withholds the answer".to_owned(),
        }],
        ..BatchSendReport::default()
    }
}

/// The errors of a report without repetitions, at most five.
pub(super) fn reasons(report: &BatchSendReport) -> String {
    let mut reasons: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    reasons.dedup();
    reasons.truncate(5);
    if reasons.is_empty() {
        "the queue service gave no reason".to_owned()
    } else {
        reasons.join("; ")
    }
}
