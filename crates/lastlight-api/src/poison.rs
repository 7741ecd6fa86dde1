//! Dead-lettered messages: what the queues hold, and what an operator may do with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobId, ProcessingPath, Stage, TaskId, Timestamp};

/// The dead-lettered messages of all queues.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PoisonStatus {
    /// `status_check`.
    pub action: String,
    /// Number of messages in all queues that could be counted.
    pub poison_messages_found: u64,
    /// The names of the queues.
    pub queues_checked: Vec<String>,
    /// Details of each queue, by its name.
    pub queue_details: BTreeMap<String, PoisonQueue>,
    /// `healthy`, or `attention_needed` if there are messages or a queue cannot be counted.
    pub status: String,
    pub last_checked: Timestamp,
}

/// A queue of dead-lettered messages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PoisonQueue {
    /// The pipeline that the queue belongs to.
    pub processing_path: ProcessingPath,
    /// A description of the messages in the queue, for display.
    pub holds: String,
    /// Whether the queue is a review queue: no function empties it, an operator moves its messages.
    #[serde(default)]
    pub is_review: bool,
    /// Number of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poison_messages: Option<u64>,
    /// The first messages, if `peek` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<DeadLetterView>>,
    /// The reason why the messages cannot be counted or shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A dead-lettered message, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// The id that redrive and discard take.
    pub message_id: String,
    /// When it came into the queue.
    pub enqueued_at: Option<Timestamp>,
    /// Number of its deliveries.
    #[serde(default)]
    pub delivery_count: u32,
    /// Why it was dead-lettered, if that is known.
    pub reason: Option<String>,
    /// Its text, as it was sent.
    #[serde(default)]
    pub message: String,
}

/// The request to process all dead-lettered messages, or to redrive or discard one of them.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoisonOrder {
    pub action: Option<String>,
    pub queue: Option<String>,
    pub message_id: Option<String>,
}

/// The result of processing all dead-lettered messages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PoisonProcessed {
    /// `process_poison_messages`.
    pub action: String,
    /// Number of messages in all queues before.
    pub poison_messages_found: u64,
    /// Number of these messages in the review queues, which are not processed: redrive or discard
    /// them one by one.
    // `None`: an older app does not send it.
    #[schemars(with = "u64")]
    pub left_for_review: Option<u64>,
    pub jobs_marked_failed: u64,
    pub tasks_marked_failed: u64,
    /// The outcome of each processed message.
    #[serde(default)]
    pub messages: Vec<ProcessedMessage>,
    /// Errors; the messages concerned stay in their queues.
    #[serde(default)]
    pub errors: Vec<String>,
    pub processed_at: Timestamp,
    /// Whether there were no errors.
    pub success: bool,
}

/// The result of resending or discarding one message.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PoisonSettled")]
pub struct PoisonSettled<T> {
    pub action: String,
    pub success: bool,
    #[serde(flatten)]
    pub message: T,
}

/// What happened to one message.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ProcessedMessage {
    /// The queue that it was in.
    pub queue: String,
    /// Its id in that queue.
    pub message_id: String,
    /// What happened, and why.
    #[serde(flatten)]
    pub delivery: PoisonDelivery,
}

/// A message that was sent again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Redriven {
    /// The queue that it was in.
    pub queue: String,
    /// Its id in that queue.
    pub message_id: String,
    /// The queue to which it was sent.
    pub sent_to: String,
    /// Its id in the queue to which it was sent, if that queue keeps ids.
    pub new_message_id: String,
}

/// A message that was discarded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Discarded {
    /// The queue that it was in.
    pub queue: String,
    /// The whole message, since no other copy exists any more.
    #[serde(flatten)]
    pub message: DeadLetterView,
}

/// What happened to a dead-lettered message. In each case it has been processed and may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoisonOutcome {
    /// Its work is done, in progress, or no longer wanted.
    #[serde(rename = "absorbed")]
    Ignored,
    /// A new message takes its place.
    SentAgain,
    /// Its job, or tasks of its job, have failed.
    Failed,
    /// This app cannot interpret the message; the review queue keeps it with the reason, for an
    /// operator.
    KeptForReview,
}

/// What happened to a dead-lettered message, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoisonDelivery {
    /// What happened.
    pub outcome: PoisonOutcome,
    /// Why, as text for a user.
    pub reason: String,
    /// The job that the message names, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The job's stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The task, if the message names exactly one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub task_id: Option<TaskId>,
    /// Number of jobs that failed because of this message: 0 or 1. A job that fails because its
    /// last task did is not counted here.
    pub jobs_failed: u64,
    /// Number of tasks that failed because of this message.
    pub tasks_failed: u64,
    /// Number of tasks that got a new message.
    pub tasks_sent_again: u64,
}

impl PoisonOutcome {
    /// The name in responses and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "absorbed",
            Self::SentAgain => "sent_again",
            Self::Failed => "failed",
            Self::KeptForReview => "kept_for_review",
        }
    }
}
