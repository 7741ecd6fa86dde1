//! The job type `graph`: its parameters are [`GraphWork`], from which its stages, tasks, decisions and
//! faults follow. Every value that it computes is a number that depends on the results upstream, so
//! that a result which was lost, counted twice or taken from elsewhere shows in all nodes after it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use lastlight_engine::{
    job::{
        Backoff, Contexts, FailurePolicy, PlanError, ResultExt, StageOptions, TaskError,
        TaskPolicy,
        erased::{
            Catalog, Child, Decision, Fields, Fold, JobType, PlanContext, Predecessor, RawPlan,
            StageSpec, Task, TaskDefinition, TaskEnd, Upstream,
        },
    },
    model::{JobId, ProcessingPath, Stage, TaskIndex},
};
use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use tokio_util::sync::CancellationToken;

use crate::{
    graph_work::{GRAPH, GraphWork, Node, NodeKind, reduced, value},
    ledger::{Entry, Ledger, RunEnd},
};

/// Poll interval of a task that waits for a file to be released.
const POLL: Duration = Duration::from_millis(50);

/// The job type, and what its tasks share with a test. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct GraphJob {
    runs: Arc<Mutex<BTreeMap<String, u32>>>,
    released: CancellationToken,
    repaired: Arc<AtomicBool>,
    ledger: Option<Arc<Ledger>>,
}

impl GraphJob {
    /// Its tasks record their runs in this ledger too, wait for its gate instead of
    /// [`release`](Self::release), and fail until it names their job as repaired.
    pub fn recording(ledger: Ledger) -> Self {
        Self { ledger: Some(Arc::new(ledger)), ..Self::default() }
    }

    /// The catalog with this job type.
    pub fn add_to(self, catalog: Catalog) -> Catalog {
        catalog.job_type(Arc::new(self))
    }

    /// Lets waiting tasks and later ones continue.
    pub fn release(&self) {
        self.released.cancel();
    }

    /// From now on no task and no decision fails.
    pub fn repair(&self) {
        self.repaired.store(true, Ordering::Relaxed);
    }

    /// The number of runs of each task, by `node/number`, and of each decision, by `node/decision`.
    pub fn runs(&self) -> BTreeMap<String, u32> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing fails any more in the job with this tag.
    fn is_repaired(&self, tag: &str) -> bool {
        let in_ledger = || self.ledger.as_ref().is_some_and(|ledger| ledger.repaired(tag).exists());
        self.repaired.load(Ordering::Relaxed) || in_ledger()
    }

    fn begins(&self, task: &GraphTask, attempt: u32) {
        self.counts(format!("{}/{}", task.node, task.number));
        if let Some(ledger) = &self.ledger {
            ledger.begins(task.entry(attempt));
        }
    }

    fn counts(&self, key: String) {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    async fn until_released(&self, tag: &str) {
        let Some(ledger) = &self.ledger else { return self.released.cancelled().await };
        while !ledger.gate(tag).exists() {
            tokio::time::sleep(POLL).await;
        }
    }

    async fn perform(
        &self,
        task: &GraphTask,
        attempt: u32,
        read: Option<Box<RawValue>>,
    ) -> Result<GraphResult, TaskError> {
        tokio::time::sleep(Duration::from_millis(task.ms)).await;
        if task.holds {
            self.until_released(&task.tag).await;
        }
        if task.fails && !self.is_repaired(&task.tag) {
            return Err(TaskError::permanent("a permanent failure by request of the job"));
        }
        if task.stumbles && attempt == 1 {
            return Err(TaskError::transient("a transient failure by request of the job"));
        }
        let read: Option<GraphResult> =
            read.map(|read| serde_json::from_str(read.get())).transpose().permanent()?;
        if let (Some(from), Some(read)) = (&task.reads, &read)
            && (&read.node, read.number) != (&from.node, from.number)
        {
            return Err(TaskError::permanent(format!(
                "the task read the result of another task: {read:?}"
            )));
        }
        let read = read.map(|read| read.value);
        Ok(GraphResult {
            node: task.node.clone(),
            number: task.number,
            value: value(task.stage.into(), task.number, task.input, read),
        })
    }
}

/// The parameters of one task.
#[derive(Debug, Serialize, Deserialize)]
struct GraphTask {
    tag: String,
    node: String,
    stage: u8,
    number: u64,
    /// What its node received of the nodes before it.
    input: u64,
    ms: u64,
    fails: bool,
    stumbles: bool,
    holds: bool,
    /// The task whose result it reads.
    reads: Option<TaskOfNode>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TaskOfNode {
    node: String,
    number: u64,
}

impl GraphTask {
    fn entry(&self, attempt: u32) -> Entry<'_> {
        Entry { tag: &self.tag, task: (self.stage, self.number), attempt }
    }
}

/// The result of one task.
#[derive(Debug, Serialize, Deserialize)]
struct GraphResult {
    node: String,
    number: u64,
    value: u64,
}

/// The number of results and the sum of their values.
#[derive(Debug, Default, Serialize)]
struct CountAndSum {
    count: u64,
    sum: u64,
}

impl Fold for CountAndSum {
    fn add(&mut self, result: &RawValue) -> Result<(), String> {
        let result: GraphResult =
            serde_json::from_str(result.get()).map_err(|error| error.to_string())?;
        self.count += 1;
        self.sum += result.value;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<RawValue>, String> {
        to_raw_value(&self).map_err(|error| error.to_string())
    }
}

fn read(parameters: &Map<String, Value>) -> Result<GraphWork, PlanError> {
    let work: GraphWork = serde_json::from_value(Value::Object(parameters.clone()))?;
    match work.problem() {
        None => Ok(work),
        Some(problem) => Err(PlanError::new(format!("nodes are no graph: {problem}"))),
    }
}

/// The node of a stage, and its place.
fn node_of(work: &GraphWork, stage: Stage) -> Result<(usize, &Node), PlanError> {
    let place = usize::from(stage.get()) - 1;
    let node = work.nodes.get(place);
    let node = node.ok_or_else(|| PlanError::new(format!("the job has no stage {stage}")))?;
    Ok((place, node))
}

fn index(number: u64) -> Result<TaskIndex, PlanError> {
    TaskIndex::try_from(format!("t-{number}").as_str())
        .map_err(|error| PlanError::new(error.to_string()))
}

/// What a node receives of the nodes that it depends on.
async fn input(work: &GraphWork, place: usize, upstream: &dyn Upstream) -> Result<u64, PlanError> {
    let mut input = 0;
    for before in work.dependencies(place) {
        let Some(stage) = GraphWork::stage(before) else { continue };
        input += match work.nodes[before].kind {
            NodeKind::Tasks => {
                let results = upstream.results(stage);
                let sum = results.try_fold(0, |sum, end| async move {
                    let TaskEnd::Completed(result) = end else { return Ok(sum) };
                    let result: GraphResult = serde_json::from_str(result.get())?;
                    Ok(sum + result.value)
                });
                reduced(sum.await?)
            }
            NodeKind::Decision => number_in(upstream.output(stage).await?, "value")?,
            NodeKind::Gate => reduced(number_in(upstream.output(stage).await?, "result")?),
            NodeKind::Job => reduced(sum_of_job(upstream.output(stage).await?)?),
        };
    }
    Ok(reduced(input))
}

/// The number in this field of an output; 0 without one.
fn number_in(output: Option<Box<RawValue>>, field: &str) -> Result<u64, PlanError> {
    let Some(output) = output else { return Ok(0) };
    let output: Value = serde_json::from_str(output.get())?;
    Ok(output[field].as_u64().unwrap_or_default())
}

/// The sum of the values of all tasks of the job that a node waited for; 0 if it did not complete.
fn sum_of_job(output: Option<Box<RawValue>>) -> Result<u64, PlanError> {
    let Some(output) = output else { return Ok(0) };
    let output: Value = serde_json::from_str(output.get())?;
    let summaries = output["result"]["summaries"].as_object();
    let sums = summaries.into_iter().flat_map(Map::values).filter_map(|one| one["sum"].as_u64());
    Ok(sums.sum())
}

/// The tasks of a node, from a number on.
async fn tasks(
    work: GraphWork,
    place: usize,
    from: u64,
    upstream: Option<Arc<dyn Upstream>>,
) -> Result<RawPlan, PlanError> {
    let input = match upstream {
        Some(upstream) => input(&work, place, upstream.as_ref()).await?,
        None => 0,
    };
    let node = work.nodes[place].clone();
    let count = node.tasks;
    let source = node.reads.as_deref().and_then(|name| work.place(name));
    let source = source.and_then(|at| Some((GraphWork::stage(at)?, work.nodes[at].clone())));
    let source = source.filter(|(_, node)| node.kind == NodeKind::Tasks && node.tasks > 0);
    let task = move |number| {
        let reads = source
            .as_ref()
            .map(|(_, node)| TaskOfNode { node: node.name.clone(), number: number % node.tasks });
        let predecessor = match (&source, &reads) {
            (Some((stage, _)), Some(task)) => Predecessor::In(*stage, index(task.number)?),
            _ => Predecessor::Nothing,
        };
        let task = GraphTask {
            tag: work.tag.clone(),
            node: node.name.clone(),
            // A graph has at most 100 nodes.
            stage: (place + 1) as u8,
            number,
            input,
            ms: node.ms,
            fails: node.fails.contains(&number),
            stumbles: node.stumbles.contains(&number),
            holds: node.holds,
            reads,
        };
        Ok(TaskDefinition { index: index(number)?, parameters: to_raw_value(&task)?, predecessor })
    };
    Ok(stream::iter((from..count).map(task)).boxed())
}

#[async_trait]
impl JobType for GraphJob {
    fn name(&self) -> &str {
        GRAPH
    }

    fn description(&self) -> &str {
        "Nodes that depend on each other, with faults as its parameters say."
    }

    fn check(&self, fields: &mut Fields) {
        let text = json!({ "type": "string", "minLength": 1, "maxLength": 50 });
        fields.optional("tag", "text of 1 to 50 characters", text, |tag| {
            tag.as_str().is_some_and(|tag| (1..=50).contains(&tag.chars().count()))
        });
        let allowed = "a list of 1 to 100 nodes, each of which depends on nodes before it only";
        fields.optional("nodes", allowed, json!({ "type": "array" }), |nodes| {
            let nodes = serde_json::from_value::<Vec<Node>>(nodes.clone());
            nodes.is_ok_and(|nodes| GraphWork::new("", nodes).problem().is_none())
        });
    }

    fn prescribed_path(&self) -> Option<ProcessingPath> {
        None
    }

    fn stages(&self, parameters: &Map<String, Value>) -> Result<Vec<StageSpec>, PlanError> {
        let work = read(parameters)?;
        let spec = |node: &Node| {
            let options = StageOptions::default()
                .tasks_per_message(node.tasks_per_message)
                .tolerate(FailurePolicy::TolerateCount(node.tolerates))
                .expected_tasks(node.tasks);
            StageSpec::in_graph("graph_task", options, work.in_graph(node))
        };
        Ok(work.nodes.iter().map(spec).collect())
    }

    fn plan(
        &self,
        parameters: &Map<String, Value>,
        context: PlanContext,
    ) -> Result<RawPlan, PlanError> {
        let work = read(parameters)?;
        let (place, node) = node_of(&work, context.stage)?;
        if node.plan_fails && !self.is_repaired(&work.tag) {
            return Err(PlanError::new("a plan that fails by request of the job"));
        }
        let planned = tasks(work, place, context.from, context.upstream);
        Ok(stream::once(planned).try_flatten().boxed())
    }

    fn task_policy(&self, _: &str) -> TaskPolicy {
        let backoff =
            Backoff { first: Duration::from_millis(100), largest: Duration::from_millis(200) };
        TaskPolicy { max_attempts: Some(3), backoff: Some(backoff), timeout: None }
    }

    fn time_limit(&self, _: &Map<String, Value>) -> Result<Option<Duration>, PlanError> {
        Ok(None)
    }

    async fn run(&self, task: Task) -> Result<Box<RawValue>, TaskError> {
        let Task { parameters, attempt, .. } = task;
        let task: GraphTask = serde_json::from_str(parameters.get()).permanent()?;
        self.begins(&task, attempt.number);
        let result = self.perform(&task, attempt.number, attempt.predecessor).await;
        if let Some(ledger) = &self.ledger {
            let end = if result.is_ok() { RunEnd::Completed } else { RunEnd::Failed };
            ledger.ends(task.entry(attempt.number), end);
        }
        to_raw_value(&result?).permanent()
    }

    fn fold(&self, _: &Map<String, Value>, _: Stage) -> Result<Box<dyn Fold>, PlanError> {
        Ok(Box::new(CountAndSum::default()))
    }

    async fn decide(
        &self,
        _: &JobId,
        parameters: &Map<String, Value>,
        stage: Stage,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Decision, PlanError> {
        let work = read(parameters)?;
        let (place, node) = node_of(&work, stage)?;
        if !node.fails.is_empty() && !self.is_repaired(&work.tag) {
            return Err(PlanError::new("a decision that fails by request of the job"));
        }
        self.counts(format!("{}/decision", node.name));
        if node.holds {
            self.until_released(&work.tag).await;
        }
        let input = input(&work, place, upstream.as_ref()).await?;
        let dependents = work.dependents(place);
        let chosen = node.chooses.of(&work, &dependents, input);
        let name = |place: &usize| work.nodes[*place].name.clone();
        let chose: Vec<String> = chosen.iter().map(name).collect();
        let not_chosen = dependents.iter().filter(|place| !chosen.contains(place));
        Ok(Decision::Taken {
            output: to_raw_value(&json!({ "value": input, "chose": chose }))?,
            not_chosen: not_chosen.filter_map(|place| GraphWork::stage(*place)).collect(),
        })
    }

    async fn child(
        &self,
        _: &JobId,
        parameters: &Map<String, Value>,
        stage: Stage,
        _: Arc<dyn Upstream>,
    ) -> Result<Child, PlanError> {
        let work = read(parameters)?;
        let (_, node) = node_of(&work, stage)?;
        let child = node
            .child
            .as_ref()
            .ok_or_else(|| PlanError::new(format!("the node {:?} waits for no job", node.name)))?;
        Ok(Child::Job { job_type: GRAPH.to_owned(), parameters: child.parameters()? })
    }

    fn contexts(&self) -> Contexts {
        Contexts::default()
    }
}
