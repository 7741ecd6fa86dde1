//! What an engine refuses, as facts; the REST endpoints turn them into their service's codes.

/// Why an engine did not do what it was asked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Nobody created a queue of this name, or it was deleted.
    #[error(
        "queue {queue:?} does not exist; the local cloud creates the queues that its settings name"
    )]
    QueueNotFound {
        /// The name as it was asked for.
        queue: String,
    },
    /// No message of this id is in the queue: deleted, expired, or never there.
    #[error("no message {id:?} is in the queue")]
    MessageNotFound {
        /// The id as it was given.
        id: String,
    },
    /// Somebody else received or updated the message since this pop receipt was given out.
    #[error("the pop receipt is not the message's latest one")]
    PopReceiptMismatch,
    /// The lock ran out, or the message was settled already. It may be delivered again.
    #[error("the lock supplied is invalid: it expired, or the message has already been removed")]
    LockLost,
    /// More bytes than the queue takes at once. Sending it again cannot help.
    #[error("{bytes} bytes are too large; at most {limit} are allowed")]
    TooLarge {
        /// What was sent, bytes.
        bytes: usize,
        /// What is allowed, bytes.
        limit: usize,
    },
}
