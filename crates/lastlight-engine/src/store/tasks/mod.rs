//! Tasks: their attempts and outcomes. Does not know what happens to a stage whose last task has its
//! outcome, and sends no messages.

mod claims;
mod completions;
mod dead_lettered;
mod deferred;
mod due;
mod finished;
mod group_commit;
mod listed;
mod notes;
mod orphans;
mod single;

use crate::store::connection::Database;

pub use claims::{Claim, ClaimRequest, Claimed, Inputs, TaskClaims, TaskInputs, Unclaimed};
pub(super) use claims::{LARGEST_CLAIMED, columns_in_key_order, inputs, place_of};
pub use completions::{BatchClaim, Completion, CompletionRecord, TaskCompletions, TaskOutcome};
pub use dead_lettered::{DeadLetteredTask, DeadLetteredTasks, FailedTasks};
pub use deferred::{Deferral, TaskDeferrals};
pub use due::TaskDue;
pub use finished::{ReopenedTasks, SkippedTasks};
pub use group_commit::GroupSizes;
pub use listed::{ListedTask, StageToList, TaskFilter, TaskPosition};
pub use notes::TaskNotes;
pub use orphans::OrphanSearch;
pub use single::{TaskChoice, TaskStep};

/// The tasks in a database.
#[derive(Debug, Clone, Copy)]
pub struct Tasks<'a>(&'a Database);

impl Database {
    /// The tasks in a database.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks(self)
    }
}
