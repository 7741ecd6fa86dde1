//! What there is: the rows in PostgreSQL, what the queues were given, and what handlers have in
//! memory.
//!
//! Everything that a clock decides is left out: whether a lease ran out, a pause is over or a
//! message counts as lost is chosen by the checker wherever the statement asks for it, so every
//! clock that goes wrong is covered. Knows nothing of what may happen next.

use std::hash::{Hash, Hasher};

use lastlight::model::{JobStatus, TaskStatus};

/// The most that any size has room for.
pub(crate) const STAGES: usize = 3;
pub(crate) const TASKS: usize = 4;
pub(crate) const PLANNERS: usize = 3;
pub(crate) const ADVANCERS: usize = 3;

/// One job and everything that belongs to it. Jobs share nothing, so one is enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub database: Database,
    pub queues: Queues,
    pub handlers: Handlers,
    pub outside: Outside,
    /// Steps of a walk, so that it never seems to come back to where it was; 0 in a search.
    pub steps: u16,
}

/// Row `job_id` of every table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub job: Option<Job>,
    /// Stage 1 is at index 0; rows come into being in order.
    pub stages: [Option<Stage>; STAGES],
    pub seen: Seen,
}

/// A row of `jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub status: JobStatus,
    /// Index of the stage that runs or is next.
    pub stage: u8,
    pub pause_requested: bool,
    /// `paused_at` is set.
    pub paused: bool,
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
    /// There is a row in `outbox`: the stage's job message is owed.
    pub unsent: bool,
    /// Not a column: how often its end was claimed by somebody who then moved the job on, at most
    /// 2.
    pub advances: u8,
}

/// A row of `tasks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub status: TaskStatus,
    pub attempt: u8,
    /// `attempts_forgiven`.
    pub forgiven: u8,
    /// `next_send_at` is set: its message came when there was no room, and a new one is due.
    pub deferred: bool,
    /// Not a column: outcomes that were recorded, at most 2.
    pub outcomes: u8,
    /// Not a column: the attempt with whose end the outcome was recorded; 0: none.
    pub decided_by: u8,
}

/// A row of `task_batches`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// `pending_queue`: its messages are owed.
    Unsent,
    /// `queued`: marked as sent.
    Sent,
}

/// What an observer noted who sees every commit. The protocol cannot read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How the job ended, until a person has it repeated.
    pub ended: Option<JobStatus>,
    /// An attempt's end was recorded by a statement that began when the job was over.
    pub counted_late: bool,
    /// A stage was judged otherwise than its counters say.
    pub misjudged: bool,
    /// A status changed along a way that the table does not have.
    pub illegal: bool,
    /// A planner failed the job that did not hold the stage's lease.
    pub failed_by_stranger: bool,
    /// A counter was changed by a foreign hand.
    pub drifted: bool,
}

/// What the queues accepted, ever. A message that was accepted may come never, later, in any order
/// and any number of times: that is a set from which nothing is taken away. A message names a stage
/// or a task, and no more is read from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Queues {
    /// By stage.
    pub job_message: [bool; STAGES],
    /// By stage and task.
    pub task_message: [[bool; TASKS]; STAGES],
}

/// What is under way in the processes, each invocation by itself. A process that is killed takes
/// several with it; one after the other is the same to everybody else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Handlers {
    pub planners: [Option<Planner>; PLANNERS],
    /// Attempts between their claim and their outcome, by stage and task: bit n is attempt n + 1.
    pub attempts: [[u8; TASKS]; STAGES],
    /// Those who read that a stage has ended and have not written yet. Sorted, so that their order
    /// makes no new state.
    pub advancers: [Option<Advancer>; ADVANCERS],
    /// A statement that saw the job open, while the job ended before its commit.
    pub straddler: Option<Straddler>,
}

/// Which planner; its uuid.
pub(crate) type PlannerId = u8;

/// A delivery of a job message that took the stage's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planner {
    pub stage: u8,
    /// Where it will go on.
    pub cursor: u8,
}

/// Somebody who read an ended stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Advancer {
    pub stage: u8,
    /// The counters as read; what is left of the total had completed.
    pub failed: u8,
    pub skipped: u8,
}

/// READ COMMITTED: a statement waits for the rows that it changes and reads them anew, but what it
/// reads of others is as old as the statement. So one that checks the job's state may commit after
/// the job's end and still have seen it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Straddler {
    LeaseStage { stage: u8 },
    WriteChunk { planner: PlannerId },
    Claim { stage: u8, task: u8 },
    Complete { stage: u8, task: u8, attempt: u8 },
}

/// What may still come from outside. It is little, so that there is an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    /// A person cancels the job.
    pub cancels: u8,
    /// A person pauses it. To resume it is always allowed.
    pub pauses: u8,
    /// A person has what failed repeated.
    pub retries: u8,
    /// The deadline passes, or a plan turns out to be impossible.
    pub failures: u8,
    /// A message is delivered as often as its queue allows, without success, and so are those in
    /// its place.
    pub poisons: u8,
    /// A claim whose caller gave up waiting is handed back.
    pub hand_backs: u8,
    /// A message is delivered to a process that has no room to begin its task.
    pub deferrals: u8,
    /// A counter is changed by a foreign hand.
    pub drifts: u8,
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

    /// There is a job and it is not over; a statement that asks for `JobStatus::open`.
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

    /// completed + failed + skipped = total.
    pub(crate) fn counters_add_up(&self) -> bool {
        self.completed + self.failed + self.skipped == self.total
    }
}

/// A state is hashed millions of times, in a debug build too: as one row of bytes that tells states
/// apart.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut bytes = Bytes::default();
        bytes.database(&self.database);
        for stage in 0..STAGES {
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
            bytes.put(advancer.map_or(0, |advancer| 1 + advancer.stage));
            bytes.put(advancer.map_or(0, |advancer| advancer.failed * 16 + advancer.skipped));
        }
        let (kind, what) = match self.handlers.straddler {
            None => (0, 0),
            Some(Straddler::LeaseStage { stage }) => (1, stage),
            Some(Straddler::WriteChunk { planner }) => (2, planner),
            Some(Straddler::Claim { stage, task }) => (3, stage * 16 + task),
            Some(Straddler::Complete { stage, task, attempt }) => (3 + attempt, stage * 16 + task),
        };
        bytes.put(kind);
        bytes.put(what);
        bytes.put(self.outside.cancels * 16 + self.outside.pauses);
        bytes.put(self.outside.retries * 16 + self.outside.failures);
        bytes.put(self.outside.poisons * 16 + self.outside.hand_backs);
        bytes.put(self.outside.drifts * 16 + self.outside.deferrals);
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

/// A row of bytes with room for any state.
struct Bytes {
    bytes: [u8; 192],
    length: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { bytes: [0; 192], length: 0 }
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
        let Database { job, stages, seen } = database;
        self.put(job.map_or(0, |job| 1 + job.status as u8 * 16 + job.stage));
        self.put(bits([
            job.is_some_and(|job| job.pause_requested),
            job.is_some_and(|job| job.paused),
            seen.counted_late,
            seen.misjudged,
            seen.illegal,
        ]));
        self.put(bits([seen.failed_by_stranger, seen.drifted, false, false, false]));
        self.put(seen.ended.map_or(0, |status| 1 + status as u8));
        for stage in stages {
            let Some(stage) = stage else {
                self.put(0);
                continue;
            };
            self.put(1 + stage.plan_cursor * 16 + stage.advances);
            self.put(stage.total * 16 + stage.completed);
            self.put(stage.failed * 16 + stage.skipped);
            self.put(stage.lease_owner.map_or(0, |planner| 1 + planner));
            self.put(bits([stage.planned, stage.advanced, stage.unsent, false, false]));
            for task in stage.tasks {
                let Some(task) = task else {
                    self.put(0);
                    continue;
                };
                self.put(1 + task.status as u8 * 16 + task.attempt);
                self.put(task.forgiven * 16 + task.decided_by);
                self.put(task.outcomes * 2 + u8::from(task.deferred));
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
