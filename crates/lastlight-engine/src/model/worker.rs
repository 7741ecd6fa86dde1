//! The name by which workers know the work that they take.

/// The queue of workers that is used where none is named.
pub const DEFAULT_QUEUE: &str = "default";

/// The handler of tasks for workers, in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerHandler {
    /// 1-50 characters.
    pub queue: String,
    /// 1-100 characters.
    pub name: String,
}
