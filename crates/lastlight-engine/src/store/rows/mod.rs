//! Rows, and parts of rows, that several modules of the store read or write. Runs no statement.

mod columns;
mod keys;
mod messages;
mod pages;

pub use columns::JsonText;
pub(super) use columns::{Seconds, StoredLabels, StoredTrace, corrupt, without_nul};
pub use keys::{ArchiveFirst, BatchKey, RunningTask, StageKey};
pub use messages::{BatchOfTasks, NewTask, Redeliveries, UnsentTask};
pub(super) use messages::{redelivered, unsent_task};
pub(super) use pages::page_of;
pub use pages::{JobPosition, LARGEST_PAGE, Page};
