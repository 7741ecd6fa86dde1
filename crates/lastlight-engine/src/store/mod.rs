//! The state of all jobs, in PostgreSQL: all pending work is stored here.
//!
//! The statements are in `sql/`, one per file, each with the index that it uses and the rows that it
//! locks. The store makes no decisions of the workflow and does not depend on a queue. A caller holds
//! a [`Database`] and reaches the rows by what they belong to: `database.jobs().get(&job_id)`.
//!
//! The modules, from top to bottom: a module may use modules below it in this table, but none above
//! it. A test enforces this.
//!
//! | module | purpose |
//! | --- | --- |
//! | `diagnostics` | the state of the database, of the processes and of the work |
//! | `rollups` | the sums and histograms of what has ended |
//! | `purge` | deleting jobs that are over |
//! | `archive` | what the archive keeps of a job, and which run is in it |
//! | `bulk` | bulk operations, and how far they are |
//! | `schedules` | schedules, and what became of their due times |
//! | `notifications` | whom to tell of what, and whether they were told |
//! | `jobs` | submission, control, lists and searches of jobs |
//! | `workers` | claims of ready tasks by workers, and what these serve and run |
//! | `tasks` | claims, completions and deferrals of tasks |
//! | `stages` | the plan, the counters and the end of a stage |
//! | `outbox` | messages that are due and not sent yet |
//! | `rows` | rows that several of these modules share |
//! | `connection` | the pool, the migrations, the errors |
//! | `statements` | the texts of all statements |

mod archive;
mod bulk;
mod connection;
mod diagnostics;
mod jobs;
mod notifications;
mod outbox;
mod purge;
mod rollups;
mod rows;
mod schedules;
mod stages;
mod statements;
mod tasks;
mod workers;

pub use archive::{Archive, ArchiveBacklog, ArchiveClaim, StageToArchive, TaskPage, TaskToArchive};
pub use bulk::{BulkOperations, BulkPosition, BulkProgress, BulkRecord, NewBulk, TakenBulk};
pub use connection::{
    ConnectionLimits, Database, DatabaseAddress, DatabaseError, Examination, ExaminationError,
    MIGRATOR, MissingRight, PoolUse, SchemaState, Unreachable, UnservedHandler, examine, reach,
};
pub use diagnostics::{
    Backlog, Diagnostics, EnumDiagnosis, IndexStatistics, Instance, LastSweep, OpenWork,
    SchemaVersions, StatementDiagnosis, TableStatistics,
};
pub use jobs::{
    Driver, JobFilter, JobPulse, JobRecord, JobSearch, JobWithoutTerms, Jobs, ListedJob,
    NewDefinition, NewJob, OverdueJob, PauseRequest, ResumeRequest, SearchEstimates, Since,
    StoredDefinition, StoredEvent, Totals,
};
pub use notifications::{
    DueNotification, EventToTell, ListedNotification, NewNotification, NextAttempt,
    NotificationCounts, NotificationFilter, Notifications,
};
pub use outbox::{Outbox, UnsentBatch, UnsentJobMessage};
pub use purge::{Kept, Marked, OverJob, OverJobs, Purge, PurgeStep};
pub use rollups::{
    BucketRow, JobSums, Measured, OctaveRow, PathRollups, RollupKey, RollupTotals, Rollups,
    TaskSums,
};
pub use rows::{
    ArchiveFirst, BatchKey, BatchOfTasks, JobPosition, JsonText, LARGEST_PAGE, NewTask, Page,
    Redeliveries, RunningTask, StageKey, UnsentTask,
};
pub use schedules::{
    NewRun, NewSchedule, NextDue, ScheduleClock, ScheduleRecord, ScheduleStanding, ScheduleStep,
    Schedules, Stepped,
};
pub use stages::{
    ChildToSubmit, ChunkWritten, Counts, DeadLetteredStage, EndedStage, GateDue, GraphAdvance,
    GraphEnd, GraphStage, HEAVIEST_STATEMENT, LeasedStage, NextStage, ResultsInOrder, StageAudit,
    StageEnd, StagePlan, StageRecord, Stages, TaskResult,
};
pub use tasks::{
    BatchClaim, Claim, ClaimRequest, Claimed, Completion, CompletionRecord, DeadLetteredTask,
    DeadLetteredTasks, Deferral, FailedTasks, GroupSizes, Inputs, ListedTask, OrphanSearch,
    ReopenedTasks, SkippedTasks, StageToList, TaskChoice, TaskClaims, TaskCompletions,
    TaskDeferrals, TaskDue, TaskFilter, TaskInputs, TaskNotes, TaskOutcome, TaskPosition, TaskStep,
    Tasks, Unclaimed,
};
pub use workers::{
    AttemptStanding, HandlerWork, ListedWorker, TaskOfWorker, WorkerClaim, WorkerSeen, WorkerTask,
    Workers,
};

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// Every statement is a file in `sql/`; the integration tests prepare each of them.
    #[test]
    fn no_statement_is_built_from_pieces() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
        let mut files = Vec::new();
        sources(&here, &mut files);
        assert!(files.len() > 30, "too few files are found: {files:?}");
        for path in files {
            let source = std::fs::read_to_string(&path).unwrap();
            let unchecked = source.matches(&["Assert", "SqlSafe("].concat()).count();
            let is_pool = path.ends_with("connection/connections.rs");
            // The name of the schema, where SQL does not allow a parameter.
            assert_eq!(
                unchecked,
                usize::from(is_pool),
                "{} builds SQL from pieces",
                path.display()
            );
            let begins = source.matches(&["pool", ".begin()"].concat()).count()
                + source.matches(&["pool().await?", ".begin()"].concat()).count();
            let may_begin = is_pool || path.ends_with("connection/database.rs");
            assert_eq!(
                begins,
                usize::from(may_begin),
                "{}: transactions begin with Database::begin",
                path.display()
            );
        }
    }
}
