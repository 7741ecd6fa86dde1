//! The model's transactions against the real ones: the same random calls on both, the same results,
//! and the same rows after each call. So the model searches what PostgreSQL does; a statement that
//! is changed in one of them fails the test.
//!
//! Calls are random, and many of them are refused. The clock is set before each call, so that
//! everything that waits for a time is due.

mod control;
mod graphs;
mod rows;
mod statements;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use lastlight_engine::{
    config::DatabaseSettings,
    model::{
        JobId, JobStatus, Labels, ProcessingPath, Stage, TaskId, TaskIndex, TasksPerMessage,
        WorkerHandler,
    },
    store::{
        BatchClaim, BatchKey, ChunkWritten, Claim, ClaimRequest, Completion, Database, Deferral,
        EndedStage, NewJob, NewTask, NextStage, RunningTask, StageKey, StagePlan, TaskClaims,
        TaskCompletions, TaskDeferrals, TaskOutcome, WorkerClaim,
    },
};
use lastlight_testing::{
    database::{connection, database_settings, new_database_url},
    waiting::time_passes,
};
use serde_json::{json, value::RawValue};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    state::{self, Advancer, Planner, PlannerId, STAGES, TASKS, Task},
    transactions::{Outcome, Rules},
};
use graphs::stages_of;
use rows::rows_of_the_model;
pub(crate) use statements::unknown_statements;

/// The name of a call, and the results of the model and of PostgreSQL.
type Answers = (&'static str, String, String);

/// Longer than every lease, pause and grace period, in seconds.
const LONG: f64 = 3600.0;

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);

/// The real database.
struct Real {
    database: Database,
    claims: TaskClaims,
    completions: TaskCompletions,
    deferrals: TaskDeferrals,
    handler: WorkerHandler,
    handler_id: i32,
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
        // Any stage of a graph may be under way.
        let stage = match self.random.u8(..5) {
            1.. if self.rules.graph.is_none() => current,
            _ => self.random.u8(..self.rules.stages),
        };
        let task = self.task(stage);
        let batch = self.rules.batch_of(task);
        if self.rules.graph.is_some() && self.model.is_finished() && self.random.u8(..3) == 0 {
            return self.go_on_with_retry().await;
        }
        match self.random.u16(..1076) {
            0..20 => self.insert_job().await,
            20..40 => self.job_message_sent(stage).await,
            40..110 => self.lease_stage(stage).await,
            110..296 => self.go_on_planning().await,
            296..302 => self.release_stage().await,
            302..305 => self.stop_plan().await,
            305..315 => self.fail_plan().await,
            315..390 if self.rules.is_worked(stage) => self.claim_ready().await,
            390..440 if self.rules.is_worked(stage) => self.claim_batches().await,
            440..447 if self.rules.is_worked(stage) => self.end_claims().await,
            447..480 if self.rules.is_worked(stage) => self.own_claimed().await,
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
            1018..1024 => self.stage_redelivered(stage).await,
            1024..1034 if self.rules.workers > 0 && self.random.bool() => {
                self.release_claim(stage, task).await
            }
            1024..1034 => self.decide_gate(stage).await,
            1034..1042 => self.finalize_job().await,
            1042..1045 => self.resubmit().await,
            1045..1050 => self.retry_task(stage, task).await,
            1050..1055 => self.skip_task(stage, task).await,
            1055..1063 => self.open_partially_reopened().await,
            1063..1073 => self.mark_lost_batches_unsent().await,
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
        self.model.insert_job(&self.rules);
        let stages = self.rules.graph.map(|graph| stages_of(&self.rules, &graph));
        let job = NewJob { graph: stages.as_deref(), ..self.real.job(&self.rules) };
        let inserted = self.real.database.jobs().insert(job, LONG).await.unwrap();
        ("insert_job", is_new.to_string(), inserted.to_string())
    }

    async fn job_message_sent(&mut self, stage: u8) -> Answers {
        self.model.job_message_sent(stage);
        self.real.database.outbox().job_message_sent(&self.real.key(stage)).await.unwrap();
        ("job_message_sent", String::new(), String::new())
    }

    async fn lease_stage(&mut self, stage: u8) -> Answers {
        let owner = Uuid::new_v4();
        let name = self.planners.len() as PlannerId;
        let sees_running = self.model.is_open() && self.model.job.is_some_and(|job| !job.paused);
        let model = self.model.lease_stage(&self.rules, stage, name, sees_running);
        let key = self.real.key(stage);
        let real = self.real.database.stages().lease(&key, owner, LONG).await.unwrap();
        if let Some(cursor) = model {
            self.planners.push((Planner { stage, cursor }, owner));
        }
        assert!(
            real.as_ref().is_none_or(|leased| !leased.is_littered),
            "nobody deletes a job by hand"
        );
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
            let real = self.real.database.stages().finish_plan(&key, owner).await.unwrap();
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
            handler_id: self.rules.is_worked(stage).then_some(self.real.handler_id),
        };
        let tasks = (cursor..cursor + length).map(|task| NewTask {
            task_id: self.real.task_id(stage, task),
            task_index: format!("t-{task}"),
            parent_task_id: None,
            parent_stage: None,
            parameters: "{}".to_owned(),
        });
        let written = self
            .real
            .database
            .stages()
            .write_chunk(&plan, u64::from(cursor), tasks.collect())
            .await;
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
        self.real.database.stages().release(&key, owner).await.unwrap();
        ("release_stage", String::new(), String::new())
    }

    async fn stop_plan(&mut self) -> Answers {
        let Some(name) = self.planner() else {
            return nothing();
        };
        let (Planner { stage, .. }, owner) = self.planners[usize::from(name)];
        let model = self.model.stop_plan(stage, name);
        let key = self.real.key(stage);
        let real = self.real.database.stages().stop_plan(&key, owner, LONG).await.unwrap();
        ("stop_plan", model.to_string(), real.is_some().to_string())
    }

    async fn fail_plan(&mut self) -> Answers {
        let Some(name) = self.planner() else {
            return nothing();
        };
        let (Planner { stage, .. }, owner) = self.planners[usize::from(name)];
        if self.rules.graph.is_some() {
            return self.fail_stage_plan(stage, name, owner).await;
        }
        let key = self.real.key(stage);
        let model = self.model.fail_plan(&self.rules, stage, name);
        let real = self.real.database.jobs().fail_plan(&key, owner, "no plan").await.unwrap();
        ("fail_plan", model.to_string(), real.to_string())
    }

    async fn claim(&mut self, stage: u8, task: u8) -> Answers {
        let sees_open = self.model.is_open();
        // A message for a task of workers changes nothing.
        let by_messages = sees_open && !self.rules.is_worked(stage);
        let model = self.model.claim_task(&self.rules, stage, task, by_messages);
        let real = match self.real.claims.claim(self.real.request(stage, task)).await.unwrap() {
            Claim::Claimed(claimed) => Some(claimed.attempt),
            _ => None,
        };
        ("claim_tasks", format!("{model:?}"), format!("{real:?}"))
    }

    /// Which tasks a worker gets is decided by their age, which the model does not know.
    async fn claim_ready(&mut self) -> Answers {
        let limit = self.random.u8(1..3);
        let handlers = [&*self.real.handler.name];
        let request = WorkerClaim {
            queue: &self.real.handler.queue,
            handlers: &handlers,
            limit: limit.into(),
            worker_id: "model",
        };
        let claimed = self.real.database.workers().claim(request, LONG).await.unwrap();
        let sees_open = self.model.is_open();
        let (mut model, mut real) = (BTreeSet::new(), BTreeSet::new());
        for one in &claimed {
            let stage = one.task.stage.get() - 1;
            let index = (0..self.rules.tasks(stage))
                .find(|task| self.real.task_id(stage, *task) == one.task.task_id);
            let attempt = self.model.claim_task(&self.rules, stage, index.unwrap(), sees_open);
            model.insert(format!("{} {attempt:?}", one.task.task_id));
            real.insert(format!("{} {:?}", one.task.task_id, Some(one.task.attempt)));
        }
        // Tasks that no attempt had are ready with their batches.
        let before = self.model.attempts_before;
        let is_left = |task: &Task| task.ready && task.attempt > before;
        let left =
            self.model.stages().any(|(_, stage)| stage.tasks().any(|(_, task)| is_left(task)));
        let is_short = claimed.len() < usize::from(limit);
        (
            "claim_ready",
            format!("{model:?} {}", is_short && sees_open && left),
            format!("{real:?} false"),
        )
    }

    /// Claims of batches, each of which is one row or is written to its tasks.
    async fn claim_batches(&mut self) -> Answers {
        let limit = self.random.u8(1..4);
        let fewest = self.random.u8(1..4);
        let handlers = [&*self.real.handler.name];
        let request = WorkerClaim {
            queue: &self.real.handler.queue,
            handlers: &handlers,
            limit: limit.into(),
            worker_id: "model",
        };
        let batches = self.random.i64(1..3);
        let workers = self.real.database.workers();
        let sees_open = self.model.is_open();
        let mut claimed = Vec::new();
        // A claim may find only tasks that a user skipped: then the next one goes on behind them.
        for _ in 0..TASKS * STAGES {
            claimed = workers.claim_batches(request, batches, fewest.into(), LONG).await.unwrap();
            if !claimed.is_empty() {
                break;
            }
        }
        let (mut model, mut real) = (BTreeSet::new(), BTreeSet::new());
        for one in &claimed {
            let stage = one.task.stage.get() - 1;
            let index = (0..self.rules.tasks(stage))
                .find(|task| self.real.task_id(stage, *task) == one.task.task_id)
                .unwrap();
            let attempt = if one.claim.is_some() {
                self.model.claim_in_batch(&self.rules, stage, index, sees_open)
            } else {
                let fresh = self.model.stage(stage).and_then(|row| row.task(index));
                let before = self.model.attempts_before;
                let fresh = fresh.is_some_and(|row| row.attempt == before);
                self.model.claim_task(&self.rules, stage, index, sees_open && fresh)
            };
            model.insert(format!("{} {attempt:?}", one.task.task_id));
            real.insert(format!("{} {:?}", one.task.task_id, Some(one.task.attempt)));
        }
        let before = self.model.attempts_before;
        let is_left = |task: &Task| task.ready && task.attempt == before;
        let left =
            self.model.stages().any(|(_, stage)| stage.tasks().any(|(_, task)| is_left(task)));
        let is_none = claimed.is_empty();
        (
            "claim_batches",
            format!("{model:?} {}", is_none && sees_open && left),
            format!("{real:?} false"),
        )
    }

    /// Ends all claims of batches.
    async fn end_claims(&mut self) -> Answers {
        let mut model = 0;
        let runs = self.model.is_open();
        for stage in 0..self.rules.stages {
            for task in 0..self.rules.tasks(stage) {
                let ended = self.model.end_claim(&self.rules, stage, task);
                model += u64::from(ended && runs);
            }
        }
        let real = self.real.database.workers().take_dead_claims(100).await.unwrap();
        ("dead_claims", model.to_string(), real.tasks.to_string())
    }

    /// The first task that is in a claim of a batch, or one that is in none.
    async fn own_claimed(&mut self) -> Answers {
        let tasks = self.model.stages().flat_map(|(stage, row)| {
            row.tasks().filter(|(_, task)| task.claimed).map(move |(task, _)| (stage, task))
        });
        let (stage, task) = tasks.into_iter().next().unwrap_or_default();
        let model = self.model.own_claimed(stage, task);
        let first = i16::from(self.model.attempts_before) + 1;
        let claimed = self.real.claimed(stage, task, first).await;
        let real = match claimed {
            Some(claim) => {
                let ClaimRequest { job_id, stage, task_id } = self.real.request(stage, task);
                let running = RunningTask { job_id, stage, task_id, attempt: first };
                let held = self.real.database.workers().own(&[(running, claim)], LONG).await;
                held.unwrap() == [true]
            }
            None => false,
        };
        ("own_claimed", model.to_string(), real.to_string())
    }

    async fn release_claim(&mut self, stage: u8, task: u8) -> Answers {
        let holder = self.model.stage(stage).and_then(|row| row.task(task));
        let attempt = holder.map_or(1, |row| row.attempt);
        self.model.release_claim(&self.rules, stage, task, attempt);
        let ClaimRequest { job_id, stage, task_id } = self.real.request(stage, task);
        let running = RunningTask { job_id, stage, task_id, attempt: attempt.into() };
        self.real.database.tasks().release_claims(&[running], LONG).await.unwrap();
        ("release_claims", String::new(), String::new())
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
        let due = self.real.database.tasks().take_deferred(LONG, 100, 0.0).await.unwrap();
        let real: BTreeSet<String> =
            due.iter().map(|due| due.task.task_id.as_str().to_owned()).collect();
        ("take_deferred", format!("{model:?}"), format!("{real:?}"))
    }

    async fn complete(&mut self, stage: u8, task: u8) -> Answers {
        let holder =
            self.model.stage(stage).and_then(|row| row.task(task)).map_or(1, |row| row.attempt);
        let attempt = match self.random.u8(..8) {
            0 => self.random.u8(1..4),
            // The first attempt of a claim of a batch is not counted in its task.
            _ => holder.max(self.model.attempts_before + 1),
        };
        let outcome = *self
            .random
            .choice(&[Outcome::Completed, Outcome::Completed, Outcome::Failed, Outcome::Retry])
            .unwrap();
        let sees_open = self.model.is_open();
        let first = i16::from(self.model.attempts_before) + 1;
        let claim = self.real.claimed(stage, task, first).await;
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
            claim,
        };
        let real = self.real.completions.complete(Arc::new(completion)).await.unwrap();
        (
            "complete_tasks",
            format!("{} {}", recorded.written, recorded.stage_ended),
            format!("{} {}", real.written, real.stage_ended),
        )
    }

    async fn fail_task(&mut self, stage: u8, task: u8) -> Answers {
        let model = self.model.fail_task(&self.rules, stage, task);
        let key = self.real.key(stage);
        let stands =
            self.real.database.tasks().dead_lettered(&key, &[self.real.task_id(stage, task)]).await;
        let stands = stands.unwrap().map(|stands| stands.tasks).unwrap_or_default();
        let stands: Vec<_> = stands.iter().collect();
        let failed = self.real.database.tasks().fail(&key, &stands, "given up").await.unwrap();
        ("fail_tasks", u64::from(model).to_string(), failed.failed.to_string())
    }

    async fn fail_unplanned_job(&mut self, stage: u8) -> Answers {
        let model = self.model.fail_unplanned_job(&self.rules, stage);
        let key = self.real.key(stage);
        let real = self.real.database.jobs().fail_unplanned(&key, "given up").await.unwrap();
        ("fail_unplanned_job", model.to_string(), real.to_string())
    }

    /// The model does not count redeliveries of a message: it only marks the message as unsent
    /// again.
    async fn stage_redelivered(&mut self, stage: u8) -> Answers {
        let model = self.model.owe_dead_planner(&self.rules, stage);
        let key = self.real.key(stage);
        let database = &self.real.database;
        let Some(stands) = database.stages().dead_lettered(&key).await.unwrap() else {
            return ("stage_redelivered", model.to_string(), false.to_string());
        };
        let at = time::OffsetDateTime::now_utc();
        let real = database.stages().redelivered(&key, stands.redelivered, at, LONG).await.unwrap();
        ("stage_redelivered", model.to_string(), real.is_some().to_string())
    }

    async fn batch_update_status(&mut self, stage: u8, batch: u8) -> Answers {
        self.model.batch_update_status(&self.rules, stage, batch);
        let key = BatchKey::new(&self.real.key(stage), i32::from(batch));
        self.real.database.outbox().batch_update_status(&[key], 1).await.unwrap();
        ("batch_update_status", String::new(), String::new())
    }

    async fn ended_stage(&mut self, stage: u8) -> Answers {
        let model = self.model.ended_stage(&self.rules, stage);
        let key = self.real.key(stage);
        let real = self.real.database.stages().ended(&key).await.unwrap();
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
        if let Some(graph) = self.rules.graph {
            return self.end_in_graph(&graph, read, &ended).await;
        }
        let before = self.model.job;
        let model = self.model.go_on(&self.rules, read);
        let went_on = self.model.job != before;
        let key = self.real.key(read.stage);
        let tolerates = self.rules.tolerates(read.failed);
        let is_last = read.stage + 1 == self.rules.stages;
        let database = &self.real.database;
        if tolerates && !is_last {
            let real = database.stages().advance(&key, &ended, "{}", LONG).await.unwrap();
            let model = match (model, went_on) {
                (Some(_), _) => NextStage::Unsent,
                (None, true) => NextStage::Paused,
                (None, false) => NextStage::NotOurs,
            };
            return ("next_stage", format!("{model:?}"), format!("{real:?}"));
        }
        let status = if tolerates { JobStatus::Completed } else { JobStatus::Failed };
        let real = database.stages().end_job(&key, &ended, status, "{}", None, None).await.unwrap();
        ("end_job", went_on.to_string(), real.to_string())
    }

    async fn mark_lost_batches_unsent(&mut self) -> Answers {
        let mut model = 0;
        for stage in 0..self.rules.stages {
            for batch in 0..TASKS as u8 {
                model += u64::from(self.model.owe_lost_batch(&self.rules, stage, batch));
            }
        }
        let real = self.real.database.outbox().mark_lost_batches_unsent(300.0, 100).await.unwrap();
        ("owe_lost_batches", model.to_string(), real.to_string())
    }

    async fn take_dead_attempts(&mut self) -> Answers {
        let mut model = BTreeSet::new();
        for stage in 0..self.rules.stages {
            for task in 0..self.rules.tasks(stage) {
                if self.model.take_dead_attempt(&self.rules, stage, task) {
                    model.insert(self.real.task_id(stage, task).as_str().to_owned());
                }
            }
        }
        let dead = self.real.database.tasks().take_dead_attempts(LONG, 100).await.unwrap();
        let real: BTreeSet<String> =
            dead.iter().map(|dead| dead.task.task_id.as_str().to_owned()).collect();
        ("take_dead_attempts", format!("{model:?}"), format!("{real:?}"))
    }

    async fn mark_dead_planners_unsent(&mut self) -> Answers {
        let stages = 0..self.rules.stages;
        let model = stages.filter(|stage| self.model.owe_dead_planner(&self.rules, *stage)).count();
        let real = self.real.database.stages().mark_dead_planners_unsent(300.0).await.unwrap();
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
        let real =
            self.real.database.stages().repair_counters(&self.real.key(stage)).await.unwrap();
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
            self.rules.graph.is_some_and(|graph| model.is_to_be_finalized(&self.rules, &graph)),
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
        let tasks = database.outbox().get_tasks_by_batch(&key).await.unwrap();
        let of_the_real = (
            database
                .stages()
                .to_advance(10)
                .await
                .unwrap()
                .iter()
                .map(number)
                .collect::<BTreeSet<u8>>(),
            database
                .stages()
                .to_close(10)
                .await
                .unwrap()
                .iter()
                .map(|open| open.stage.get() - 1)
                .collect::<BTreeSet<u8>>(),
            database.stages().to_finalize(10).await.unwrap() == [self.real.job_id],
            database
                .outbox()
                .due_job_messages(LONG, 10)
                .await
                .unwrap()
                .iter()
                .map(|unsent| number(&unsent.key))
                .collect::<BTreeSet<u8>>(),
            database
                .outbox()
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

impl Real {
    async fn new(seed: u64) -> Self {
        let url = new_database_url().await;
        let database =
            Database::new(&DatabaseSettings { connections: 2, ..database_settings(&url) });
        database.migrate().await.unwrap();
        let handler = WorkerHandler { queue: "model".into(), name: "model".into() };
        let serde_json::Value::Object(parameters) = json!({ "seed": seed }) else { unreachable!() };
        Self {
            claims: TaskClaims::start(database.clone(), LONG),
            completions: TaskCompletions::start(database.clone(), LONG),
            deferrals: TaskDeferrals::start(database.clone()),
            handler_id: database.workers().handler_id(&handler).await.unwrap(),
            handler,
            database,
            connection: connection(&url).await,
            job_id: JobId::derive("model", &parameters),
        }
    }

    /// The job, as a line.
    fn job(&self, rules: &Rules) -> NewJob<'_> {
        NewJob {
            job_id: &self.job_id,
            job_type: "model",
            total_stages: Stage::try_from(rules.stages).unwrap(),
            parameters: "{}",
            path: ProcessingPath::QueueStorage,
            deadline_seconds: LONG,
            trace: None,
            labels: &NO_LABELS,
            terms: &[],
            graph: None,
            definition: None,
            notify: &[],
        }
    }

    async fn has_tasks(&self, job_id: JobId) -> bool {
        let audit = self.database.stages().audit(&job_id).await.unwrap();
        audit.iter().any(|stage| stage.recount.total > 0)
    }

    /// The claim of a batch that has a task, as whoever holds it sees it.
    async fn claimed(&self, stage: u8, task: u8, attempt: i16) -> Option<BatchClaim> {
        let ClaimRequest { job_id, stage, task_id } = self.request(stage, task);
        let first = RunningTask { job_id, stage, task_id, attempt };
        let standing = self.database.workers().standing(&[first], 0.0).await.unwrap();
        standing.into_iter().next()?.and_then(|standing| standing.claim())
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
        time_passes(&mut self.connection, Duration::from_secs(24 * 3600)).await;
    }
}
