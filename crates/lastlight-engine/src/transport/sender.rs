//! Shared by the two transports: a message to send, the sender's trait, and the result of a send.
//!
//! A sender addresses queues by their role ([`QueueRole`]) and treats bodies as text. It must not
//! depend on jobs, stages or tasks. After a failed send its batch stays unsent in PostgreSQL; a
//! sender stores nothing.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::model::{ProcessingPath, TraceParent};

/// The purpose of a queue. Each transport maps it to the queue name in its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueRole {
    /// Job messages: one per stage.
    Jobs,
    Tasks,
    /// Messages that could not be decoded, kept for review by an operator.
    Poison,
}

/// Prefix of errors that occurred before the request, because there is no sign-in token.
pub const NO_TOKEN: &str = "no token: ";

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// At most 128 characters. Service Bus drops a second message with the same id within its
    /// duplicate detection window; Storage Queues have no duplicate detection and ignore it.
    pub message_id: String,
    /// The job, for tracing; Service Bus carries it as `CorrelationId` and as the property
    /// `job_id`.
    pub correlation_id: String,
    /// UTF-8 text, JSON for everything but poison.
    pub body: String,
    /// How long the message stays invisible after it is sent.
    pub delay: Option<Duration>,
    /// The trace that it continues; Service Bus also carries it as the property `traceparent`.
    pub trace: Option<TraceParent>,
}

/// The result of [`MessageSender::batch_send_messages`]; the Python app's `BatchResult`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BatchSendReport {
    /// Whether every message was accepted.
    pub success: bool,
    /// Number of messages that were certainly accepted. A message whose response was lost does not
    /// count.
    pub messages_sent: usize,
    /// Number of batches on Service Bus, of single messages on a Storage Queue.
    pub batch_count: usize,
    /// Wall-clock time, including retries and waiting at the gate.
    pub elapsed_ms: f64,
    /// The errors, one per failed batch or message.
    pub errors: Vec<SendError>,
}

impl BatchSendReport {
    /// Collects the results of `batch_count` sends, each with its number of messages.
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
    /// No response, or not in time: whether the message was stored is unknown. Send it again later.
    #[error("the queue service cannot be reached: {detail}")]
    Unavailable {
        /// The transport's error, without secrets.
        detail: String,
    },
    /// The service throttles requests; nothing was stored.
    #[error("the queue service is throttling: {detail}")]
    Throttled {
        /// The service's error.
        detail: String,
    },
    /// The service rejected the credentials.
    #[error("the queue service refused the credentials for queue {queue:?}: {detail}")]
    Unauthorized {
        queue: String,
        /// The service's error, without secrets.
        detail: String,
    },
    /// The queue does not exist.
    #[error("queue {queue:?} does not exist; create it or correct the setting that names it")]
    QueueNotFound { queue: String },
    /// One message exceeds the transport's limit; sending it again does not help.
    #[error("message {message_id:?} has {bytes} bytes; at most {limit} fit into one message")]
    Oversize {
        message_id: String,
        /// Its size as sent, including encoding and envelope.
        bytes: usize,
        /// The transport's limit, bytes.
        limit: usize,
    },
    /// The service rejected the request for a reason that retrying does not fix.
    #[error("the queue service refused the message with status {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The service's error.
        detail: String,
    },
}

impl SendError {
    /// Whether the same send may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Throttled { .. })
    }
}

/// Sends messages over one transport. There is one shared instance per process.
#[async_trait]
pub trait MessageSender: Debug + Send + Sync {
    /// The path of this transport, as named in responses and records.
    fn path(&self) -> ProcessingPath;

    /// The queue's name, as shown in responses.
    fn queue_name(&self, role: QueueRole) -> &str;

    /// The largest body of one message, in bytes of UTF-8, before encoding and envelope.
    fn max_body_bytes(&self) -> usize;

    /// Sends all of `messages`, divided into the transport's batches. Retries transient errors.
    /// Never fails as a whole: unsent messages are in the report. The same messages may be sent
    /// again.
    async fn batch_send_messages(
        &self,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport;

    /// Checks that the queue can be reached and exists. Returns its number of messages, including
    /// delayed and locked ones, if the service reports it. Stores nothing.
    ///
    /// # Errors
    /// The queue cannot be reached or does not exist.
    async fn probe(&self, role: QueueRole) -> Result<Option<u64>, SendError>;
}
