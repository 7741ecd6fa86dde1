//! The job type `chaos`. Its parameters determine how many tasks each stage has and which faults
//! which tasks have; its handlers record their runs in the [`ledger`](super::ledger). The oracle
//! derives the expected outcome from the same parameters.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{
    ledger::{Entry, LEDGER_SETTING, Ledger, RunEnd},
    work::{Act, CHAOS, Fate, Rule, StageWork, Work},
};
use lastlight::{
    App,
    job::{
        FailurePolicy, Fields, Fold, JobType, Plan, PlanContext, PlanError, StageSpec, Task,
        TaskDefinition, TaskError, to_json,
    },
    model::{Stage, TaskIndex, TasksPerMessage},
};

const TASK: &str = "chaos_task";

/// Bytes that a task allocates at a time, without writing to them, until no memory is left.
const ALLOCATION: usize = 64 * 1024 * 1024;

/// Poll interval of a task that waits at its job's gate.
const GATE_POLL: Duration = Duration::from_millis(50);

/// Adds the job type `chaos` to the app if `LASTLIGHT_CHAOS_LEDGER` names a file that can be
/// written.
pub fn with_chaos(app: App) -> App {
    let Some(path) = std::env::var_os(LEDGER_SETTING) else {
        return app;
    };
    match Ledger::open(Path::new(&path)) {
        Ok(ledger) => app.job(Chaos { ledger }),
        Err(error) => {
            eprintln!("lastlight: {LEDGER_SETTING}: {error}");
            app
        }
    }
}

/// The semantic index of the task with this number in its stage.
pub fn task_index(number: u64) -> String {
    format!("t-{number}")
}

/// The parameters of one task.
#[derive(Debug, Serialize, Deserialize)]
struct ChaosTask {
    tag: String,
    stage: u8,
    number: u64,
    ms: u64,
    /// The number of the task of the previous stage whose result this task must read.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    acts: Vec<Rule>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    padding: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChaosResult {
    tag: String,
    stage: u8,
    number: u64,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    filling: String,
}

#[derive(Debug)]
pub struct Chaos {
    /// Where the handlers record their runs.
    pub ledger: Ledger,
}

#[async_trait]
impl JobType for Chaos {
    type Parameters = Work;

    fn name(&self) -> &'static str {
        CHAOS
    }

    fn check(&self, fields: &mut Fields) {
        fields.text_or("tag", "chaos", 1..=50);
        fields.optional(
            "stages",
            "a list of stages",
            json!({ "type": ["array", "null"], "items": { "type": "object" } }),
            Value::is_array,
        );
        fields.optional_integer("tasks_per_message", 1..=u64::from(TasksPerMessage::LARGEST));
    }

    fn stages(&self, work: &Work) -> Vec<StageSpec> {
        let spec = |stage: &StageWork| {
            StageSpec::new(TASK)
                .with_tasks_per_message(work.tasks_per_message)
                .with_failure_policy(FailurePolicy::TolerateCount(stage.tolerates))
                .with_expected_tasks(stage.tasks)
        };
        work.stages.iter().map(spec).collect()
    }

    fn plan(&self, work: Work, context: PlanContext) -> Plan {
        let place = usize::from(context.stage.get()) - 1;
        let stage = work.stages.get(place).cloned().unwrap_or_default();
        let before = place.checked_sub(1).and_then(|place| work.stages.get(place)).cloned();
        let padding = "x".repeat(stage.padding);
        let plan_pause = Duration::from_millis(stage.plan_ms);
        let definition = move |number| {
            let predecessor = before.as_ref().and_then(|before| {
                Some((before, number % Some(before.tasks).filter(|tasks| *tasks > 0)?))
            });
            let needs = predecessor
                .filter(|(before, number)| before.fate(*number) == Fate::Completes)
                .map(|(_, number)| number);
            Ok(TaskDefinition {
                index: index(number)?,
                parameters: to_json(&ChaosTask {
                    tag: work.tag.clone(),
                    stage: context.stage.get(),
                    number,
                    ms: stage.ms,
                    needs,
                    acts: stage
                        .rules
                        .iter()
                        .copied()
                        .filter(|rule| rule.concerns(number))
                        .collect(),
                    padding: padding.clone(),
                })?,
                predecessor: predecessor.map(|(_, number)| index(number)).transpose()?,
            })
        };
        let error = stage
            .plan_fails
            .then(|| Err(PlanError("the plan fails by request of the job".to_owned())));
        stream::iter(context.from..stage.tasks)
            .then(move |number| async move {
                if !plan_pause.is_zero() {
                    tokio::time::sleep(plan_pause).await;
                }
                number
            })
            .map(definition)
            .chain(stream::iter(error))
            .boxed()
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        let work: ChaosTask = task.parameters()?;
        let entry =
            Entry { tag: &work.tag, task: (work.stage, work.number), attempt: task.attempt };
        self.ledger.begins(entry);
        let result = perform(&work, &task, &self.ledger).await;
        let end = match result {
            Ok(_) => RunEnd::Completed,
            Err(_) => RunEnd::Failed,
        };
        self.ledger.ends(entry, end);
        result
    }

    fn fold(&self, _stage: Stage) -> Box<dyn Fold> {
        Box::new(CountAndSum::default())
    }
}

async fn perform(
    work: &ChaosTask,
    task: &Task<'_>,
    ledger: &Ledger,
) -> Result<Box<RawValue>, TaskError> {
    if let Some(needs) = work.needs {
        let before: ChaosResult = task.predecessor()?;
        if (before.tag.as_str(), before.stage, before.number)
            != (work.tag.as_str(), work.stage - 1, needs)
        {
            return Err(TaskError::permanent(format!(
                "the task read the result of another task: {before:?}"
            )));
        }
    }
    if work.ms > 0 {
        tokio::time::sleep(Duration::from_millis(work.ms)).await;
    }
    let mut bytes = 0;
    let now = |rule: &&Rule| rule.attempts.is_none_or(|attempts| task.attempt <= attempts);
    for rule in work.acts.iter().filter(now) {
        match rule.act {
            Act::Sleep { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Act::Block { ms } => std::thread::sleep(Duration::from_millis(ms)),
            Act::Wait => {
                while !ledger.gate(&work.tag).exists() {
                    tokio::time::sleep(GATE_POLL).await;
                }
            }
            Act::Stumble => {
                return Err(TaskError::transient("a transient failure by request of the job"));
            }
            Act::Fail => {
                return Err(TaskError::permanent("a permanent failure by request of the job"));
            }
            #[expect(clippy::panic, reason = "a panicking handler is what is tested")]
            Act::Panic => panic!("a panic by request of the job"),
            Act::Abort => std::process::abort(),
            Act::Devour => devour(),
            Act::Result { bytes: wanted } => bytes = wanted,
        }
    }
    let result = ChaosResult {
        tag: work.tag.clone(),
        stage: work.stage,
        number: work.number,
        filling: String::new(),
    };
    let short = to_json(&result)?;
    if bytes <= short.get().len() {
        return Ok(short);
    }
    // Exactly as large as requested, including the field's name and quotes.
    let around = r#","filling":"""#.len();
    let filling = "x".repeat(bytes.saturating_sub(short.get().len() + around));
    Ok(to_json(&ChaosResult { filling, ..result })?)
}

/// Allocates memory without writing to it or releasing it: the address space is used up, and not
/// the machine's memory.
fn devour() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(Vec::with_capacity(ALLOCATION));
    }
}

fn index(number: u64) -> Result<TaskIndex, PlanError> {
    TaskIndex::try_from(task_index(number).as_str()).map_err(|error| PlanError(error.to_string()))
}

/// Counts results and adds up their tasks' numbers, which reveals a result that is folded twice or
/// replaced by another.
#[derive(Debug, Default)]
struct CountAndSum {
    count: u64,
    sum: u64,
}

impl Fold for CountAndSum {
    fn add(&mut self, result: &RawValue) {
        let result: Option<ChaosResult> = serde_json::from_str(result.get()).ok();
        self.count += 1;
        self.sum += result.map_or(0, |result| result.number);
    }

    fn finish(self: Box<Self>) -> Value {
        json!({ "count": self.count, "sum": self.sum })
    }
}
