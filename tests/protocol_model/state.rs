//! The state: the rows in PostgreSQL, the messages in the queues, and the memory of handlers.
//!
//! Decisions of a clock are left out: the checker chooses whether a lease has expired, a pause has
//! passed or a message is presumed lost, wherever a statement checks this, so every faulty clock is
//! covered. This module does not know the possible next steps.

use std::hash::{Hash, Hasher};

use lastlight_engine::model::{JobStatus, StageOutcome, TaskStatus};

/// The maximum of any size.
pub(crate) const STAGES: usize = 5;
pub(crate) const TASKS: usize = 4;
pub(crate) const PLANNERS: usize = 3;
pub(crate) const ADVANCERS: usize = 3;

/// One job with all that belongs to it. Jobs share nothing, so one is enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub database: Database,
    pub queues: Queues,
    pub handlers: Handlers,
    pub outside: Outside,
    /// Number of steps of a walk, so that no state seems to be visited twice; 0 in a search.
    pub steps: u16,
}

/// The rows of the job in all tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub job: Option<Job>,
    /// Stage 1 is at index 0. The rows of a line are inserted in order, each when its stage begins;
    /// those of a graph together with the job.
    pub stages: [Option<Stage>; STAGES],
    /// `run` - 1: how often the job was resubmitted.
    pub reruns: u8,
    /// `attempts_before`: the highest attempt at any task of the runs before.
    pub attempts_before: u8,
    pub seen: Seen,
}

/// A row of `jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub status: JobStatus,
    /// Index of the current or next stage; of a graph the last one that became ready.
    pub stage: u8,
    /// `open_stages`: the stages of a graph that have not ended; `None` for a line.
    pub open_stages: Option<u8>,
    pub pause_requested: bool,
    /// `paused_at` is set.
    pub paused: bool,
    /// How the job ended, while its last stage runs after that.
    pub ends_as: Option<JobStatus>,
}

/// A row of `stages`, with its rows of `tasks`, `task_batches` and `outbox`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stage {
    pub total: u8,
    pub completed: u8,
    pub failed: u8,
    pub skipped: u8,
    pub plan_cursor: u8,
    pub lease_owner: Option<PlannerId>,
    /// `planned_at` is set.
    pub planned: bool,
    /// `advanced_at` is set.
    pub advanced: bool,
    pub tasks: [Option<Task>; TASKS],
    pub batches: [Option<Batch>; TASKS],
    /// There is a row in `outbox`: the stage's job message is unsent.
    pub unsent: bool,
    /// Number of dependencies that have not ended. As soon as it is 0, the stage is ready.
    pub waits_for: u8,
    /// A dependency that the stage needs did not complete, or did not choose it: the stage does not
    /// run.
    pub unmet: bool,
    /// `output` of a stage with tasks: its plan failed.
    pub plan_failed: bool,
    /// How a stage of a graph ended, unless its job ended first.
    pub outcome: Option<StageOutcome>,
    /// `not_chosen`: the dependents that a decision did not choose.
    pub not_chosen: u8,
    /// The gate's decision.
    pub decision: Option<Decision>,
    /// Not a column: how often the stage was advanced, at most 2.
    pub advances: u8,
    /// Not a column: how often a stage of a graph became ready since it was inserted or reopened, at
    /// most 2.
    pub starts: u8,
}

/// What a user decided at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Approve,
    Reject,
}

/// A row of `tasks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub status: TaskStatus,
    pub attempt: u8,
    /// `attempts_forgiven`.
    pub forgiven: u8,
    /// `next_send_at` is set: its message came when there was no permit, and a new message is due.
    pub deferred: bool,
    /// The task waits for a worker, and no attempt holds it: its own `ready_at` is set, or no claim has
    /// taken it from its batch.
    pub ready: bool,
    /// A row of `worker_claims` has its first attempt, which is not counted in `attempt` yet.
    pub claimed: bool,
    /// `skipped_by_user`: a user skipped it, so that a retry of the job leaves it as it is.
    pub skipped_by_user: bool,
    /// Not a column: number of recorded outcomes, at most 2.
    pub outcomes: u8,
    /// Not a column: the attempt whose end recorded the outcome; 0: none.
    pub decided_by: u8,
}

/// A row of `task_batches`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// `pending_queue`: its messages are unsent.
    Unsent,
    /// `queued`: marked as sent.
    Sent,
}

/// Notes of an observer that sees every commit. The protocol cannot read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How the job ended, until it is retried.
    pub ended: Option<JobStatus>,
    /// The end of an attempt was recorded by a statement that began after the job's end.
    pub counted_late: bool,
    /// A stage was advanced with a result that its counters do not justify.
    pub misjudged: bool,
    /// A status changed by an illegal transition.
    pub illegal: bool,
    /// A planner failed the job without holding the stage's lease.
    pub failed_by_stranger: bool,
    /// A counter was changed from outside the protocol.
    pub drifted: bool,
    /// A decision that a gate had taken was changed.
    pub decided_twice: bool,
    /// Two attempts at a task that ran at the same time had the same number.
    pub given_twice: bool,
}

/// All messages that the queues ever accepted. An accepted message may be delivered never, later,
/// in any order and any number of times: that is a set from which nothing is removed. A message
/// names a stage or a task, and nothing else is read from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Queues {
    /// By stage.
    pub job_message: [bool; STAGES],
    /// By stage and task.
    pub task_message: [[bool; TASKS]; STAGES],
}

/// The running invocations of the processes, each on its own. A process that is killed takes
/// several with it; killing them one after the other is equivalent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Handlers {
    pub planners: [Option<Planner>; PLANNERS],
    /// Attempts between their claim and their outcome, by stage and task: bit n is attempt n + 1.
    pub attempts: [[u8; TASKS]; STAGES],
    /// Actors that have read an ended stage and not written yet. Sorted, so that their order makes
    /// no new state.
    pub advancers: [Option<Advancer>; ADVANCERS],
    /// A statement that saw the job open and commits after its end.
    pub straddler: Option<Straddler>,
}

/// The planner's UUID.
pub(crate) type PlannerId = u8;

/// A delivery of a job message that took the stage's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planner {
    pub stage: u8,
    /// The position at which it continues.
    pub cursor: u8,
}

/// An actor that read an ended stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Advancer {
    pub stage: u8,
    /// The run that the job was in.
    pub reruns: u8,
    /// The counters as read; the rest of the total had completed.
    pub failed: u8,
    pub skipped: u8,
    /// The dependents of a stage of a graph, as bits, of which each waited for no other dependency
    /// when they were read. Only a mutation uses them.
    pub alone: u8,
}

/// READ COMMITTED: a statement waits for the rows that it changes and reads them again, but other
/// rows it reads as of its start. So a statement that checks the job's status may commit after the
/// job's end and still have seen it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Straddler {
    LeaseStage { stage: u8 },
    WriteChunk { planner: PlannerId },
    Claim { stage: u8, task: u8 },
    ClaimInBatch { stage: u8, task: u8 },
    Complete { stage: u8, task: u8, attempt: u8 },
}

/// The remaining events from outside. There are few, so that the search ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    /// A user cancels the job.
    pub cancels: u8,
    /// A user pauses the job. Resuming it is always allowed.
    pub pauses: u8,
    /// A user retries the job.
    pub retries: u8,
    /// The deadline passes, or a plan turns out to be impossible.
    pub failures: u8,
    /// A message is delivered as often as its queue allows, without success, and so are its
    /// successors.
    pub poisons: u8,
    /// A claim whose caller stopped waiting is released.
    pub hand_backs: u8,
    /// A message is delivered to a process without a permit to start its task.
    pub deferrals: u8,
    /// A counter is changed from outside the protocol.
    pub drifts: u8,
    /// A user decides at a gate, perhaps at one that does not wait.
    pub decisions: u8,
    /// A user has the job run again from its beginning.
    pub resubmissions: u8,
    /// A user retries or skips a single task.
    pub task_changes: u8,
}

impl Database {
    pub(crate) fn stage(&self, stage: u8) -> Option<&Stage> {
        self.stages.get(usize::from(stage))?.as_ref()
    }

    pub(crate) fn stage_mut(&mut self, stage: u8) -> Option<&mut Stage> {
        self.stages.get_mut(usize::from(stage))?.as_mut()
    }

    /// The stages that have a row, with their numbers.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (u8, &Stage)> {
        (0..).zip(&self.stages).filter_map(|(number, stage)| Some((number, stage.as_ref()?)))
    }

    /// Whether there is an unfinished job, as for a statement that checks `JobStatus::open`.
    pub(crate) fn is_open(&self) -> bool {
        self.job.is_some_and(|job| !job.status.is_terminal())
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.job.is_some_and(|job| job.status.is_terminal())
    }
}

impl Stage {
    pub(crate) fn task(&self, task: u8) -> Option<&Task> {
        self.tasks.get(usize::from(task))?.as_ref()
    }

    /// The tasks that have a row, with their numbers.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (u8, &Task)> {
        (0..).zip(&self.tasks).filter_map(|(number, task)| Some((number, task.as_ref()?)))
    }

    pub(crate) fn written(&self) -> u8 {
        self.tasks.iter().flatten().count() as u8
    }

    pub(crate) fn count(&self, status: TaskStatus) -> u8 {
        self.tasks.iter().flatten().filter(|task| task.status == status).count() as u8
    }

    /// The tasks that were skipped, but not by a user.
    pub(crate) fn left_out(&self) -> u8 {
        let is_left_out =
            |task: &&Task| task.status == TaskStatus::Skipped && !task.skipped_by_user;
        self.tasks.iter().flatten().filter(is_left_out).count() as u8
    }

    /// completed + failed + skipped = total.
    pub(crate) fn counters_add_up(&self) -> bool {
        self.completed + self.failed + self.skipped == self.total
    }
}

/// A state is hashed millions of times, in debug builds too: as one byte array that distinguishes
/// states.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut bytes = Bytes::default();
        bytes.database(&self.database);
        // Stages that were not inserted have neither messages nor attempts.
        for stage in (0..STAGES).filter(|stage| self.database.stages[*stage].is_some()) {
            let messages = self.queues.task_message[stage];
            bytes.put(bits([
                self.queues.job_message[stage],
                messages[0],
                messages[1],
                messages[2],
                messages[3],
            ]));
            for attempts in self.handlers.attempts[stage] {
                bytes.put(attempts);
            }
        }
        for planner in self.handlers.planners {
            bytes.put(planner.map_or(0, |planner| 1 + planner.stage * 16 + planner.cursor));
        }
        for advancer in self.handlers.advancers {
            bytes.put(advancer.map_or(0, |advancer| 1 + advancer.stage + 16 * advancer.reruns));
            bytes.put(advancer.map_or(0, |advancer| advancer.failed * 16 + advancer.skipped));
            bytes.put(advancer.map_or(0, |advancer| advancer.alone));
        }
        let (kind, what) = match self.handlers.straddler {
            None => (0, 0),
            Some(Straddler::LeaseStage { stage }) => (1, stage),
            Some(Straddler::WriteChunk { planner }) => (2, planner),
            Some(Straddler::Claim { stage, task }) => (3, stage * 16 + task),
            Some(Straddler::ClaimInBatch { stage, task }) => (4, stage * 16 + task),
            Some(Straddler::Complete { stage, task, attempt }) => (4 + attempt, stage * 16 + task),
        };
        bytes.put(kind);
        bytes.put(what);
        bytes.put(self.outside.cancels * 16 + self.outside.pauses);
        bytes.put(self.outside.retries * 16 + self.outside.failures);
        bytes.put(self.outside.poisons * 16 + self.outside.hand_backs);
        bytes.put(self.outside.drifts * 16 + self.outside.deferrals);
        bytes.put(self.outside.decisions * 16 + self.outside.resubmissions);
        bytes.put(self.outside.task_changes);
        for byte in self.steps.to_le_bytes() {
            bytes.put(byte);
        }
        hasher.write(bytes.all());
    }
}

impl Hash for Database {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut bytes = Bytes::default();
        bytes.database(self);
        hasher.write(bytes.all());
    }
}

/// A byte array large enough for any state.
struct Bytes {
    bytes: [u8; 256],
    length: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { bytes: [0; 256], length: 0 }
    }
}

impl Bytes {
    fn put(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn all(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn database(&mut self, database: &Database) {
        let Database { job, stages, reruns, attempts_before, seen } = database;
        self.put(reruns * 16 + attempts_before);
        self.put(job.map_or(0, |job| 1 + job.status as u8 * 16 + job.stage));
        self.put(bits([
            job.is_some_and(|job| job.pause_requested),
            job.is_some_and(|job| job.paused),
            seen.counted_late,
            seen.misjudged,
            seen.illegal,
        ]));
        self.put(bits([
            seen.failed_by_stranger,
            seen.drifted,
            seen.decided_twice,
            seen.given_twice,
            false,
        ]));
        self.put(job.and_then(|job| job.open_stages).map_or(0, |open| 1 + open));
        self.put(seen.ended.map_or(0, |status| 1 + status as u8));
        self.put(job.and_then(|job| job.ends_as).map_or(0, |status| 1 + status as u8));
        for stage in stages {
            let Some(stage) = stage else {
                self.put(0);
                continue;
            };
            self.put(1 + stage.plan_cursor * 16 + stage.advances);
            self.put(stage.total * 16 + stage.completed);
            self.put(stage.failed * 16 + stage.skipped);
            self.put(stage.lease_owner.map_or(0, |planner| 1 + planner));
            self.put(bits([
                stage.planned,
                stage.advanced,
                stage.unsent,
                stage.unmet,
                stage.plan_failed,
            ]));
            self.put(stage.waits_for * 16 + stage.outcome.map_or(0, |outcome| 1 + outcome as u8));
            self.put(stage.not_chosen);
            self.put(stage.starts * 16 + stage.decision.map_or(0, |decision| 1 + decision as u8));
            for task in stage.tasks {
                let Some(task) = task else {
                    self.put(0);
                    continue;
                };
                self.put(1 + task.status as u8 * 16 + task.attempt);
                self.put(task.forgiven * 16 + task.decided_by);
                let bits = [task.claimed, task.deferred, task.ready, task.skipped_by_user];
                self.put(
                    bits.into_iter().fold(task.outcomes, |byte, bit| byte * 2 + u8::from(bit)),
                );
            }
            for batches in stage.batches.chunks(2) {
                let code = |batch: Option<Batch>| batch.map_or(0, |batch| 1 + batch as u8);
                self.put(code(batches[0]) * 16 + code(batches[1]));
            }
        }
    }
}

fn bits(bits: [bool; 5]) -> u8 {
    bits.into_iter().fold(0, |byte, bit| byte * 2 + u8::from(bit))
}
