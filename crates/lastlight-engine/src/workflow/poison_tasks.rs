//! Dead-lettered task messages: which of their tasks are unfinished, and the new message that these
//! get. Must not know in which queue such a message was, nor who reads that queue.

use std::time::Duration;

use futures_util::future::try_join_all;
use lastlight_api::poison::{PoisonDelivery, PoisonOutcome};
use time::OffsetDateTime;

use super::{
    Controller, ControllerError,
    outgoing::{BatchToSend, TaskMessages, TaskToSend, reasons},
    poison::{AGAIN, AskedBy, MOST_REDELIVERIES, SUCCEEDED, after, delivered, ignored, is_older},
};
use crate::{
    model::{
        ProcessingPath, TaskId, clock,
        messages::{TaskMessage, written_at},
        timestamp,
    },
    store::{BatchKey, ClaimRequest, DeadLetteredTask, DeadLetteredTasks, StageKey},
    transport::sender::{OutgoingMessage, QueueRole},
};

/// Each new message is delayed by this much more than the one before.
const PAUSE: Duration = Duration::from_secs(10);

/// Service Bus allows no shorter lock.
const SHORTEST_LOCK: Duration = Duration::from_secs(5);

/// Service Bus dead-letters a message after this many deliveries, unless its queue is configured
/// otherwise.
const MOST_DELIVERIES: u32 = 10;

const WAITED: &str = "no process had a free slot before its lock expired, again and again: it is sent again when a slot is free";

/// The tasks that a message names, as it names them.
struct Named {
    key: StageKey,
    tasks: Vec<TaskId>,
    /// The batch of a coarse message.
    batch: Option<BatchKey>,
    written: Option<OffsetDateTime>,
}

impl Controller {
    /// As [`Controller::process_poison_message`], for a task message.
    pub(super) async fn dead_lettered_tasks(
        &self,
        text: &str,
        asked_by: AskedBy,
    ) -> Result<PoisonDelivery, ControllerError> {
        let named = self.named(text).await?;
        let mut delivery = self.dead_lettered_named(&named, asked_by).await?;
        if let ([task_id], None) = (named.tasks.as_slice(), named.batch) {
            delivery.task_id = Some(task_id.clone());
        }
        Ok(delivery)
    }

    async fn dead_lettered_named(
        &self,
        named: &Named,
        asked_by: AskedBy,
    ) -> Result<PoisonDelivery, ControllerError> {
        let key = named.key;
        let StageKey { job_id, stage } = key;
        let Some(stand) = self.0.database.tasks().dead_lettered(&key, &named.tasks).await? else {
            return Err(ControllerError::UnknownJob { job_id });
        };
        if stand.job_status.is_terminal() {
            return Ok(ignored(&key, "the job is finished"));
        }
        if let (true, Some(task_id)) = (stand.tasks.is_empty(), named.tasks.first()) {
            return Err(ControllerError::UnknownTask { job_id, stage, task_id: task_id.clone() });
        }
        if stand.stage_ended {
            // The process that recorded the last outcome may have died before the advance.
            self.advance(&key).await?;
        }
        let open: Vec<&DeadLetteredTask> = stand
            .tasks
            .iter()
            .filter(|task| !task.status.is_terminal() && !task.leased)
            .filter(|task| !task.deferred || asked_by == AskedBy::Person)
            .collect();
        if open.is_empty() {
            return Ok(ignored(
                &key,
                "its tasks are finished, run, or get another message automatically",
            ));
        }
        let (again, failing): (Vec<&DeadLetteredTask>, Vec<&DeadLetteredTask>) = match asked_by {
            AskedBy::Person => (Vec::new(), open),
            AskedBy::Queue => open
                .into_iter()
                .filter(|task| !is_older(named.written, task.redelivered))
                .partition(|task| task.redelivered.count < MOST_REDELIVERIES),
        };
        let mut delivery = ignored(&key, SUCCEEDED);
        let (waited, again): (Vec<&DeadLetteredTask>, Vec<&DeadLetteredTask>) =
            again.into_iter().partition(|task| may_have_waited(named, stand.path, task));
        if !waited.is_empty() {
            self.defer_waited(&key, &waited).await?;
            delivery.outcome = PoisonOutcome::SentAgain;
            delivery.reason = WAITED.to_owned();
            delivery.tasks_sent_again = waited.len() as u64;
        }
        if !again.is_empty() {
            self.redeliver_tasks(named, &stand, &again).await?;
            delivery.outcome = PoisonOutcome::SentAgain;
            delivery.reason = AGAIN.to_owned();
            delivery.tasks_sent_again += again.len() as u64;
        }
        if !failing.is_empty() {
            let reason = format!("its task message was {}", delivered(asked_by));
            let failed = self.0.database.tasks().fail(&key, &failing, &reason).await?;
            if failed.stage_ended {
                self.advance(&key).await?;
            }
            if failed.failed == 0 {
                if again.is_empty() {
                    delivery.reason = "its tasks progressed in the meantime".to_owned();
                }
            } else {
                tracing::warn!(%job_id, stage = stage.get(), tasks = failed.failed, reason, "tasks failed");
                delivery.outcome = PoisonOutcome::Failed;
                delivery.reason = reason;
                delivery.tasks_failed = failed.failed;
            }
        }
        Ok(delivery)
    }

    /// Looks up the tasks that a message names.
    async fn named(&self, text: &str) -> Result<Named, ControllerError> {
        let message = TaskMessage::decode(text)?;
        let (job_id, job_type) = match &message {
            TaskMessage::One(task) => (&task.job_id, &task.job_type),
            TaskMessage::Batch(batch) => (&batch.batch_id.job_id, &batch.job_type),
        };
        self.job_type_of_task(job_id, job_type).await?;
        let written = written_at(text);
        match message {
            TaskMessage::One(task) => Ok(Named {
                key: StageKey { job_id: task.job_id, stage: task.stage },
                tasks: vec![task.task_id],
                batch: None,
                written,
            }),
            TaskMessage::Batch(batch) => {
                let batch_id = batch.batch_id;
                let key = BatchKey::from(batch_id);
                let mut found = self.0.database.outbox().task_ids_of_batches(&[key]).await?;
                let tasks = found.pop().flatten();
                Ok(Named {
                    key: StageKey { job_id: key.job_id, stage: key.stage },
                    tasks: tasks.ok_or(ControllerError::UnknownBatch { batch_id })?,
                    batch: Some(key),
                    written,
                })
            }
        }
    }

    /// Defers tasks whose message only waited: they get a new one when a slot is free; no
    /// redelivery is counted.
    async fn defer_waited(
        &self,
        key: &StageKey,
        tasks: &[&DeadLetteredTask],
    ) -> Result<(), ControllerError> {
        let deferrals = tasks.iter().map(|task| {
            self.0.deferrals.defer(ClaimRequest {
                job_id: key.job_id,
                stage: key.stage,
                task_id: task.unsent.task_id.clone(),
            })
        });
        try_join_all(deferrals).await?;
        self.0.room.know_deferred(true);
        Ok(())
    }

    /// Sends first and counts afterwards: until it is counted, the dead-lettered message is
    /// redelivered and makes the same new message, with the same id.
    async fn redeliver_tasks(
        &self,
        named: &Named,
        stand: &DeadLetteredTasks,
        tasks: &[&DeadLetteredTask],
    ) -> Result<(), ControllerError> {
        let job_id = named.key.job_id;
        let unsent = |detail: String| ControllerError::NotSentAgain { job_id, detail };
        let written = after(named.written);
        let message = new_message(named, tasks, &timestamp::write_naive(written));
        let message = message.map_err(|error| unsent(error.to_string()))?;
        if let Some(message) = message {
            let report =
                self.0.send(stand.path, QueueRole::Tasks, std::slice::from_ref(&message)).await;
            if !report.success {
                return Err(unsent(reasons(&report)));
            }
        }
        self.0
            .database
            .tasks()
            .redelivered(&named.key, tasks, written, named.batch.as_ref())
            .await?;
        Ok(())
    }
}

/// Whether a message may have come to the host and waited there until its lock expired, as often as
/// the queue allows, without any process beginning its task. Then its deliveries say nothing. A
/// message whose processing fails returns at once, and is dead-lettered sooner.
fn may_have_waited(named: &Named, path: ProcessingPath, task: &DeadLetteredTask) -> bool {
    let age = named.written.map(|written| clock::now() - written);
    path == ProcessingPath::ServiceBus
        && task.unsent.attempt == 0
        && age.is_some_and(|age| age >= SHORTEST_LOCK * MOST_DELIVERIES)
}

/// One message for `tasks`, which are those of one batch or a single one. Its id contains the
/// number of the new message, so that two processes that make it at the same time make the same: at
/// most 100 + 16 + 12 characters.
fn new_message(
    named: &Named,
    tasks: &[&DeadLetteredTask],
    timestamp: &str,
) -> Result<Option<OutgoingMessage>, serde_json::Error> {
    let Some(first) = tasks.first() else {
        return Ok(None);
    };
    let count = tasks.iter().map(|task| task.redelivered.count).max().unwrap_or_default() + 1;
    let unsent = &first.unsent;
    let message = match &named.batch {
        Some(key) => {
            let batch = BatchToSend {
                key,
                job_type: &unsent.job_type,
                task_type: &unsent.task_type,
                resends: u32::from(count),
                trace: unsent.trace,
            };
            let message = batch.message(timestamp)?;
            OutgoingMessage { message_id: format!("{}-p{count}", key.batch_id()), ..message }
        }
        None => {
            let shared = TaskMessages {
                job_id: &named.key.job_id,
                stage: named.key.stage,
                timestamp,
                trace: unsent.trace,
            };
            let message = shared
                .message(TaskToSend { resends: unsent.resends + 1, ..TaskToSend::from(unsent) })?;
            let job = &named.key.job_id.as_str()[8..24];
            OutgoingMessage {
                message_id: format!(
                    "{}-{job}-p{count}.{}.{}",
                    unsent.task_id,
                    unsent.attempt % 1000,
                    unsent.resends % 1000
                ),
                ..message
            }
        }
    };
    Ok(Some(OutgoingMessage {
        delay: (count > 1).then(|| PAUSE * u32::from(count - 1)),
        ..message
    }))
}
