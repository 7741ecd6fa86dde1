//! A job type for tests: its parameters determine the faults, and a ledger counts the runs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use lastlight_engine::{
    job::{
        Again, Backoff, Context, ContextError, FailurePolicy, Job, Plan, PlanContext, PlanError,
        Repeat, Stage, StageOptions, TaskContext, TaskError, TaskPolicy, erased::Catalog,
    },
    model::TasksPerMessage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::waiting::{LIMIT, until};

/// The number of runs of each task.
pub type Ledger = Arc<Mutex<HashMap<String, u32>>>;

/// What the tasks of a probe share with its test.
#[derive(Debug, Default, Clone)]
pub struct Probe {
    pub ledger: Ledger,
    /// Opens the gate at which tasks and plans wait on request.
    gate: CancellationToken,
}

impl Context for Probe {
    const NAME: &'static str = "probe";

    async fn start() -> Result<Self, ContextError> {
        Ok(Self::default())
    }
}

/// The job type `probe`: tasks, results and faults as its parameters say.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Parameters {
    /// Number of tasks of each stage, in order.
    stages: Vec<u64>,
    /// Number of tasks per message.
    tasks_per_message: TasksPerMessage,
    /// Two definitions have the same id.
    collides: bool,
    /// The plan fails after this number of definitions.
    plan_fails_after: Option<u64>,
    /// The plan waits at the gate before this definition.
    plan_waits_at: Option<u64>,
    /// Duration of each definition of the plan, milliseconds.
    plan_sleeps_ms: u64,
    /// Numbers of the tasks that fail, numbers of the tasks that panic, and the duration of each
    /// task in milliseconds.
    fails: Vec<u64>,
    panics: Vec<u64>,
    sleeps_ms: u64,
    /// Whether all tasks wait at the gate before they continue, and the number of one task that
    /// does.
    waits: bool,
    waits_at: Option<u64>,
    /// Numbers of the tasks with transient failures, and in how many first attempts.
    stumbles: Vec<u64>,
    stumbling_attempts: u32,
    /// The failures that the stages tolerate; `None`: no failure.
    tolerates: Option<u64>,
    tolerates_share: Option<f64>,
    /// The time limit of the job.
    time_limit_ms: Option<u64>,
    /// The usual duration of a task, for preflight.
    usual_ms: u64,
    /// Size of each result in bytes.
    result_bytes: usize,
    /// Size of each task's parameters in bytes, which the task counts.
    parameter_bytes: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            stages: vec![1],
            tasks_per_message: TasksPerMessage::ONE,
            collides: false,
            plan_fails_after: None,
            plan_waits_at: None,
            plan_sleeps_ms: 0,
            fails: Vec::new(),
            panics: Vec::new(),
            sleeps_ms: 0,
            waits: false,
            waits_at: None,
            stumbles: Vec::new(),
            stumbling_attempts: 0,
            tolerates: None,
            tolerates_share: None,
            time_limit_ms: None,
            usual_ms: 0,
            result_bytes: 0,
            parameter_bytes: 0,
        }
    }
}

/// The parameters of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Todo {
    key: String,
    fails: bool,
    panics: bool,
    sleeps_ms: u64,
    waits: bool,
    stumbles: u32,
    result_bytes: usize,
    parameter_bytes: usize,
    padding: String,
}

/// The result of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ran {
    before: Option<Box<Self>>,
    filler: String,
    ran: String,
}

/// The number of results.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    runs: u64,
}

impl Job for Parameters {
    const NAME: &'static str = "probe";
    type Last = Self;

    fn time_limit(&self) -> Option<Duration> {
        self.time_limit_ms.map(Duration::from_millis)
    }
}

impl Repeat for Parameters {
    fn rounds(job: &Self) -> usize {
        job.stages.len()
    }
}

impl Stage for Parameters {
    type Job = Self;
    type Previous = Again<Self>;
    type Task = Todo;
    type Output = Ran;
    type Summary = Runs;

    fn plan(context: PlanContext<Self>) -> Plan<Todo> {
        let probe = context.get::<Probe>();
        let PlanContext { job, round, .. } = context;
        let count = job.stages[round];
        let Self { plan_fails_after, plan_waits_at, plan_sleeps_ms, collides, .. } = job;
        let task = move |number| {
            if plan_fails_after == Some(number) {
                return Err(PlanError::new("the blob container went away"));
            }
            let index = if collides {
                format!("tile{}0", ["_", ".", "-"][number as usize % 3])
            } else {
                format!("t-{number}")
            };
            let stumbles = if job.stumbles.contains(&number) { job.stumbling_attempts } else { 0 };
            let todo = Todo {
                key: format!("{}/{number}", round + 1),
                fails: job.fails.contains(&number),
                panics: job.panics.contains(&number),
                sleeps_ms: job.sleeps_ms,
                waits: job.waits || job.waits_at == Some(number),
                stumbles,
                result_bytes: job.result_bytes,
                parameter_bytes: job.parameter_bytes,
                padding: "x".repeat(job.parameter_bytes),
            };
            Ok((index, todo))
        };
        Plan::after(async move {
            let probe = probe.await?;
            Ok(Plan::stream(move |from| {
                let number = move |number| {
                    let probe = Arc::clone(&probe);
                    async move {
                        if plan_waits_at == Some(number) {
                            probe.gate.cancelled().await;
                        }
                        tokio::time::sleep(Duration::from_millis(plan_sleeps_ms)).await;
                        number
                    }
                };
                stream::iter(from..count).then(number).map(task)
            }))
        })
    }

    async fn run(context: TaskContext<Self>, todo: Todo) -> Result<Ran, TaskError> {
        let probe: Arc<Probe> = context.get().await?;
        *probe.ledger.lock().unwrap().entry(todo.key.clone()).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(todo.sleeps_ms)).await;
        if todo.waits {
            probe.gate.cancelled().await;
        }
        assert_eq!(todo.padding.len(), todo.parameter_bytes);
        assert!(!todo.panics, "task {} was told to panic", todo.key);
        if todo.fails {
            return Err(TaskError::permanent(format!("task {} was told to fail\0", todo.key)));
        }
        let attempt = context.attempt();
        if attempt <= todo.stumbles {
            return Err(TaskError::transient(format!(
                "task {} stumbled in attempt {attempt}",
                todo.key
            )));
        }
        Ok(Ran {
            before: context.predecessor_if_completed()?.map(Box::new),
            filler: "x".repeat(todo.result_bytes),
            ran: todo.key,
        })
    }

    fn fold(summary: &mut Runs, _: Ran) {
        summary.runs += 1;
    }

    fn options(job: &Self, round: usize) -> StageOptions {
        let failures = match (job.tolerates, job.tolerates_share) {
            (Some(count), _) => FailurePolicy::TolerateCount(count),
            (None, Some(share)) => FailurePolicy::TolerateShare(share),
            (None, None) => FailurePolicy::FailJob,
        };
        StageOptions::default()
            .tasks_per_message(job.tasks_per_message)
            .tolerate(failures)
            .expected_tasks(job.stages[round])
            .usual_duration(Duration::from_millis(job.usual_ms))
    }

    fn policy() -> TaskPolicy {
        TaskPolicy {
            max_attempts: Some(3),
            backoff: Some(Backoff {
                first: Duration::from_millis(200),
                largest: Duration::from_millis(400),
            }),
            timeout: Some(LIMIT),
        }
    }
}

impl Probe {
    /// The catalog with the job type `probe`, whose tasks use this probe.
    pub fn add_to(self, catalog: Catalog) -> Catalog {
        catalog.contexts().provide(self);
        catalog.job::<Parameters>(None)
    }

    /// Returns once this number of runs have begun, over all tasks.
    pub async fn until_runs(&self, begun: u32) {
        until("enough runs have begun", async || {
            (self.runs().values().sum::<u32>() >= begun).then_some(())
        })
        .await;
    }

    /// Opens the gate for waiting tasks and for later ones.
    pub fn open_gate(&self) {
        self.gate.cancel();
    }

    pub fn runs(&self) -> HashMap<String, u32> {
        self.ledger.lock().unwrap().clone()
    }
}
