//! The state of all jobs, in PostgreSQL: all pending work is stored here.
//!
//! One module per concern. The statements are in `sql/`, one per file, each with the index that it
//! uses and the rows that it locks. This module makes no decisions of the workflow and does not
//! depend on a queue.

mod audit;
mod batches;
mod claims;
mod completions;
mod connections;
mod control;
mod database;
mod dead_lettered;
mod deferred;
mod diagnosis;
mod error;
mod examination;
mod group_commit;
mod instances;
mod jobs;
mod listed_jobs;
mod listed_tasks;
mod measurement;
mod open_work;
mod orphans;
mod outbox;
mod plans;
mod pooler;
mod reach;
mod results;
mod rollups;
mod schema_state;
mod statements;
mod sweep;

pub use audit::{Counts, StageAudit};
pub use batches::{BatchKey, BatchOfTasks, UnsentBatch, UnsentTask};
pub use claims::{
    Claim, ClaimRequest, Claimed, Inputs, RunningTask, TaskClaims, TaskInputs, Unclaimed,
};
pub use completions::{Completion, CompletionRecord, TaskCompletions, TaskOutcome};
pub use control::{PauseRequest, ReopenedTasks, ResumeRequest, SkippedTasks};
pub use database::{ConnectionLimits, Database, MIGRATOR, PoolUse};
pub use dead_lettered::{
    DeadLetteredStage, DeadLetteredTask, DeadLetteredTasks, FailedTasks, Redeliveries,
};
pub use deferred::{Deferral, TaskDeferrals};
pub use diagnosis::{EnumDiagnosis, IndexStatistics, StatementDiagnosis, TableStatistics};
pub use error::DatabaseError;
pub use examination::{Examination, ExaminationError, MissingRight, examine};
pub use group_commit::GroupSizes;
pub use instances::{Backlog, Instance, LastSweep, SchemaVersions};
pub use jobs::{JobPulse, JobRecord, NewJob, StageRecord};
pub use listed_jobs::{JobFilter, JobPosition, LARGEST_PAGE, ListedJob, Page, Totals};
pub use listed_tasks::{ListedTask, StageToList, TaskFilter, TaskPosition};
pub use measurement::Measured;
pub use open_work::OpenWork;
pub use orphans::OrphanSearch;
pub use outbox::UnsentJobMessage;
pub use plans::{ChunkWritten, HEAVIEST_STATEMENT, LeasedStage, NewTask, StageKey, StagePlan};
pub use reach::{DatabaseAddress, Unreachable, reach};
pub use results::{EndedStage, NextStage, TaskResult};
pub use rollups::{BucketRow, JobSums, OctaveRow, PathRollups, RollupKey, RollupTotals, TaskSums};
pub use schema_state::SchemaState;
pub use sweep::{OverdueJob, TaskDue};

#[cfg(test)]
mod tests {
    /// Every statement is a file in `sql/`; the integration tests prepare each of them.
    #[test]
    fn no_statement_is_built_from_pieces() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
        for file in std::fs::read_dir(here).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let unchecked = source.matches(&["Assert", "SqlSafe("].concat()).count();
                // The name of the schema, where SQL does not allow a parameter.
                let allowed = usize::from(path.ends_with("connections.rs"));
                assert_eq!(unchecked, allowed, "{} builds SQL from pieces", path.display());
                let begins = source.matches(&["pool", ".begin()"].concat()).count()
                    + source.matches(&["pool().await?", ".begin()"].concat()).count();
                let allowed =
                    usize::from(path.ends_with("database.rs") || path.ends_with("connections.rs"));
                assert_eq!(
                    begins,
                    allowed,
                    "{}: transactions begin with Database::begin",
                    path.display()
                );
            }
        }
    }
}
