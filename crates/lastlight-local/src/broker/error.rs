//! Errors of the engines; the REST endpoints map them to the codes of their service.

/// Why an engine rejected an operation. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The queue was never created, or it was deleted.
    #[error(
        "queue {queue:?} does not exist; the local cloud creates the queues that its settings name"
    )]
    QueueNotFound {
        /// The requested name.
        queue: String,
    },
    /// The queue has no message with this id: it was deleted, has expired, or never existed.
    #[error("no message {id:?} is in the queue")]
    MessageNotFound {
        /// The requested id.
        id: String,
    },
    /// The message was received or updated again after this pop receipt was issued.
    #[error("the pop receipt is not the message's latest one")]
    PopReceiptMismatch,
    /// The lock expired, or the message was settled already. It may be delivered again.
    #[error("the lock supplied is invalid: it expired, or the message has already been removed")]
    LockLost,
    /// More bytes than the queue accepts at once. Retrying cannot succeed.
    #[error("{bytes} bytes are too large; at most {limit} are allowed")]
    TooLarge {
        /// Size in bytes.
        bytes: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
}
