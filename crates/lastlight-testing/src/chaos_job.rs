//! The job type `chaos`. Its parameters determine how many tasks each stage has and which faults
//! which tasks have; its handlers record their runs in the [`ledger`](crate::ledger). The oracle
//! derives the expected outcome from the same parameters.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use crate::{
    graph_job::GraphJob,
    ledger::{Entry, LEDGER_SETTING, Ledger, RunEnd},
    work::{Act, CHAOS, Fate, Rule, StageWork, Work},
};
use lastlight_engine::{
    App,
    job::{
        Again, Context, ContextError, FailurePolicy, Job, Plan, PlanContext, PlanError, Planned,
        Repeat, ResultExt, Stage, StageOptions, TaskContext, TaskError, erased::Catalog,
    },
};

/// Bytes that a task allocates at a time, without writing to them, until no memory is left.
const ALLOCATION: usize = 64 * 1024 * 1024;

/// Poll interval of a task that waits at its job's gate.
const GATE_POLL: Duration = Duration::from_millis(50);

/// Adds the job types `chaos` and `graph` to the app if `LASTLIGHT_CHAOS_LEDGER` names a file that can be
/// written.
pub fn with_chaos(app: App) -> App {
    let Some(path) = std::env::var_os(LEDGER_SETTING) else {
        return app;
    };
    let open = || Ledger::open(Path::new(&path));
    match open().and_then(|ledger| Ok((ledger, open()?))) {
        Ok((ledger, of_graphs)) => {
            let graph = Arc::new(GraphJob::recording(of_graphs));
            app.job::<Work>().provide(ledger).job_type(graph)
        }
        Err(error) => {
            eprintln!("lastlight: {LEDGER_SETTING}: {error}");
            app
        }
    }
}

/// It is always provided: the app has the job type `chaos` only if its ledger could be opened.
impl Context for Ledger {
    const NAME: &'static str = "ledger";

    async fn start() -> Result<Self, ContextError> {
        Err(format!("{LEDGER_SETTING} is not set").into())
    }
}

impl Ledger {
    /// The catalog with the job type `chaos`, whose tasks use this ledger.
    pub fn add_to(self, catalog: Catalog) -> Catalog {
        catalog.contexts().provide(self);
        catalog.job::<Work>(None)
    }
}

/// The parameters of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChaosTask {
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

/// The result of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChaosResult {
    tag: String,
    stage: u8,
    number: u64,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    filling: String,
}

/// The number of results and the sum of their tasks' numbers, which reveals a result that is folded
/// twice or replaced by another.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CountAndSum {
    count: u64,
    sum: u64,
}

impl Job for Work {
    const NAME: &'static str = CHAOS;
    type Last = Self;
}

impl Repeat for Work {
    fn rounds(work: &Self) -> usize {
        work.stages.len()
    }
}

impl Stage for Work {
    const NAME: &'static str = "chaos_task";
    type Job = Self;
    type Previous = Again<Self>;
    type Task = ChaosTask;
    type Output = ChaosResult;
    type Summary = CountAndSum;

    fn plan(context: PlanContext<Self>) -> Plan<ChaosTask> {
        let PlanContext { job: work, round, .. } = context;
        let stage = work.stages[round].clone();
        let before = round.checked_sub(1).map(|before| work.stages[before].clone());
        let padding = "x".repeat(stage.padding);
        let plan_pause = Duration::from_millis(stage.plan_ms);
        let StageWork { tasks, ms, plan_fails, rules, .. } = stage;
        let task = move |number| {
            let predecessor = before.as_ref().and_then(|before| {
                Some((before, number % Some(before.tasks).filter(|tasks| *tasks > 0)?))
            });
            let needs = predecessor
                .filter(|(before, number)| before.fate(*number) == Fate::Completes)
                .map(|(_, number)| number);
            let task = ChaosTask {
                tag: work.tag.clone(),
                stage: number_of(round),
                number,
                ms,
                needs,
                acts: rules.iter().copied().filter(|rule| rule.concerns(number)).collect(),
                padding: padding.clone(),
            };
            let planned = Planned::new(index(number), task);
            Ok(match predecessor {
                Some((_, number)) => planned.after(index(number)),
                None => planned,
            })
        };
        let error = plan_fails.then(|| Err(PlanError::new("the plan fails by request of the job")));
        Plan::stream(move |from| {
            stream::iter(from..tasks)
                .then(move |number| async move {
                    if !plan_pause.is_zero() {
                        tokio::time::sleep(plan_pause).await;
                    }
                    number
                })
                .map(task)
                .chain(stream::iter(error))
        })
    }

    async fn run(context: TaskContext<Self>, task: ChaosTask) -> Result<ChaosResult, TaskError> {
        let ledger: Arc<Ledger> = context.get().await?;
        let entry =
            Entry { tag: &task.tag, task: (task.stage, task.number), attempt: context.attempt() };
        ledger.begins(entry);
        // Of no crate of lastlight, like the spans of an app.
        let span = tracing::info_span!(target: "app", "chaos work", number = task.number);
        let result = perform(&task, &context, &ledger).instrument(span).await;
        let end = match result {
            Ok(_) => RunEnd::Completed,
            Err(_) => RunEnd::Failed,
        };
        ledger.ends(entry, end);
        result
    }

    fn fold(summary: &mut CountAndSum, result: ChaosResult) {
        summary.count += 1;
        summary.sum += result.number;
    }

    fn options(work: &Self, round: usize) -> StageOptions {
        let stage = &work.stages[round];
        StageOptions::default()
            .tasks_per_message(work.tasks_per_message)
            .tolerate(FailurePolicy::TolerateCount(stage.tolerates))
            .expected_tasks(stage.tasks)
    }
}

async fn perform(
    work: &ChaosTask,
    context: &TaskContext<Work>,
    ledger: &Ledger,
) -> Result<ChaosResult, TaskError> {
    if let Some(needs) = work.needs {
        let before = context.predecessor()?;
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
    let now = |rule: &&Rule| rule.attempts.is_none_or(|attempts| context.attempt() <= attempts);
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
    let mut result = ChaosResult {
        tag: work.tag.clone(),
        stage: work.stage,
        number: work.number,
        filling: String::new(),
    };
    let short = serde_json::to_string(&result).permanent()?.len();
    if bytes > short {
        // Exactly as large as requested, including the field's name and quotes.
        let around = r#","filling":"""#.len();
        result.filling = "x".repeat(bytes.saturating_sub(short + around));
    }
    Ok(result)
}

/// Allocates memory without writing to it or releasing it: the address space is used up, and not
/// the machine's memory.
fn devour() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(Vec::with_capacity(ALLOCATION));
    }
}

/// The semantic index of the task with this number in its stage.
fn index(number: u64) -> String {
    format!("t-{number}")
}

/// The number of the stage, from 1, that is this round; a job has at most 100.
fn number_of(round: usize) -> u8 {
    u8::try_from(round + 1).unwrap_or(u8::MAX)
}
