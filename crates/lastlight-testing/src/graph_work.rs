//! The parameters of a job of the type `graph`: named nodes that depend on each other, and what each
//! of them does. From the same parameters follows what every node must come to. Nothing here runs
//! anything.

mod expected;

use std::collections::BTreeSet;

pub use expected::{Answers, ExpectedNode, GateAnswer};

use lastlight_engine::model::{
    GateDecision, JobId, Stage, StageInGraph, StageKind, TasksPerMessage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name of the job type.
pub const GRAPH: &str = "graph";

/// Values of results are smaller than this prime.
const MODULUS: u64 = 1_000_003;

/// Nodes in a topological order: each depends on nodes before it only. The node at place `n`, from 0,
/// is stage `n + 1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphWork {
    /// Names the job in the ledger; without blanks.
    #[schemars(length(min = 1, max = 50))]
    pub tag: String,
    pub nodes: Vec<Node>,
    /// `true`: Service Bus; `false`: Storage Queues.
    #[serde(default)]
    pub use_service_bus: bool,
}

/// A node: what it depends on, and what it does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// 1 to 50 characters, unique in the job.
    pub name: String,
    pub kind: NodeKind,
    /// The nodes that must complete before it runs.
    pub needs: Vec<String>,
    /// The nodes that must only end before it runs.
    pub follows: Vec<String>,
    /// Its failure does not fail the job.
    pub best_effort: bool,
    /// Number of tasks.
    pub tasks: u64,
    /// Number of tasks per message.
    pub tasks_per_message: TasksPerMessage,
    /// Number of failed tasks that it tolerates.
    pub tolerates: u64,
    /// Numbers of the tasks that fail; a decision that has any fails.
    pub fails: Vec<u64>,
    /// It cannot be planned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan_fails: bool,
    /// Numbers of the tasks whose first attempt has a transient failure.
    pub stumbles: Vec<u64>,
    /// Duration of each task, milliseconds.
    pub ms: u64,
    /// Its tasks, or its decision, wait until they are released.
    pub holds: bool,
    /// A node upstream: each task reads the result of the task with its number there, modulo the
    /// number of tasks there.
    pub reads: Option<String>,
    /// The dependents that a decision chooses.
    pub chooses: Choice,
    /// Seconds in which a gate must be decided, and what counts as decided then.
    pub timeout: Option<(u32, GateDecision)>,
    /// The job that it submits and waits for, if it is of that kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<Box<GraphWork>>,
}

/// How a node comes to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    #[default]
    Tasks,
    Decision,
    Gate,
    /// It submits a job of the same type, and ends with it.
    Job,
}

/// What a decision chooses of the nodes that depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    #[default]
    All,
    These(Vec<String>),
    /// One of them, by what the nodes before the decision resulted in.
    ByInput,
}

impl Node {
    /// A node with this number of tasks.
    pub fn tasks(name: &str, tasks: u64) -> Self {
        Self { name: name.to_owned(), tasks, ..Self::default() }
    }

    pub fn decision(name: &str, chooses: Choice) -> Self {
        Self { name: name.to_owned(), kind: NodeKind::Decision, chooses, ..Self::default() }
    }

    pub fn gate(name: &str) -> Self {
        Self { name: name.to_owned(), kind: NodeKind::Gate, ..Self::default() }
    }

    /// A node that waits for this job.
    pub fn job(name: &str, child: GraphWork) -> Self {
        let child = Some(Box::new(child));
        Self { name: name.to_owned(), kind: NodeKind::Job, child, ..Self::default() }
    }

    #[must_use]
    pub fn needs<const N: usize>(self, nodes: [&str; N]) -> Self {
        Self { needs: nodes.map(str::to_owned).to_vec(), ..self }
    }

    #[must_use]
    pub fn follows<const N: usize>(self, nodes: [&str; N]) -> Self {
        Self { follows: nodes.map(str::to_owned).to_vec(), ..self }
    }

    #[must_use]
    pub fn fails<const N: usize>(self, tasks: [u64; N]) -> Self {
        Self { fails: tasks.to_vec(), ..self }
    }

    #[must_use]
    pub fn plan_fails(self) -> Self {
        Self { plan_fails: true, ..self }
    }

    #[must_use]
    pub fn stumbles<const N: usize>(self, tasks: [u64; N]) -> Self {
        Self { stumbles: tasks.to_vec(), ..self }
    }

    #[must_use]
    pub fn reads(self, node: &str) -> Self {
        Self { reads: Some(node.to_owned()), ..self }
    }

    #[must_use]
    pub fn best_effort(self) -> Self {
        Self { best_effort: true, ..self }
    }

    #[must_use]
    pub fn holding(self) -> Self {
        Self { holds: true, ..self }
    }

    #[must_use]
    pub fn timeout(self, seconds: u32, then: GateDecision) -> Self {
        Self { timeout: Some((seconds, then)), ..self }
    }

    fn dependencies(&self) -> impl Iterator<Item = &String> {
        self.needs.iter().chain(&self.follows)
    }
}

impl Choice {
    pub fn these<const N: usize>(nodes: [&str; N]) -> Self {
        Self::These(nodes.map(str::to_owned).to_vec())
    }

    /// The places of the chosen ones among the dependents.
    pub(crate) fn of(&self, work: &GraphWork, dependents: &[usize], input: u64) -> BTreeSet<usize> {
        match self {
            Self::All => dependents.iter().copied().collect(),
            Self::These(names) => dependents
                .iter()
                .copied()
                .filter(|place| names.contains(&work.nodes[*place].name))
                .collect(),
            Self::ByInput => {
                let count = dependents.len().max(1) as u64;
                // Less than the number of dependents.
                dependents.get((input % count) as usize).copied().into_iter().collect()
            }
        }
    }
}

/// The value of a task: of its place, of what its node received, and of the task that it reads.
pub(crate) fn value(stage: u64, number: u64, input: u64, read: Option<u64>) -> u64 {
    (stage * 7919 + (number + 1) * 104_729 + input * 31 + read.unwrap_or_default() * 17) % MODULUS
}

/// What a dependent receives of a sum of values.
pub(crate) fn reduced(sum: u64) -> u64 {
    sum % MODULUS
}

impl GraphWork {
    pub fn new(tag: &str, nodes: impl Into<Vec<Node>>) -> Self {
        Self { tag: tag.to_owned(), nodes: nodes.into(), use_service_bus: false }
    }

    /// The same work without tasks and decisions that fail, in the jobs for which it waits too.
    #[must_use]
    pub fn without_failures(&self) -> Self {
        let mut work = self.clone();
        for node in &mut work.nodes {
            node.fails.clear();
            node.plan_fails = false;
            node.child = node.child.take().map(|child| Box::new(child.without_failures()));
        }
        work
    }

    /// The tags of this job and of all jobs for which it waits, directly and through others.
    pub fn tags(&self) -> BTreeSet<&str> {
        let children = self.nodes.iter().filter_map(|node| node.child.as_deref());
        children.flat_map(Self::tags).chain([self.tag.as_str()]).collect()
    }

    /// The parameters of a submission.
    ///
    /// # Errors
    /// The work cannot be written as JSON.
    pub fn parameters(&self) -> Result<Map<String, Value>, serde_json::Error> {
        serde_json::from_str(&serde_json::to_string(self)?)
    }

    /// The id that the job has or will have.
    ///
    /// # Errors
    /// The work cannot be written as JSON.
    pub fn job_id(&self) -> Result<String, serde_json::Error> {
        Ok(JobId::derive(GRAPH, &self.parameters()?).to_string())
    }

    /// Why the nodes are no graph, if they are none.
    pub fn problem(&self) -> Option<String> {
        if !(1..=100).contains(&self.nodes.len()) {
            return Some(format!("{} nodes; 1 to 100 are allowed", self.nodes.len()));
        }
        let mut before: BTreeSet<&str> = BTreeSet::new();
        for node in &self.nodes {
            let unknown = node.dependencies().chain(&node.reads);
            if let Some(unknown) = unknown.into_iter().find(|name| !before.contains(name.as_str()))
            {
                return Some(format!(
                    "{:?} depends on {unknown:?}, which is not before it",
                    node.name
                ));
            }
            let twice = |name: &&String| node.needs.contains(name) && node.follows.contains(name);
            if let Some(name) = node.dependencies().find(twice) {
                return Some(format!("{:?} both needs and follows {name:?}", node.name));
            }
            if (node.kind == NodeKind::Job) != node.child.is_some() {
                return Some(format!("{:?} has a child and is no job, or the reverse", node.name));
            }
            if let Some(problem) = node.child.as_ref().and_then(|child| child.problem()) {
                return Some(format!("the child of {:?}: {problem}", node.name));
            }
            if !(1..=50).contains(&node.name.chars().count()) || !before.insert(&node.name) {
                return Some(format!(
                    "the name {:?} must have 1 to 50 characters and be unique",
                    node.name
                ));
            }
        }
        None
    }

    /// The place of the node with this name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The stage of the node at a place, if there is one.
    pub(crate) fn stage(place: usize) -> Option<Stage> {
        u8::try_from(place + 1).ok().and_then(|number| Stage::try_from(number).ok())
    }

    /// The places of the nodes that a node depends on, in order.
    pub fn dependencies(&self, place: usize) -> Vec<usize> {
        let Some(node) = self.nodes.get(place) else { return Vec::new() };
        let places: BTreeSet<usize> =
            node.dependencies().filter_map(|name| self.place(name)).collect();
        places.into_iter().collect()
    }

    /// The places of the nodes that depend on a node, in order.
    pub fn dependents(&self, place: usize) -> Vec<usize> {
        (place + 1..self.nodes.len())
            .filter(|later| self.dependencies(*later).contains(&place))
            .collect()
    }

    /// The node's stage in its graph.
    pub(crate) fn in_graph(&self, node: &Node) -> StageInGraph {
        let stages = |names: &[String]| {
            names.iter().filter_map(|name| Self::stage(self.place(name)?)).collect()
        };
        StageInGraph {
            name: node.name.clone(),
            kind: match node.kind {
                NodeKind::Tasks => StageKind::Tasks,
                NodeKind::Decision => StageKind::Decision,
                NodeKind::Gate => StageKind::Gate,
                NodeKind::Job => StageKind::Job,
            },
            needs: stages(&node.needs),
            follows: stages(&node.follows),
            best_effort: node.best_effort,
            is_finalize: false,
            timeout: node.timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_no_graph_are_named() {
        let problem = |nodes: Vec<Node>| GraphWork::new("t", nodes).problem().unwrap();
        let circle = vec![Node::tasks("a", 1).needs(["b"]), Node::tasks("b", 1).needs(["a"])];
        assert_eq!(problem(circle), r#""a" depends on "b", which is not before it"#);
        let twice = vec![Node::tasks("a", 1), Node::tasks("a", 1)];
        assert_eq!(problem(twice), r#"the name "a" must have 1 to 50 characters and be unique"#);
        assert_eq!(problem(Vec::new()), "0 nodes; 1 to 100 are allowed");
    }

    #[test]
    fn graph_work_is_unchanged_by_serialization() {
        let nodes = [
            Node::decision("a", Choice::these(["b"])),
            Node::gate("b").follows(["a"]).timeout(5, GateDecision::Fail),
        ];
        let work = GraphWork::new("t", nodes);
        let json = serde_json::to_value(&work).unwrap();
        assert_eq!(json["nodes"][0]["chooses"]["these"][0], "b");
        assert_eq!(serde_json::from_value::<GraphWork>(json).unwrap(), work);
    }
}
