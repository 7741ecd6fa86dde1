//! A job type for tests: its parameters determine the faults, and a ledger counts the runs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use lastlight::{
    job::{
        Backoff, CountFold, FailurePolicy, Fields, Fold, JobType, Plan, PlanContext, PlanError,
        StageSpec, Task, TaskDefinition, TaskError, TaskPolicy, to_json,
    },
    model::{Stage, TaskIndex, TasksPerMessage},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio_util::sync::CancellationToken;

use crate::waiting::{LIMIT, until};

/// The number of runs of each task.
pub(crate) type Ledger = Arc<Mutex<HashMap<String, u32>>>;

#[derive(Debug, Default, Clone)]
pub(crate) struct Probe {
    pub ledger: Ledger,
    /// Opens the gate at which tasks and plans wait on request.
    gate: CancellationToken,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
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

#[async_trait::async_trait]
impl JobType for Probe {
    type Parameters = Parameters;

    fn name(&self) -> &'static str {
        "probe"
    }

    fn check(&self, _fields: &mut Fields) {}

    fn stages(&self, parameters: &Parameters) -> Vec<StageSpec> {
        parameters
            .stages
            .iter()
            .map(|tasks| {
                let failures = match (parameters.tolerates, parameters.tolerates_share) {
                    (Some(count), _) => FailurePolicy::TolerateCount(count),
                    (None, Some(share)) => FailurePolicy::TolerateShare(share),
                    (None, None) => FailurePolicy::FailJob,
                };
                StageSpec::new("probe")
                    .with_tasks_per_message(parameters.tasks_per_message)
                    .with_failure_policy(failures)
                    .with_expected_tasks(*tasks)
                    .with_usual_duration(Duration::from_millis(parameters.usual_ms))
            })
            .collect()
    }

    fn task_policy(&self, task_type: &str) -> TaskPolicy {
        assert_eq!(task_type, "probe");
        TaskPolicy {
            max_attempts: Some(3),
            backoff: Some(Backoff {
                first: Duration::from_millis(200),
                largest: Duration::from_millis(400),
            }),
            timeout: Some(LIMIT),
        }
    }

    fn time_limit(&self, parameters: &Parameters) -> Option<Duration> {
        parameters.time_limit_ms.map(Duration::from_millis)
    }

    fn plan(&self, parameters: Parameters, context: PlanContext) -> Plan {
        let count = parameters.stages[usize::from(context.stage.get()) - 1];
        let Parameters {
            fails,
            panics,
            sleeps_ms,
            waits,
            waits_at,
            stumbles,
            stumbling_attempts,
            result_bytes,
            parameter_bytes,
            plan_fails_after,
            plan_waits_at,
            plan_sleeps_ms,
            collides,
            ..
        } = parameters;
        let stage = context.stage;
        let gate = self.gate.clone();
        stream::iter(context.from..count)
            .then(move |number| {
                let gate = gate.clone();
                async move {
                    if plan_waits_at == Some(number) {
                        gate.cancelled().await;
                    }
                    tokio::time::sleep(Duration::from_millis(plan_sleeps_ms)).await;
                    number
                }
            })
            .map(move |number| {
                if plan_fails_after == Some(number) {
                    return Err(PlanError("the blob container went away".to_owned()));
                }
                let index = if collides {
                    format!("tile{}0", ["_", ".", "-"][number as usize % 3])
                } else {
                    format!("t-{number}")
                };
                Ok(TaskDefinition {
                    index: TaskIndex::try_from(index.as_str()).unwrap(),
                    parameters: to_json(&json!({
                        "key": format!("{stage}/{number}"),
                        "fails": fails.contains(&number),
                        "panics": panics.contains(&number),
                        "sleeps_ms": sleeps_ms,
                        "waits": waits || waits_at == Some(number),
                        "stumbles": if stumbles.contains(&number) { stumbling_attempts } else { 0 },
                        "result_bytes": result_bytes,
                        "padding": "x".repeat(parameter_bytes),
                        "parameter_bytes": parameter_bytes,
                    }))?,
                    predecessor: None,
                })
            })
            .boxed()
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        #[derive(Deserialize)]
        struct Todo {
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
        let todo: Todo = task.parameters()?;
        *self.ledger.lock().unwrap().entry(todo.key.clone()).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(todo.sleeps_ms)).await;
        if todo.waits {
            self.gate.cancelled().await;
        }
        assert_eq!(todo.padding.len(), todo.parameter_bytes);
        assert!(!todo.panics, "task {} was told to panic", todo.key);
        if todo.fails {
            return Err(TaskError::permanent(format!("task {} was told to fail\0", todo.key)));
        }
        if task.attempt <= todo.stumbles {
            return Err(TaskError::transient(format!(
                "task {} stumbled in attempt {}",
                todo.key, task.attempt
            )));
        }
        Ok(to_json(&json!({
            "ran": todo.key,
            "before": task.predecessor_result,
            "filler": "x".repeat(todo.result_bytes),
        }))?)
    }

    fn fold(&self, _stage: Stage) -> Box<dyn Fold> {
        Box::new(CountFold::new("runs"))
    }
}

impl Probe {
    /// Returns once this number of runs have begun, over all tasks.
    pub(crate) async fn until_runs(&self, begun: u32) {
        until("enough runs have begun", async || {
            (self.runs().values().sum::<u32>() >= begun).then_some(())
        })
        .await;
    }

    /// Opens the gate for waiting tasks and for later ones.
    pub(crate) fn open_gate(&self) {
        self.gate.cancel();
    }

    pub(crate) fn runs(&self) -> HashMap<String, u32> {
        self.ledger.lock().unwrap().clone()
    }
}
