//! What the protocol would be without one of its parts. Each is a mistake that is easily made, or
//! was made by the app before this one; the checker has to find what it breaks.

/// One part left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// `complete_tasks` does not ask for the attempt.
    CompleteWithoutAttempt,
    /// `complete_tasks` asks for neither the attempt nor the state, as the Python app's did not.
    CompleteWithoutFence,
    /// `complete_tasks` does not ask whether the job is over.
    CompleteAfterTheEnd,
    /// `claim_tasks` does not count the attempt; the outcome does.
    AttemptCountedAtItsEnd,
    /// `advance_stage` and `next_stage` write what was read, without asking again.
    AdvanceByWhatWasRead,
    /// `advance_stage` does not ask whether the counters are still those that were read. (Was so
    /// once: a job cancelled and repeated while somebody folded its stage.)
    AdvanceByOtherCounters,
    /// A stage has ended once its counters add up, planned or not.
    EndBeforePlanned,
    /// `extend_plan` does not ask who holds the lease.
    WriteChunkWithoutLease,
    /// `write_chunk` writes no batches; whoever sends them writes them afterwards.
    WriteChunkWithoutBatches,
    /// A planner whose plan is impossible fails the job without asking who holds the lease. (Was so
    /// once.)
    FailPlanWithoutLease,
    /// `batch_update_status` comes before the send.
    MarkBeforeSend,
    /// `next_stage` writes no outbox row; whoever advanced sends the message afterwards.
    NextStageWithoutOutbox,
    /// `close_stage` does not wait until its open tasks are skipped.
    CloseBeforeSkipped,
    /// `defer_tasks` does not ask for the state.
    DeferWithoutState,
    /// `skip_open_tasks` does not ask whether the job is over.
    SkipWithoutEnd,
    /// `reopen_job` does not ask whether everything that did not succeed was reopened.
    ReopenHalf,
    /// `reconcile` without `due_job_messages`.
    SweepWithoutOutbox,
    /// `reconcile` without `get_pending_retry_batches`.
    SweepWithoutUnsentBatches,
    /// `reconcile` without `owe_lost_batches`.
    SweepWithoutLostBatches,
    /// `reconcile` without `take_dead_attempts`.
    SweepWithoutDeadAttempts,
    /// `reconcile` without `take_deferred`.
    SweepWithoutDeferred,
    /// `reconcile` without `owe_dead_planners`.
    SweepWithoutDeadPlanners,
    /// `reconcile` without `stages_to_advance`.
    SweepWithoutAdvance,
    /// `reconcile` without `stages_to_close`.
    SweepWithoutClosing,
    /// `reconcile` without `open_partially_reopened`. (Was so once: a retry that died after its first
    /// batch.)
    SweepWithoutPartiallyReopened,
    /// `reconcile` without `repair_counters`.
    SweepWithoutRepair,
}
