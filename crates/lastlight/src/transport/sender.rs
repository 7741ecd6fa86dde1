//! What the two transports share: a message to send, the sender's trait, and what came of a send.
//!
//! A sender knows queues by their role ([`QueueRole`]) and bodies as text. It must not know jobs,
//! stages or tasks. A send that fails leaves its batch owed in PostgreSQL; nothing is kept here.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::model::{ProcessingPath, TraceParent};

/// What a queue is for. Each transport maps it to the queue name in its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueRole {
    /// Job messages: one a stage.
    Jobs,
    Tasks,
    /// Messages that could not be understood, kept for a person to see.
    Poison,
}

/// What a failure begins with that came before the service was asked: nobody is signed in.
pub const NO_TOKEN: &str = "no token: ";

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// At most 128 characters. Service Bus drops a second message with the same id within its
    /// duplicate detection window; a Storage Queue has no such notion and ignores it.
    pub message_id: String,
    /// The job, for tracing; Service Bus carries it as `CorrelationId` and as the property
    /// `job_id`.
    pub correlation_id: String,
    /// UTF-8 text, JSON for everything but poison.
    pub body: String,
    /// How long the message stays invisible after it was sent.
    pub delay: Option<Duration>,
    /// The trace that it goes on with; Service Bus carries it as the property `traceparent` too.
    pub trace: Option<TraceParent>,
}

/// What came of [`MessageSender::batch_send_messages`]; the Python app's `BatchResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BatchSendReport {
    /// Every message was accepted.
    pub success: bool,
    /// How many were accepted for certain. A message whose answer was lost is not among them.
    pub messages_sent: usize,
    /// Requests' worth of messages: batches on Service Bus, single messages on a Storage Queue.
    pub batch_count: usize,
    /// Wall-clock time, retries and waiting at the gate included.
    pub elapsed_ms: f64,
    /// What went wrong, one entry a failed batch or message.
    pub errors: Vec<SendError>,
}

impl BatchSendReport {
    /// Gathers the results of `batch_count` sends, each with its number of messages, as they come
    /// in.
    pub(super) async fn gather(
        batch_count: usize,
        refused: Vec<SendError>,
        results: impl Stream<Item = (usize, Result<(), SendError>)>,
    ) -> Self {
        let began = Instant::now();
        let mut report = Self { batch_count, errors: refused, ..Self::default() };
        let mut results = std::pin::pin!(results);
        while let Some((messages, result)) = results.next().await {
            match result {
                Ok(()) => report.messages_sent += messages,
                Err(error) => report.errors.push(error),
            }
        }
        report.success = report.errors.is_empty();
        report.elapsed_ms = began.elapsed().as_secs_f64() * 1000.0;
        report
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SendError {
    /// Nobody answered, or not in time: whether the message was stored is unknown. Send it again
    /// later.
    #[error("the queue service cannot be reached: {detail}")]
    Unavailable {
        /// What the transport said; holds no secret.
        detail: String,
    },
    /// The service asked for less; nothing was stored.
    #[error("the queue service is throttling: {detail}")]
    Throttled {
        /// What the service said.
        detail: String,
    },
    /// The credentials were refused.
    #[error("the queue service refused the credentials for queue {queue:?}: {detail}")]
    Unauthorized {
        queue: String,
        /// What the service said; holds no secret.
        detail: String,
    },
    /// The queue does not exist.
    #[error("queue {queue:?} does not exist; create it or correct the setting that names it")]
    QueueNotFound { queue: String },
    /// One message is larger than the transport takes; sending it again cannot help.
    #[error("message {message_id:?} has {bytes} bytes; at most {limit} fit into one message")]
    Oversize {
        message_id: String,
        /// Its size as sent, encoding and envelope included.
        bytes: usize,
        /// The transport's limit, bytes.
        limit: usize,
    },
    /// The service refused the request for a reason that repeating cannot mend.
    #[error("the queue service refused the message with status {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the service said.
        detail: String,
    },
}

impl SendError {
    /// Whether the same send may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Throttled { .. })
    }
}

/// Sends messages over one transport. One instance a process, shared by everything.
#[async_trait]
pub trait MessageSender: Debug + Send + Sync {
    /// Which path this is; answers and records name it.
    fn path(&self) -> ProcessingPath;

    /// The queue's name, as answers show it.
    fn queue_name(&self, role: QueueRole) -> &str;

    /// The largest body, in bytes of UTF-8, that one message can carry after encoding and envelope.
    fn max_body_bytes(&self) -> usize;

    /// Sends all of `messages`, cut into the transport's batches. Retries what is worth retrying;
    /// never fails as a whole: what could not be sent is in the report. The same messages may be
    /// given again.
    async fn batch_send_messages(
        &self,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport;

    /// Whether the queue can be reached and exists, and how many messages it holds where the
    /// service says so: those that nobody has done with, those that are delayed or under way
    /// included. Stores nothing.
    ///
    /// # Errors
    /// Why not.
    async fn probe(&self, role: QueueRole) -> Result<Option<u64>, SendError>;
}
