//! The model's transactions against the real ones: the same random calls on both, the same results,
//! and the same rows after each call. So the model searches what PostgreSQL does; a statement that
//! is changed in one of them fails the test.
//!
//! Calls are random, and many of them are refused. The clock is set before each call, so that
//! everything that waits for a time is due.

use std::{collections::BTreeSet, str::FromStr, sync::Arc, time::Duration};

use lastlight::{
    model::{
        JobId, JobStatus, ProcessingPath, Stage, TaskId, TaskIndex, TaskStatus, TasksPerMessage,
    },
    store::{
        BatchKey, ChunkWritten, Claim, ClaimRequest, Completion, Database, Deferral, EndedStage,
        NewJob, NewTask, NextStage, RunningTask, StageKey, StagePlan, TaskClaims, TaskCompletions,
        TaskDeferrals, TaskOutcome,
    },
};
use serde_json::{json, value::RawValue};
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::{
    state::{self, Advancer, Batch, Planner, PlannerId, TASKS},
    transactions::{Outcome, Rules},
};

/// The name of a call, and the results of the model and of PostgreSQL.
type Answers = (&'static str, String, String);

/// Statements that write and are not called here, with the reason.
const LEFT_OUT: [(&str, &str); 15] = [
    ("clear_stage", "jobs that are deleted by hand"),
    ("remove_orphans", "jobs that are deleted by hand"),
    ("batch_failed", "information for operators"),
    ("job_message_failed", "information for operators"),
    ("count_ignored", "counters for operators"),
    ("record_measure", "metrics of finished stages"),
    ("measure_jobs", "metrics of finished jobs"),
    ("report_instance", "for operators: the running processes"),
    ("forget_instances", "for operators: the running processes"),
    ("record_sweep", "information for operators"),
    ("extend_leases", "the clock: a lease that is extended"),
    ("keep_plan", "the clock: a lease that is extended"),
    ("silent_stages", "the clock: when a stage was last checked"),
    ("tasks_redelivered", "counts messages, of which the model sends any number"),
    ("release_claims", "private; modelled, and called by tests/it/back_pressure.rs"),
];

/// Statements that write and are called here, some through a function of another name.
const CALLED: [&str; 34] = [
    "advance_stage",
    "batch_create_tasks",
    "batch_update_status",
    "claim_tasks",
    "close_stage",
    "complete_tasks",
    "create_batches",
    "dead_attempts",
    "dead_planners",
    "defer_tasks",
    "due_job_messages",
    "end_early",
    "end_job",
    "extend_plan",
    "fail_tasks",
    "fail_unplanned_job",
    "finish_plan",
    "get_pending_retry_batches",
    "insert_job",
    "job_message_sent",
    "lease_stage",
    "lost_batches",
    "repair_counters",
    "next_stage",
    "open_partially_reopened",
    "release_stage",
    "reopen_job",
    "reopen_tasks",
    "request_pause",
    "resume_job",
    "skip_open_tasks",
    "stage_redelivered",
    "stop_plan",
    "take_deferred",
];

/// Statements in the repository's folder that write and are neither called here nor excluded with a
/// reason; and listed statements that do not exist.
pub(crate) fn unknown_statements() -> Vec<String> {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lastlight/src/store/sql");
    let mut writing = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let statement = std::fs::read_to_string(&path).unwrap();
        let code = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
        let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
        let writes = |place: usize, word: &&str| match *word {
            "INSERT" | "DELETE" => true,
            // Not the UPDATE of FOR UPDATE, which locks, nor that of DO UPDATE, which belongs to an
            // INSERT.
            "UPDATE" => place == 0 || !["FOR", "DO"].contains(&words[place - 1]),
            _ => false,
        };
        if words.iter().enumerate().any(|(place, word)| writes(place, word)) {
            writing.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    let left_out = LEFT_OUT.map(|(name, _)| name);
    let known: BTreeSet<String> =
        CALLED.iter().chain(&left_out).map(|name| (*name).to_owned()).collect();
    writing.symmetric_difference(&known).cloned().collect()
}

/// Longer than every lease, pause and grace period, in seconds.
const LONG: f64 = 3600.0;

/// The real database.
struct Real {
    database: Database,
    claims: TaskClaims,
    completions: TaskCompletions,
    deferrals: TaskDeferrals,
    connection: PgConnection,
    job_id: JobId,
}

/// Both databases, and what their callers hold in memory.
pub(crate) struct Pair {
    real: Real,
    model: state::Database,
    rules: Rules,
    random: fastrand::Rng,
    /// All planners that ever took a lease, dead or alive, with their UUIDs.
    planners: Vec<(Planner, Uuid)>,
    /// All actors that ever read an ended stage.
    advancers: Vec<(Advancer, EndedStage)>,
}

impl Pair {
    pub(crate) async fn new(rules: Rules, seed: u64) -> Self {
        Self {
            real: Real::new(seed).await,
            model: state::Database::default(),
            rules,
            random: fastrand::Rng::with_seed(seed),
            planners: Vec::new(),
            advancers: Vec::new(),
        }
    }

    /// Makes one call on both and returns its name and both results, the model's first.
    pub(crate) async fn call(&mut self) -> Answers {
        self.real.time_passes().await;
        // The job's current stage, most of the time.
        let current = self.model.job.map_or(0, |job| job.stage);
        let stage = match self.random.u8(..5) {
            0 => self.random.u8(..self.rules.stages),
            _ => current,
        };
        let task = self.task(stage);
        let batch = self.rules.batch_of(task);
        match self.random.u16(..1034) {
            0..20 => self.insert_job().await,
            20..40 => self.job_message_sent(stage).await,
            40..110 => self.lease_stage(stage).await,
            110..296 => self.go_on_planning().await,
            296..302 => self.release_stage().await,
            302..305 => self.stop_plan().await,
            305..315 => self.fail_plan().await,
            315..480 => self.claim(stage, task).await,
            480..530 => self.defer(stage, task).await,
            530..720 => self.complete(stage, task).await,
            720..735 => self.fail_task(stage, task).await,
            735..765 => self.batch_update_status(stage, batch).await,
            765..810 => self.ended_stage(stage).await,
            810..860 => self.go_on().await,
            860..864 => self.end_early().await,
            864..880 => self.skip_open_tasks(stage).await,
            880..900 => self.close_stage(stage).await,
            900..904 => self.request_pause().await,
            904..915 => self.resume_job().await,
            915..940 => self.reopen_tasks(stage, batch).await,
            940..955 => self.reopen_job().await,
            955..960 => self.open_partially_reopened().await,
            960..967 => self.mark_lost_batches_unsent().await,
            967..972 => self.take_dead_attempts().await,
            972..977 => self.mark_dead_planners_unsent().await,
            977..985 => self.drift_and_repair(stage).await,
            985..988 => self.fail_unplanned_job(stage).await,
            988..991 => self.stage_redelivered(stage).await,
            991..1018 => self.take_deferred().await,
            1018..1028 => self.stage_redelivered(stage).await,
            _ => self.what_is_found(stage, batch).await,
        }
    }

    /// The rows of both as text, the model's first.
    pub(crate) async fn rows(&mut self) -> (String, String) {
        (
            rows_of_the_model(&self.model, &self.rules),
            self.real.rows(&self.planners, &self.rules).await,
        )
    }

    async fn insert_job(&mut self) -> Answers {
        let is_new = self.model.job.is_none();
        self.model.insert_job();
        let job = NewJob {
            job_id: &self.real.job_id,
            job_type: "model",
            total_stages: Stage::try_from(self.rules.stages).unwrap(),
            parameters: "{}",
            path: ProcessingPath::QueueStorage,
            deadline_seconds: LONG,
            trace: None,
        };
        let inserted = self.real.database.insert_job(job, LONG).await.unwrap();
        ("insert_job", is_new.to_string(), inserted.to_string())
    }

    async fn job_message_sent(&mut self, stage: u8) -> Answers {
        self.model.job_message_sent(stage);
        self.real.database.job_message_sent(&self.real.key(stage)).await.unwrap();
        ("job_message_sent", String::new(), String::new())
    }

    async fn lease_stage(&mut self, stage: u8) -> Answers {
        let owner = Uuid::new_v4();
        let name = self.planners.len() as PlannerId;
        let sees_running = self.model.is_open() && self.model.job.is_some_and(|job| !job.paused);
        let model = self.model.lease_stage(stage, name, sees_running);
        let key = self.real.key(stage);
        let real = self.real.database.lease_stage(&key, owner, LONG).await.unwrap();
        if let Some(cursor) = model {
            self.planners.push((Planner { stage, cursor }, owner));
        }
        assert!(real.is_none_or(|leased| !leased.is_littered), "nobody deletes a job by hand");
        let real = real.map(|leased| leased.cursor);
        ("lease_stage", format!("{model:?}"), format!("{real:?}"))
    }

    /// An open task, most of the time.
    fn task(&mut self, stage: u8) -> u8 {
        let rows = self.model.stage(stage);
        let open: Vec<u8> = rows
            .into_iter()
            .flat_map(|row| row.tasks())
            .filter(|(_, row)| !row.status.is_terminal())
            .map(|(task, _)| task)
            .collect();
        match self.random.choice(&open) {
            Some(task) if self.random.u8(..4) > 0 => *task,
            _ => self.random.u8(..self.rules.tasks(stage).max(1)),
        }
    }

    /// Any planner, most of the time the last one.
    fn planner(&mut self) -> Option<PlannerId> {
        let last = self.planners.len().checked_sub(1)?;
        let any = self.random.usize(..=last);
        Some(if self.random.u8(..8) > 0 { last } else { any } as PlannerId)
    }

    /// `write_chunk`, or `finish_plan` if the plan has no more tasks.
    async fn go_on_planning(&mut self) -> Answers {
        let Some(name) = self.planner() else {
            return nothing();
        };
        let (Planner { stage, cursor }, owner) = self.planners[usize::from(name)];
        let length = self.rules.batch.min(self.rules.tasks(stage).saturating_sub(cursor));
        if length == 0 {
            let model = self.model.finish_plan(stage, name);
            let key = self.real.key(stage);
            let real = self.real.database.finish_plan(&key, owner).await.unwrap();
            return ("finish_plan", format!("{model:?}"), format!("{real:?}"));
        }
        let sees_open = self.model.is_open();
        let model = self.model.write_chunk(&self.rules, stage, name, cursor, sees_open);
        let plan = StagePlan {
            key: self.real.key(stage),
            job_type: "model",
            task_type: "model",
            tasks_per_message: TasksPerMessage::try_from(u64::from(self.rules.batch)).unwrap(),
            owner,
            lease_seconds: LONG,
        };
        let tasks = (cursor..cursor + length).map(|task| NewTask {
            task_id: self.real.task_id(stage, task),
            task_index: format!("t-{task}"),
            parent_task_id: None,
            parameters: "{}".to_owned(),
        });
        let written =
            self.real.database.write_chunk(&plan, u64::from(cursor), tasks.collect()).await;
        let real = match written.unwrap() {
            ChunkWritten::Stored(_) => Some(length),
            ChunkWritten::LeaseLost => None,
            collision => panic!("{collision:?}"),
        };
        if let Some(length) = model {
            self.planners[usize::from(name)].0.cursor += length;
        }
        ("write_chunk", format!("{model:?}"), format!("{real:?}"))
    }

    async fn release_stage(&mut self) -> Answers {
        let Some(name) = self.planner() else {
            return nothing();
        };
        let (Planner { stage, .. }, owner) = self.planners[usize::from(name)];
        self.model.release_stage(stage, name);
        let key = self.real.key(stage);
        self.real.database.release_stage(&key, owner).await.unwrap();
        ("release_stage", String::new(), String::new())
    }

    async fn stop_plan(&mut self) -> Answers {
        let Some(name) = self.planner() else {
            return nothing();
        };
        let (Planner { stage, .. }, owner) = self.planners[usize::from(name)];
        let model = self.model.stop_plan(stage, name);
        let key = self.real.key(stage);
        let real = self.real.database.stop_plan(&key, owner, LONG).await.unwrap();
        ("stop_plan", model.to_string(), real.is_some().to_string())
    }

    async fn fail_plan(&mut self) -> Answers {
        let Some(name) = self.planner() else {
            return nothing();
        };
        let (Planner { stage, .. }, owner) = self.planners[usize::from(name)];
        let model = self.model.fail_plan(&self.rules, stage, name);
        let key = self.real.key(stage);
        let real = self.real.database.fail_plan(&key, owner, "no plan").await.unwrap();
        ("fail_plan", model.to_string(), real.to_string())
    }

    async fn claim(&mut self, stage: u8, task: u8) -> Answers {
        let sees_open = self.model.is_open();
        let model = self.model.claim_task(&self.rules, stage, task, sees_open);
        let real = match self.real.claims.claim(self.real.request(stage, task)).await.unwrap() {
            Claim::Claimed(claimed) => Some(claimed.attempt),
            _ => None,
        };
        ("claim_tasks", format!("{model:?}"), format!("{real:?}"))
    }

    async fn defer(&mut self, stage: u8, task: u8) -> Answers {
        let model = self.model.defer_task(&self.rules, stage, task);
        let request = self.real.request(stage, task);
        let real = self.real.deferrals.defer(request).await.unwrap() == Deferral::Deferred;
        ("defer_tasks", model.to_string(), real.to_string())
    }

    async fn take_deferred(&mut self) -> Answers {
        let mut model = BTreeSet::new();
        for stage in 0..self.rules.stages {
            for task in 0..self.rules.tasks(stage) {
                if self.model.take_deferred(stage, task) {
                    model.insert(self.real.task_id(stage, task).as_str().to_owned());
                }
            }
        }
        let due = self.real.database.take_deferred(LONG, 100, 0.0).await.unwrap();
        let real: BTreeSet<String> =
            due.iter().map(|due| due.task.task_id.as_str().to_owned()).collect();
        ("take_deferred", format!("{model:?}"), format!("{real:?}"))
    }

    async fn complete(&mut self, stage: u8, task: u8) -> Answers {
        let holder =
            self.model.stage(stage).and_then(|row| row.task(task)).map_or(1, |row| row.attempt);
        let attempt = match self.random.u8(..8) {
            0 => self.random.u8(1..4),
            _ => holder.max(1),
        };
        let outcome = *self
            .random
            .choice(&[Outcome::Completed, Outcome::Completed, Outcome::Failed, Outcome::Retry])
            .unwrap();
        let sees_open = self.model.is_open();
        let recorded =
            self.model.complete_task(&self.rules, stage, task, attempt, outcome, sees_open);
        let completion = Completion {
            task: RunningTask {
                job_id: self.real.job_id,
                stage: self.real.key(stage).stage,
                task_id: self.real.task_id(stage, task),
                attempt: i16::from(attempt),
            },
            outcome: match outcome {
                Outcome::Completed => {
                    TaskOutcome::Completed(RawValue::from_string("{}".to_owned()).unwrap())
                }
                Outcome::Failed => TaskOutcome::Failed("it failed".to_owned()),
                Outcome::Retry => TaskOutcome::Retry {
                    reason: "it stumbled".to_owned(),
                    pause: Duration::from_secs(60),
                },
            },
        };
        let real = self.real.completions.complete(Arc::new(completion)).await.unwrap();
        (
            "complete_tasks",
            format!("{} {}", recorded.written, recorded.stage_ended),
            format!("{} {}", real.written, real.stage_ended),
        )
    }

    async fn fail_task(&mut self, stage: u8, task: u8) -> Answers {
        let model = self.model.fail_task(stage, task);
        let key = self.real.key(stage);
        let stands =
            self.real.database.dead_lettered_tasks(&key, &[self.real.task_id(stage, task)]).await;
        let stands = stands.unwrap().map(|stands| stands.tasks).unwrap_or_default();
        let stands: Vec<_> = stands.iter().collect();
        let failed = self.real.database.fail_tasks(&key, &stands, "given up").await.unwrap();
        ("fail_tasks", u64::from(model).to_string(), failed.failed.to_string())
    }

    async fn fail_unplanned_job(&mut self, stage: u8) -> Answers {
        let model = self.model.fail_unplanned_job(stage);
        let key = self.real.key(stage);
        let real = self.real.database.fail_unplanned_job(&key, "given up").await.unwrap();
        ("fail_unplanned_job", model.to_string(), real.to_string())
    }

    /// The model does not count redeliveries of a message: it only marks the message as unsent
    /// again.
    async fn stage_redelivered(&mut self, stage: u8) -> Answers {
        let model = self.model.owe_dead_planner(stage);
        let key = self.real.key(stage);
        let database = &self.real.database;
        let Some(stands) = database.dead_lettered_stage(&key).await.unwrap() else {
            return ("stage_redelivered", model.to_string(), false.to_string());
        };
        let at = time::OffsetDateTime::now_utc();
        let real = database.stage_redelivered(&key, stands.redelivered, at, LONG).await.unwrap();
        ("stage_redelivered", model.to_string(), real.is_some().to_string())
    }

    async fn batch_update_status(&mut self, stage: u8, batch: u8) -> Answers {
        self.model.batch_update_status(&self.rules, stage, batch);
        let key = BatchKey::new(&self.real.key(stage), i32::from(batch));
        self.real.database.batch_update_status(&[key], 1).await.unwrap();
        ("batch_update_status", String::new(), String::new())
    }

    async fn ended_stage(&mut self, stage: u8) -> Answers {
        let model = self.model.ended_stage(&self.rules, stage);
        let key = self.real.key(stage);
        let real = self.real.database.ended_stage(&key).await.unwrap();
        let words = (
            "ended_stage",
            format!("{:?}", model.map(|read| (read.failed, read.skipped))),
            format!("{:?}", real.as_ref().map(|read| (read.failed, read.skipped))),
        );
        self.advancers.extend(model.zip(real));
        words
    }

    /// By an actor that read an ended stage at any time before.
    async fn go_on(&mut self) -> Answers {
        let Some(last) = self.advancers.len().checked_sub(1) else {
            return nothing();
        };
        let place = if self.random.bool() { last } else { self.random.usize(..=last) };
        let (read, ended) = self.advancers[place].clone();
        let before = self.model.job;
        let model = self.model.go_on(&self.rules, read);
        let went_on = self.model.job != before;
        let key = self.real.key(read.stage);
        let tolerates = self.rules.tolerates(read.failed);
        let is_last = read.stage + 1 == self.rules.stages;
        let database = &self.real.database;
        if tolerates && !is_last {
            let real = database.next_stage(&key, &ended, "{}", LONG).await.unwrap();
            let model = match (model, went_on) {
                (Some(_), _) => NextStage::Unsent,
                (None, true) => NextStage::Paused,
                (None, false) => NextStage::NotOurs,
            };
            return ("next_stage", format!("{model:?}"), format!("{real:?}"));
        }
        let status = if tolerates { JobStatus::Completed } else { JobStatus::Failed };
        let real = database.end_job(&key, &ended, status, "{}", None, None).await.unwrap();
        ("end_job", went_on.to_string(), real.to_string())
    }

    async fn end_early(&mut self) -> Answers {
        let status = *self.random.choice(&[JobStatus::Failed, JobStatus::Cancelled]).unwrap();
        let model = self.model.end_early(status);
        let real = self.real.database.end_early(&self.real.job_id, status, "over").await.unwrap();
        ("end_early", model.to_string(), real.to_string())
    }

    /// One task at a time, the first that exists.
    async fn skip_open_tasks(&mut self, stage: u8) -> Answers {
        let first = (0..self.rules.tasks(stage))
            .find(|task| self.model.skip_open_task(&self.rules, stage, *task));
        let key = self.real.key(stage);
        let real = self.real.database.skip_open_tasks(&key, "", 1).await.unwrap();
        let first = first.map(|task| self.real.task_id(stage, task).as_str().to_owned());
        ("skip_open_tasks", format!("{first:?}"), format!("{:?}", real.last))
    }

    async fn close_stage(&mut self, stage: u8) -> Answers {
        let model = self.model.close_stage(&self.rules, stage);
        let real = self.real.database.close_stage(&self.real.key(stage)).await.unwrap();
        ("close_stage", model.to_string(), real.to_string())
    }

    async fn request_pause(&mut self) -> Answers {
        self.model.request_pause();
        self.real.database.request_pause(&self.real.job_id).await.unwrap();
        ("request_pause", String::new(), String::new())
    }

    async fn resume_job(&mut self) -> Answers {
        self.model.resume_job();
        self.real.database.resume_job(&self.real.job_id).await.unwrap();
        ("resume_job", String::new(), String::new())
    }

    async fn reopen_tasks(&mut self, stage: u8, batch: u8) -> Answers {
        let model = self.model.reopen_tasks_of(&self.rules, stage, batch);
        let key = self.real.key(stage);
        let real = self.real.database.reopen_tasks(&key, i32::from(batch) - 1, 1).await.unwrap();
        ("reopen_tasks", model.to_string(), real.tasks.to_string())
    }

    async fn reopen_job(&mut self) -> Answers {
        let stage = self.model.job.map_or(0, |job| job.stage);
        let model = self.model.reopen_job(&self.rules);
        let model = self.model.job.filter(|_| model).map(|job| job.status);
        let key = self.real.key(stage);
        let real = self.real.database.reopen_job(&key, "{}", LONG).await.unwrap();
        ("reopen_job", format!("{model:?}"), format!("{real:?}"))
    }

    async fn open_partially_reopened(&mut self) -> Answers {
        let stages = 0..self.rules.stages;
        let model = stages.filter(|stage| self.model.open_partially_reopened(*stage)).count();
        let real = self.real.database.open_partially_reopened(LONG, 10).await.unwrap();
        ("open_partially_reopened", model.to_string(), real.to_string())
    }

    async fn mark_lost_batches_unsent(&mut self) -> Answers {
        let mut model = 0;
        for stage in 0..self.rules.stages {
            for batch in 0..TASKS as u8 {
                model += u64::from(self.model.owe_lost_batch(&self.rules, stage, batch));
            }
        }
        let real = self.real.database.mark_lost_batches_unsent(300.0, 100).await.unwrap();
        ("owe_lost_batches", model.to_string(), real.to_string())
    }

    async fn take_dead_attempts(&mut self) -> Answers {
        let mut model = BTreeSet::new();
        for stage in 0..self.rules.stages {
            for task in 0..self.rules.tasks(stage) {
                if self.model.take_dead_attempt(stage, task) {
                    model.insert(self.real.task_id(stage, task).as_str().to_owned());
                }
            }
        }
        let dead = self.real.database.take_dead_attempts(LONG, 100).await.unwrap();
        let real: BTreeSet<String> =
            dead.iter().map(|dead| dead.task.task_id.as_str().to_owned()).collect();
        ("take_dead_attempts", format!("{model:?}"), format!("{real:?}"))
    }

    async fn mark_dead_planners_unsent(&mut self) -> Answers {
        let stages = 0..self.rules.stages;
        let model = stages.filter(|stage| self.model.owe_dead_planner(*stage)).count();
        let real = self.real.database.mark_dead_planners_unsent(300.0).await.unwrap();
        ("owe_dead_planners", model.to_string(), real.to_string())
    }

    async fn drift_and_repair(&mut self, stage: u8) -> Answers {
        if self.model.stage(stage).is_some_and(|row| row.planned) && self.model.drift(stage) {
            self.real
                .execute(
                    "UPDATE stages SET completed = completed - 1 WHERE job_id = $1 AND stage = $2",
                    stage,
                )
                .await;
        }
        let model = self.model.repair_counters(stage);
        let real = self.real.database.repair_counters(&self.real.key(stage)).await.unwrap();
        ("repair_counters", model.to_string(), real.is_some().to_string())
    }

    /// The findings of a sweep, and the tasks of a batch that need a message.
    async fn what_is_found(&mut self, stage: u8, batch: u8) -> Answers {
        let model = &self.model;
        let numbers = || 0..self.rules.stages;
        let of_the_model = (
            numbers()
                .filter(|stage| model.is_open() && model.ended_stage(&self.rules, *stage).is_some())
                .collect::<BTreeSet<u8>>(),
            numbers()
                .filter(|stage| {
                    model.is_finished() && model.stage(*stage).is_some_and(|row| !row.advanced)
                })
                .collect::<BTreeSet<u8>>(),
            numbers()
                .filter(|stage| model.stage(*stage).is_some_and(|row| row.unsent))
                .collect::<BTreeSet<u8>>(),
            numbers()
                .flat_map(|stage| (0..TASKS as u8).map(move |batch| (stage, batch)))
                .filter(|(stage, batch)| model.is_pending_retry_batch(*stage, *batch))
                .collect::<BTreeSet<(u8, u8)>>(),
            model.tasks_of_batch(&self.rules, stage, batch).collect::<Vec<u8>>(),
        );
        let number = |key: &StageKey| key.stage.get() - 1;
        let database = &self.real.database;
        let key = BatchKey::new(&self.real.key(stage), i32::from(batch));
        let tasks = database.get_tasks_by_batch(&key).await.unwrap();
        let of_the_real = (
            database
                .stages_to_advance(10)
                .await
                .unwrap()
                .iter()
                .map(number)
                .collect::<BTreeSet<u8>>(),
            database
                .stages_to_close(10)
                .await
                .unwrap()
                .iter()
                .map(number)
                .collect::<BTreeSet<u8>>(),
            database
                .due_job_messages(LONG, 10)
                .await
                .unwrap()
                .iter()
                .map(|unsent| number(&unsent.key))
                .collect::<BTreeSet<u8>>(),
            database
                .get_pending_retry_batches(LONG, 100)
                .await
                .unwrap()
                .iter()
                .map(|unsent| (unsent.key.stage.get() - 1, unsent.key.batch_no as u8))
                .collect::<BTreeSet<(u8, u8)>>(),
            tasks
                .iter()
                .map(|task| task.task_index.trim_start_matches("t-").parse().unwrap())
                .collect::<Vec<u8>>(),
        );
        ("what a sweep finds", format!("{of_the_model:?}"), format!("{of_the_real:?}"))
    }
}

fn nothing() -> Answers {
    ("nothing", String::new(), String::new())
}

/// All rows as text, with the columns that the model has.
fn rows_of_the_model(database: &state::Database, rules: &Rules) -> String {
    let mut words = Vec::new();
    if let Some(job) = database.job {
        words.push(format!(
            "job {} stage {} pause {} {}",
            job.status,
            job.stage + 1,
            job.pause_requested,
            job.paused
        ));
    }
    for (number, stage) in database.stages() {
        words.push(format!(
            "stage {}: {} {} {} {} cursor {} lease {:?} planned {} advanced {} owed {}",
            number + 1,
            stage.total,
            stage.completed,
            stage.failed,
            stage.skipped,
            stage.plan_cursor,
            stage.lease_owner,
            stage.planned,
            stage.advanced,
            stage.unsent
        ));
        for (task, row) in stage.tasks() {
            words.push(format!(
                "task {}/{task}: {} attempt {} forgiven {} deferred {}",
                number + 1,
                row.status,
                row.attempt,
                row.forgiven,
                row.deferred
            ));
        }
        for batch in (0..).take_while(|batch| !rules.tasks_of(number, *batch).is_empty()) {
            if let Some(row) = database.batch(number, batch) {
                let status = match row {
                    Batch::Unsent => "pending_queue",
                    Batch::Sent => "queued",
                };
                words.push(format!("batch {}/{batch}: {status}", number + 1));
            }
        }
    }
    words.join("\n")
}

impl Real {
    async fn new(seed: u64) -> Self {
        let server =
            std::env::var("LASTLIGHT_TEST_DATABASE_URL").expect("run the tests with scripts/test");
        let mut connection = PgConnection::connect(&server).await.unwrap();
        let name = format!("m{}", Uuid::new_v4().simple());
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let database = Database::new(&lastlight::config::DatabaseSettings {
            connect: PgConnectOptions::from_str(&url).unwrap(),
            schema: "app".to_owned(),
            connections: 2,
            acquire_timeout: Duration::from_secs(5),
        });
        database.migrate().await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute("SET search_path = app").await.unwrap();
        let serde_json::Value::Object(parameters) = json!({ "seed": seed }) else { unreachable!() };
        Self {
            claims: TaskClaims::start(database.clone(), LONG),
            completions: TaskCompletions::start(database.clone(), LONG),
            deferrals: TaskDeferrals::start(database.clone()),
            database,
            connection,
            job_id: JobId::derive("model", &parameters),
        }
    }

    fn key(&self, stage: u8) -> StageKey {
        StageKey { job_id: self.job_id, stage: Stage::try_from(stage + 1).unwrap() }
    }

    fn task_id(&self, stage: u8, task: u8) -> TaskId {
        let index = TaskIndex::try_from(format!("t-{task}").as_str()).unwrap();
        TaskId::derive(&self.job_id, self.key(stage).stage, &index)
    }

    fn request(&self, stage: u8, task: u8) -> ClaimRequest {
        ClaimRequest {
            job_id: self.job_id,
            stage: self.key(stage).stage,
            task_id: self.task_id(stage, task),
        }
    }

    async fn execute(&mut self, statement: &'static str, stage: u8) {
        sqlx::query(statement)
            .bind(self.job_id.as_str())
            .bind(i16::from(stage) + 1)
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    /// Makes everything due that waits for a time.
    async fn time_passes(&mut self) {
        for statement in [
            "UPDATE tasks SET lease_until = lease_until - interval '1 day', due_at = due_at - interval '1 day',
                              next_send_at = next_send_at - interval '1 day'",
            "UPDATE stages SET lease_until = lease_until - interval '1 day', updated_at = updated_at - interval '1 day'",
            "UPDATE task_batches SET next_send_at = next_send_at - interval '1 day', sent_at = sent_at - interval '1 day'",
            "UPDATE outbox SET next_send_at = next_send_at - interval '1 day'",
        ] {
            self.connection.execute(statement).await.unwrap();
        }
    }

    async fn rows(&mut self, planners: &[(Planner, Uuid)], rules: &Rules) -> String {
        let mut words = Vec::new();
        let jobs = self
            .connection
            .fetch_all(
                "SELECT status::text, stage, pause_requested, paused_at IS NOT NULL AS paused FROM jobs",
            )
            .await
            .unwrap();
        for row in jobs {
            let (status, stage): (String, i16) = (row.get("status"), row.get("stage"));
            let (requested, paused): (bool, bool) = (row.get("pause_requested"), row.get("paused"));
            words.push(format!("job {status} stage {stage} pause {requested} {paused}"));
        }
        let stages = self
            .connection
            .fetch_all(
                "SELECT s.stage, total, completed, failed, skipped, plan_cursor, lease_owner,
                        planned_at IS NOT NULL AS planned, advanced_at IS NOT NULL AS advanced,
                        EXISTS (SELECT FROM outbox o WHERE o.job_id = s.job_id AND o.stage = s.stage) AS owed
                 FROM stages s ORDER BY s.stage",
            )
            .await
            .unwrap();
        for row in stages {
            let number: i16 = row.get("stage");
            let [total, completed, failed, skipped, cursor] =
                ["total", "completed", "failed", "skipped", "plan_cursor"]
                    .map(|column| row.get::<i64, _>(column));
            let owner: Option<Uuid> = row.get("lease_owner");
            let owner =
                owner.map(|owner| planners.iter().position(|(_, uuid)| *uuid == owner).unwrap());
            let [planned, advanced, unsent] =
                ["planned", "advanced", "owed"].map(|column| row.get::<bool, _>(column));
            words.push(format!(
                "stage {number}: {total} {completed} {failed} {skipped} cursor {cursor} lease {owner:?} planned {planned} \
                 advanced {advanced} owed {unsent}"
            ));
            words.extend(self.tasks_and_batches(number, rules).await);
        }
        words.join("\n")
    }

    async fn tasks_and_batches(&mut self, number: i16, rules: &Rules) -> Vec<String> {
        let tasks = sqlx::query(
            "SELECT ordinal, status::text, attempt, COALESCE(attempts_forgiven, 0::smallint) AS forgiven,
                    next_send_at IS NOT NULL AS deferred
             FROM tasks WHERE stage = $1 ORDER BY ordinal",
        )
        .bind(number)
        .fetch_all(&mut self.connection)
        .await
        .unwrap();
        let batches = sqlx::query(
            "SELECT batch_no, status::text, cardinality(task_ids) AS tasks FROM task_batches WHERE stage = $1
             ORDER BY batch_no",
        )
        .bind(number)
        .fetch_all(&mut self.connection)
        .await
        .unwrap();
        let tasks = tasks.iter().map(|row| {
            let (ordinal, status): (i32, String) = (row.get("ordinal"), row.get("status"));
            let (attempt, forgiven): (i16, i16) = (row.get("attempt"), row.get("forgiven"));
            assert!(TaskStatus::from_name(&status).is_some());
            let deferred: bool = row.get("deferred");
            format!(
                "task {number}/{ordinal}: {status} attempt {attempt} forgiven {forgiven} deferred {deferred}"
            )
        });
        let batches = batches.iter().map(|row| {
            let (batch, status): (i32, String) = (row.get("batch_no"), row.get("status"));
            let expected = rules.tasks_of(number as u8 - 1, batch as u8).len();
            assert_eq!(
                row.get::<i32, _>("tasks") as usize,
                expected,
                "batch {batch} has other tasks"
            );
            format!("batch {number}/{batch}: {status}")
        });
        tasks.chain(batches).collect()
    }
}
