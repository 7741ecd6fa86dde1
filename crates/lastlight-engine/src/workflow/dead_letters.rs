//! What an operator may do with dead-lettered messages: count them, read them, have them processed,
//! redrive and discard them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use lastlight_api::poison::{
    DeadLetterView, Discarded, PoisonDelivery, PoisonOutcome, ProcessedMessage, Redriven,
};
use serde_json::Value;
use uuid::Uuid;

use super::{AskedBy, Controller, ControllerError};
use crate::{
    model::{
        JobStatus, ProcessingPath, Timestamp, TraceParent,
        messages::{JobReference, TaskMessage},
    },
    transport::{
        dead_letters::{DeadLetter, MOST_AT_ONCE, QueueService, Settled, TakenMessage, take},
        sender::{OutgoingMessage, QueueRole, SendError},
    },
};

/// Maximum number of messages of one queue that are processed per request, since an HTTP request
/// must end; the next request takes the rest.
const MOST_IN_A_RUN: usize = 500;

/// A dead-letter queue, as an operator sees it.
#[derive(Debug, Clone)]
pub struct DeadLetterReport {
    pub queue: String,
    /// The pipeline that it belongs to.
    pub path: ProcessingPath,
    /// The queue that its messages came from; `Poison` for the review queue.
    pub role: QueueRole,
    /// Number of messages in it, or why it is unknown.
    pub count: Result<u64, SendError>,
    /// The first messages, if they were asked for, or why they cannot be read.
    pub messages: Option<Result<Vec<DeadLetterView>, SendError>>,
}

/// The result of an operator's request to process all dead-lettered messages.
#[derive(Debug, Clone)]
pub struct PoisonRun {
    /// Messages in all queues before the request, including those in review queues.
    pub found: u64,
    /// Of these, the messages in review queues, where they still are.
    pub for_review: u64,
    /// What happened to each message that was processed.
    pub messages: Vec<ProcessedMessage>,
    /// Jobs that failed, including those that failed because their last task did.
    pub jobs_failed: u64,
    pub tasks_failed: u64,
    /// What went wrong: these messages are still in their queues.
    pub errors: Vec<String>,
}

impl Controller {
    /// Counts dead-lettered messages, and reads up to `peek` messages per queue (0: none, at most
    /// 32). A queue that cannot be read reports why.
    pub async fn poison_status(&self, peek: usize) -> Vec<DeadLetterReport> {
        let reports = self.dead_letter_queues().map(|(service, role)| async move {
            let count = service.count(role).await;
            // No more than there are, since a service may wait for another one.
            let at_most = count
                .as_ref()
                .map_or(peek, |count| peek.min(usize::try_from(*count).unwrap_or(usize::MAX)));
            let messages = match at_most {
                0 => None,
                at_most => Some(service.peek(role, at_most).await),
            };
            let shown = |messages: Vec<_>| {
                messages.into_iter().map(|message| shown(role, message)).collect()
            };
            DeadLetterReport {
                queue: service.dead_letter_name(role).to_owned(),
                path: service.path(),
                role,
                count,
                messages: messages.map(|messages| messages.map(shown)),
            }
        });
        join_all(reports).await
    }

    /// Counts dead-lettered messages; a queue that does not answer within `timeout` reports that.
    pub async fn poison_counts(&self, timeout: Duration) -> Vec<DeadLetterReport> {
        let reports = self.dead_letter_queues().map(|(service, role)| async move {
            let count = tokio::time::timeout(timeout, service.count(role)).await;
            DeadLetterReport {
                queue: service.dead_letter_name(role).to_owned(),
                path: service.path(),
                role,
                count: count.unwrap_or_else(|_| {
                    Err(SendError::Unavailable {
                        detail: format!("no answer within {} s", timeout.as_secs_f64()),
                    })
                }),
                messages: None,
            }
        });
        join_all(reports).await
    }

    /// Processes dead-lettered messages at an operator's request: unfinished work fails. The
    /// messages of review queues are left there, since this app cannot interpret them.
    pub async fn process_poison(&self) -> PoisonRun {
        let reports = self.poison_status(0).await;
        let counted = |is_in: fn(&DeadLetterReport) -> bool| -> u64 {
            let some = reports.iter().filter(|report| is_in(report));
            some.filter_map(|report| report.count.as_ref().ok()).sum()
        };
        let mut run = PoisonRun {
            found: counted(|_| true),
            for_review: counted(|report| report.role == QueueRole::Poison),
            messages: Vec::new(),
            jobs_failed: 0,
            tasks_failed: 0,
            errors: Vec::new(),
        };
        for (service, role) in self.dead_letter_queues() {
            if role == QueueRole::Poison {
                continue;
            }
            if let Err(error) = self.process_queue(service, role, &mut run).await {
                run.errors.push(format!("{}: {error}", service.dead_letter_name(role)));
            }
        }
        run
    }

    async fn process_queue(
        &self,
        service: &Arc<dyn QueueService>,
        role: QueueRole,
        run: &mut PoisonRun,
    ) -> Result<(), ControllerError> {
        let mut seen = 0;
        while seen < MOST_IN_A_RUN {
            let some = service.take_some(role, MOST_AT_ONCE).await?;
            if some.is_empty() {
                return Ok(());
            }
            seen += some.len();
            let mut some = some.into_iter();
            while let Some(taken) = some.next() {
                if let Err(error) = self.process_taken(service, role, &taken, run).await {
                    for untouched in std::iter::once(taken).chain(some) {
                        // A message that cannot be released becomes visible again later.
                        let _ = service.release(role, &untouched).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn process_taken(
        &self,
        service: &Arc<dyn QueueService>,
        role: QueueRole,
        taken: &TakenMessage,
        run: &mut PoisonRun,
    ) -> Result<(), ControllerError> {
        let delivery = self
            .process_poison_message(service.path(), role, &taken.message.body, AskedBy::Person)
            .await?;
        run.tasks_failed += delivery.tasks_failed;
        run.jobs_failed += self.jobs_failed_by(&delivery).await?;
        run.messages.push(ProcessedMessage {
            queue: service.dead_letter_name(role).to_owned(),
            message_id: taken.message.id.clone(),
            delivery,
        });
        // If the lock was lost, the message is redelivered, which changes nothing.
        service.complete(role, taken).await?;
        Ok(())
    }

    /// 1 if the delivery failed its job, including through its last task.
    async fn jobs_failed_by(&self, delivery: &PoisonDelivery) -> Result<u64, ControllerError> {
        match (delivery.job_id, delivery.outcome) {
            (Some(job_id), PoisonOutcome::Failed) if delivery.jobs_failed == 0 => {
                let job = self.0.database.jobs().get(&job_id).await?;
                let failed = job.is_some_and(|job| job.status == JobStatus::Failed);
                Ok(u64::from(failed))
            }
            _ => Ok(delivery.jobs_failed),
        }
    }

    /// Sends a dead-lettered message unchanged to the queue that it came from; a message of the
    /// review queue goes to the queue whose messages it looks like.
    ///
    /// # Errors
    /// There is no such queue or message; the queue that it belongs to cannot be determined; a
    /// queue cannot be reached. The message stays where it was.
    pub async fn redrive(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Redriven, ControllerError> {
        let (service, role) = self.dead_letter_queue(queue)?;
        let taken = taken(service, role, message_id).await?;
        let sent = send_again(service, role, &taken.message).await;
        let redriven = match sent {
            Ok(redriven) => redriven,
            Err(error) => {
                // If this fails, the message becomes visible again later.
                let _ = service.release(role, &taken).await;
                return Err(error);
            }
        };
        if service.complete(role, &taken).await? == Settled::LockLost {
            tracing::warn!(
                queue,
                message_id,
                "a message was redriven and may still be dead-lettered"
            );
        }
        tracing::info!(
            queue,
            message_id,
            sent_to = redriven.sent_to,
            "an operator redrove a message"
        );
        Ok(redriven)
    }

    /// Discards a message.
    ///
    /// # Errors
    /// There is no such queue or message; or the queue cannot be reached, and the message stays
    /// where it was.
    pub async fn discard(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Discarded, ControllerError> {
        let (service, role) = self.dead_letter_queue(queue)?;
        let taken = taken(service, role, message_id).await?;
        if service.complete(role, &taken).await? == Settled::LockLost {
            return Err(no_such_message(service, role, message_id));
        }
        tracing::warn!(
            queue,
            message_id,
            body = taken.message.body,
            "an operator discarded a message"
        );
        Ok(Discarded {
            queue: service.dead_letter_name(role).to_owned(),
            message: shown(role, taken.message),
        })
    }

    fn dead_letter_queues(&self) -> impl Iterator<Item = (&Arc<dyn QueueService>, QueueRole)> {
        const ROLES: [QueueRole; 3] = [QueueRole::Jobs, QueueRole::Tasks, QueueRole::Poison];
        let services = self.0.senders.enabled();
        services.flat_map(|service| ROLES.map(|role| (service, role)))
    }

    fn dead_letter_queue(
        &self,
        name: &str,
    ) -> Result<(&Arc<dyn QueueService>, QueueRole), ControllerError> {
        self.dead_letter_queues()
            .find(|(service, role)| service.dead_letter_name(*role) == name)
            .ok_or_else(|| ControllerError::UnknownQueue {
                queue: name.chars().take(80).collect(),
                known: self
                    .dead_letter_queues()
                    .map(|(service, role)| service.dead_letter_name(role).to_owned())
                    .collect(),
            })
    }
}

async fn taken(
    service: &Arc<dyn QueueService>,
    role: QueueRole,
    message_id: &str,
) -> Result<TakenMessage, ControllerError> {
    take(&**service, role, message_id)
        .await?
        .ok_or_else(|| no_such_message(service, role, message_id))
}

fn no_such_message(
    service: &Arc<dyn QueueService>,
    role: QueueRole,
    message_id: &str,
) -> ControllerError {
    ControllerError::NoSuchMessage {
        queue: service.dead_letter_name(role).to_owned(),
        message_id: message_id.chars().take(150).collect(),
    }
}

async fn send_again(
    service: &Arc<dyn QueueService>,
    role: QueueRole,
    message: &DeadLetter,
) -> Result<Redriven, ControllerError> {
    let shown = shown(role, message.clone());
    let to = match role {
        QueueRole::Jobs | QueueRole::Tasks => role,
        QueueRole::Poison => belongs_to(&shown)?,
    };
    let trace = trace_of(&shown.message);
    let outgoing = OutgoingMessage {
        // A new id, or duplicate detection would drop the message.
        message_id: format!("redriven-{}", Uuid::new_v4()),
        correlation_id: job_of(&shown.message),
        body: shown.message,
        delay: None,
        trace,
    };
    let report = service.batch_send_messages(to, std::slice::from_ref(&outgoing)).await;
    match report.errors.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(Redriven {
            queue: service.dead_letter_name(role).to_owned(),
            message_id: shown.message_id,
            sent_to: service.queue_name(to).to_owned(),
            new_message_id: outgoing.message_id,
        }),
    }
}

/// The queue to which a message of the review queue belongs.
fn belongs_to(message: &DeadLetterView) -> Result<QueueRole, ControllerError> {
    match (TaskMessage::decode(&message.message), JobReference::decode(&message.message)) {
        (Ok(_), _) => Ok(QueueRole::Tasks),
        (_, Ok(_)) => Ok(QueueRole::Jobs),
        (Err(as_task), Err(as_job)) => Err(ControllerError::NotRedrivable {
            message_id: message.message_id.clone(),
            as_task: Box::new(as_task),
            as_job: Box::new(as_job),
        }),
    }
}

/// The id of the job that a message names, or an empty string.
fn job_of(message: &str) -> String {
    let task = TaskMessage::decode(message).map(|task| match task {
        TaskMessage::One(task) => task.job_id,
        TaskMessage::Batch(batch) => batch.batch_id.job_id,
    });
    let job = task.or_else(|_| JobReference::decode(message).map(|job| job.job_id));
    job.map(|job_id| job_id.to_string()).unwrap_or_default()
}

/// The trace that a message continues.
fn trace_of(message: &str) -> Option<TraceParent> {
    match TaskMessage::decode(message) {
        Ok(TaskMessage::One(task)) => task.trace,
        Ok(TaskMessage::Batch(batch)) => batch.trace,
        Err(_) => JobReference::decode(message).ok()?.trace,
    }
}

/// The message as it was sent: in the review queue, it is wrapped with the reason why it is there.
fn shown(role: QueueRole, message: DeadLetter) -> DeadLetterView {
    let DeadLetter { id, body, enqueued, delivery_count, reason } = message;
    let wrapped = match role {
        QueueRole::Poison => serde_json::from_str::<Value>(&body).ok().and_then(|wrapped| {
            let text = |name: &str| wrapped.get(name)?.as_str().map(str::to_owned);
            Some((text("reason")?, text("message")?))
        }),
        QueueRole::Jobs | QueueRole::Tasks => None,
    };
    let (reason, message) = match wrapped {
        Some((reason, message)) => (Some(reason), message),
        None => (reason, body),
    };
    DeadLetterView {
        message_id: id,
        enqueued_at: enqueued.map(Timestamp),
        delivery_count,
        reason,
        message,
    }
}
