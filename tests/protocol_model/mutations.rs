//! The protocol without one of its parts. Each mutation is a mistake that is easily made, or that
//! the previous app made; the checker must find the property that it breaks.

/// The part that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// `complete_tasks` does not check the attempt.
    CompleteWithoutAttempt,
    /// `complete_tasks` checks neither the attempt nor the status, like the Python app.
    CompleteWithoutFence,
    /// `complete_tasks` does not check whether the job is finished.
    CompleteAfterTheEnd,
    /// `claim_tasks` does not count the attempt; the outcome does.
    AttemptCountedAtItsEnd,
    /// `advance_stage` and `next_stage` write what was read, without checking it again.
    AdvanceByWhatWasRead,
    /// `advance_stage` does not check whether the counters are still those that were read. (A
    /// former bug: a job cancelled and retried while its stage was being folded.)
    AdvanceByOtherCounters,
    /// A stage has ended once its counters add up, even if it is not planned completely.
    EndBeforePlanned,
    /// `extend_plan` does not check who holds the lease.
    WriteChunkWithoutLease,
    /// `write_chunk` writes no batches; their sender writes them afterwards.
    WriteChunkWithoutBatches,
    /// A planner whose plan is impossible fails the job without checking who holds the lease. (A
    /// former bug.)
    FailPlanWithoutLease,
    /// `batch_update_status` comes before the send.
    MarkBeforeSend,
    /// `next_stage` writes no outbox row; the advancer sends the message afterwards.
    NextStageWithoutOutbox,
    /// `close_stage` does not wait until its open tasks are skipped.
    CloseBeforeSkipped,
    /// `defer_tasks` does not check the status.
    DeferWithoutState,
    /// A worker's claim leaves the task ready.
    ClaimKeepsReady,
    /// A retry of a worker's task does not make it ready.
    RetryNotReady,
    /// `dead_attempts` does not make a worker's task ready.
    DeadAttemptNotReady,
    /// `skip_open_tasks` leaves a worker's task ready.
    SkipKeepsReady,
    /// `reopen_tasks` does not make a worker's tasks ready.
    ReopenNotReady,
    /// `reopen_tasks` leaves the attempt of a worker's task as it is, which a claim of its batch may have.
    ReopenKeepsAttempt,
    /// `dead_claims` does not count the attempts that died.
    DeadClaimKeepsAttempt,
    /// `complete_tasks` ends a first attempt in a claim of a batch whatever has become of the task.
    CompleteClaimedWithoutFence,
    /// `reconcile` without `dead_claims`.
    SweepWithoutDeadClaims,
    /// `skip_open_tasks` does not check whether the job is finished.
    SkipWithoutEnd,
    /// `reopen_job` does not check whether every failed and skipped task was reopened.
    ReopenHalf,
    /// `reconcile` without `due_job_messages`.
    SweepWithoutOutbox,
    /// `reconcile` without `get_pending_retry_batches`.
    SweepWithoutUnsentBatches,
    /// `reconcile` without `mark_lost_batches_unsent`.
    SweepWithoutLostBatches,
    /// `reconcile` without `take_dead_attempts`.
    SweepWithoutDeadAttempts,
    /// `reconcile` without `take_deferred`.
    SweepWithoutDeferred,
    /// `reconcile` without `mark_dead_planners_unsent`.
    SweepWithoutDeadPlanners,
    /// `reconcile` without `stages_to_advance`.
    SweepWithoutAdvance,
    /// `reconcile` without `stages_to_close`.
    SweepWithoutClosing,
    /// `reconcile` without `open_partially_reopened`. (A former bug: a retry that died after its
    /// first batch.)
    SweepWithoutPartiallyReopened,
    /// `reconcile` without `repair_counters`.
    SweepWithoutRepair,
    /// The statement that ends a stage of a graph counts the dependencies that it read before, not
    /// those in the dependent's row.
    CountWhatWasRead,
    /// A dependent is started by whoever sees that all of its dependencies have ended, without a
    /// claim of the end.
    StartWithoutClaim,
    /// A stage that cannot run is marked as such after the commit, by the process that found it out.
    SkipAfterCommit,
    /// A stage that cannot run is started as if all were well.
    StartWithoutSkip,
    /// `decide_gate` does not check whether the gate's decision was taken.
    DecideAgain,
    /// `decide_gate` does not check whether the gate waits for a decision.
    DecideTooEarly,
    /// `reopen_graph` does not reopen what was skipped because of a failed stage.
    ReopenWithoutSkipped,
    /// `finalize_job` does not check whether all other stages are closed.
    FinalizeTooSoon,
    /// `finalize_job` does not check whether the last stage has begun.
    FinalizeAgain,
    /// The end of the last stage says how the job ended, even if the job had ended before.
    FinalizeForgets,
    /// `reconcile` without `jobs_to_finalize`.
    SweepWithoutFinalizing,
    /// `reopen_graph` keeps a plan that failed.
    KeepFailedPlan,
    /// `resume_graph` sends the job message of the current stage only.
    ResumeOneStage,
    /// The tasks of a new run count their attempts from 0, as those of the run before.
    ResubmitForgetsAttempts,
    /// `retry_tasks` does not check whether the stage has ended.
    RetryTaskAfterTheEnd,
    /// `retry_tasks` leaves the attempt of a worker's task as it is, which a claim of its batch may have.
    RetryTaskKeepsAttempt,
    /// `skip_tasks` does not take a failed task out of the number of failed ones.
    SkipTaskKeepsFailure,
    /// `advance_stage` does not check whether the job is still in the run that was read.
    AdvanceOfAnotherRun,
}
