//! Deferred tasks: their messages came when no slot was free, so they are unsent until a process
//! has a free slot. Every process sends messages for its own free slots; the sweep sends too, in
//! case no process with free slots knows of deferred tasks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Controller, ControllerError, TaskDelivery,
    outgoing::{TaskMessages, TaskToSend},
};
use crate::{
    job::TaskPolicy,
    model::{ProcessingPath, messages::message_time},
    store::{ClaimRequest, Deferral, StageKey, TaskDue, UnsentTask},
    transport::sender::{OutgoingMessage, QueueRole},
};

/// Interval between checks while tasks run in this process, or deferred ones are known.
const LOOK: Duration = Duration::from_secs(2);

/// Interval between checks while nothing runs.
const IDLE: Duration = Duration::from_secs(30);

/// Minimum interval between checks while slots become free in quick succession.
const SOONEST: Duration = Duration::from_millis(100);

impl Controller {
    /// Defers a task for which there is no slot: it is unsent again.
    pub(super) async fn defer(&self, task: ClaimRequest) -> Result<TaskDelivery, ControllerError> {
        let key = StageKey { job_id: task.job_id, stage: task.stage };
        let task_id = task.task_id.clone();
        match self.0.deferrals.defer(task).await? {
            Deferral::Deferred => {
                self.0.counters.note_deferred();
                self.0.room.know_deferred(true);
                Ok(TaskDelivery::Deferred)
            }
            Deferral::Unclaimed(unclaimed) => self.not_begun(&key, task_id, unclaimed).await,
        }
    }

    /// Sends deferred tasks as slots become free, until the controller is dropped.
    pub fn send_deferred_in_background(&self) {
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut looked = Instant::now();
            loop {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let knows = shared.room.knows_deferred();
                let pause = if knows || shared.room.taken() > 0 { LOOK } else { IDLE };
                let controller = Controller(shared);
                tokio::select! {
                    () = controller.0.room.freed(), if knows => {
                        tokio::time::sleep(SOONEST.saturating_sub(looked.elapsed())).await;
                    }
                    // In steps, to notice when tasks begin, and when the controller is dropped.
                    () = tokio::time::sleep(LOOK) => if looked.elapsed() < pause { continue },
                }
                looked = Instant::now();
                let room = controller.0.room.free();
                if room == 0 {
                    continue;
                }
                match controller.send_deferred(room).await {
                    Ok(sent) => controller.0.room.know_deferred(sent.taken > 0),
                    Err(error) => {
                        tracing::debug!(%error, "deferred tasks could not be sent; they are sent later")
                    }
                }
            }
        });
    }

    /// Sends the messages of up to `limit` deferred tasks, minus those that were sent a moment ago
    /// and have not begun. Messages that cannot be sent are due again later.
    pub(super) async fn send_deferred(&self, limit: usize) -> Result<Resent, ControllerError> {
        let again = self.0.timing.lost_after.as_secs_f64();
        let arriving = self.0.timing.longest_wait().as_secs_f64().min(again);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let due = self.0.database.tasks().take_deferred(again, limit, arriving).await?;
        Ok(self.send_due(&due).await)
    }

    /// Sends a message for each of the tasks that are not for workers, one batch per path.
    pub(super) async fn send_due(&self, due: &[TaskDue]) -> Resent {
        let timestamp = message_time();
        let taken = due.iter().filter(|task| task.handler_id.is_none()).count();
        let mut resent = Resent { taken: taken as u64, sent: 0 };
        let mut alone = Vec::with_capacity(due.len());
        for task in due {
            alone.push(self.runs_alone(task).await);
        }
        for path in ProcessingPath::WITH_MESSAGES {
            let messages: Vec<OutgoingMessage> = due
                .iter()
                .zip(&alone)
                .filter(|(task, _)| task.path == path && task.handler_id.is_none())
                .filter_map(|(task, runs_alone)| {
                    let shared = TaskMessages {
                        job_id: &task.key.job_id,
                        stage: task.key.stage,
                        timestamp: &timestamp,
                        trace: task.task.trace,
                    };
                    let to_send =
                        TaskToSend { runs_alone: *runs_alone, ..TaskToSend::from(&task.task) };
                    shared.message(to_send).ok()
                })
                .collect();
            if !messages.is_empty() {
                let report = self.0.send(path, QueueRole::Tasks, &messages).await;
                resent.sent += report.messages_sent as u64;
            }
        }
        resent
    }

    /// Whether the attempts of a task so far died and only one is left. That one runs alone: a task
    /// that kills its process kills all others in it, every time, and those must not use up their
    /// attempts with it.
    async fn runs_alone(&self, due: &TaskDue) -> bool {
        if due.tries == 0 {
            return false;
        }
        let UnsentTask { job_type, task_type, .. } = &due.task;
        let definition = self.job_type_of_task(&due.key.job_id, job_type).await;
        let policy = definition
            .map_or_else(|_| TaskPolicy::default(), |definition| definition.task_policy(task_type));
        due.tries + 1 == self.most_attempts(&policy)
    }
}

/// The result of sending tasks again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Resent {
    /// Tasks that needed a new message.
    pub(super) taken: u64,
    /// Messages that the queues accepted.
    pub(super) sent: u64,
}

impl Resent {
    /// Messages that could not be sent.
    pub(super) fn failed(self) -> u64 {
        self.taken.saturating_sub(self.sent)
    }
}
