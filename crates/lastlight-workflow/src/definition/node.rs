//! The nodes of a workflow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{Policy, Tolerate};
use crate::{Condition, NodeNumber, Template, ValuePath};

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its place in the order.
    pub number: NodeNumber,
    /// Its name, unique in the workflow: 1 to 50 letters, digits, `_` and `-`.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// The nodes that must have ended before it, by number, each once.
    pub depends_on: Vec<Dependency>,
    /// Its failure fails neither its dependents nor the job.
    pub best_effort: bool,
    /// It runs only if this is a value that counts as yes.
    pub when: Option<ValuePath>,
    /// The queue of the workers that run its tasks; `None`: the app runs them if it has the handler, or
    /// else workers of the default queue.
    pub queue: Option<String>,
    pub(crate) reads: BTreeSet<NodeNumber>,
}

impl Node {
    /// The nodes whose outputs its paths and templates read: all that evaluating it needs. The
    /// results of [`Source::Results`] are not among them.
    pub fn reads(&self) -> &BTreeSet<NodeNumber> {
        &self.reads
    }

    /// The handler of its tasks; `None` if it has no tasks.
    pub fn handler(&self) -> Option<&str> {
        match &self.kind {
            Kind::Task(task) | Kind::Finalize(task) => Some(&task.handler),
            Kind::FanOut(fan_out) => Some(&fan_out.task.handler),
            Kind::Conditional(_) | Kind::FanIn(_) | Kind::Gate(_) | Kind::Job(_) => None,
        }
    }

    /// Retries and timeout of its tasks, for a node that has a handler.
    pub fn policy(&self) -> Policy {
        match &self.kind {
            Kind::Task(task) | Kind::Finalize(task) => task.policy,
            Kind::FanOut(fan_out) => fan_out.task.policy,
            Kind::Conditional(_) | Kind::FanIn(_) | Kind::Gate(_) | Kind::Job(_) => {
                Policy::default()
            }
        }
    }
}

/// A node that must have ended before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// The node that must have ended.
    pub node: NodeNumber,
    /// Its failure, or that it was skipped, does not skip the dependent: `?` in the file.
    pub optional: bool,
    /// It is a conditional whose branches name the dependent, so the dependent is skipped unless
    /// the branch that was chosen names it.
    pub branch: bool,
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum Kind {
    /// One task.
    Task(Task),
    /// Chooses one of its branches. It has no task.
    Conditional(Conditional),
    /// A task per item of an array.
    FanOut(FanOut),
    /// Gathers the outputs of a fan-out's tasks. It has no task.
    FanIn(FanIn),
    /// Waits for a decision from outside. It has no task.
    Gate(Gate),
    /// Submits another job and waits for it. It has no task.
    Job(SubmittedJob),
    /// One task once all other nodes have ended, whatever became of them: always the last node,
    /// named `finalize`, and best effort.
    Finalize(Task),
}

impl Kind {
    /// As it is written in files; `finalize` for the last node.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Task(_) => "task",
            Self::Conditional(_) => "conditional",
            Self::FanOut(_) => "fan_out",
            Self::FanIn(_) => "fan_in",
            Self::Gate(_) => "gate",
            Self::Job(_) => "job",
            Self::Finalize(_) => "finalize",
        }
    }
}

/// A call of a handler.
#[derive(Debug, Clone)]
pub struct Task {
    /// The handler's name. Whether it exists is found when the job runs.
    pub handler: String,
    /// Its parameters from the job's.
    pub params: Params,
    /// Fixed parameters, over `params`.
    pub constants: Map<String, Value>,
    /// Parameters from the outputs of other nodes, over `constants`.
    pub receives: BTreeMap<String, ValuePath>,
    /// Retries and timeout.
    pub policy: Policy,
}

/// Parameters of a handler or of a submitted job.
#[derive(Debug, Clone)]
pub enum Params {
    /// The job's parameters with these names, under the same names.
    Names(Vec<String>),
    /// Each from a template or a literal.
    Templates(BTreeMap<String, Template>),
    /// All parameters of the job: for `finalize`, whose handler names none.
    All,
}

/// Chooses one of several branches.
#[derive(Debug, Clone)]
pub struct Conditional {
    /// The value that the conditions of branches look at.
    pub condition: ValuePath,
    /// Two or more, exactly one of them without a condition: the default.
    pub branches: Vec<Branch>,
}

/// A branch of a conditional.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Its name, unique in its conditional.
    pub name: String,
    /// When it is chosen. `None` for the default: chosen if no other branch is.
    pub condition: Option<Condition>,
    /// The nodes that run if it is chosen; may be empty.
    pub next: Vec<NodeNumber>,
}

/// A task per item.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// Where the items come from.
    pub source: Source,
    /// The largest number of items, 1 to 1,000,000.
    pub max_fan_out: u32,
    /// The call of a handler per item: with templates, without constants and received values.
    pub task: Task,
    /// Number of tasks per message, 1 to 1000.
    pub tasks_per_message: u16,
    /// How many failed tasks the node tolerates.
    pub tolerate: Tolerate,
}

/// Where the items of a fan-out come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A path of an array.
    Array(ValuePath),
    /// The outputs of all tasks of another fan-out, in the order of its items: `tiles` or
    /// `tiles.items`, or `all.items` with a fan-in that collects them. They can be streamed, so
    /// [`Node::reads`] does not have them.
    Results {
        /// The fan-out whose tasks' outputs are the items.
        fan_out: NodeNumber,
        /// The fan-in that the path names, if it names one.
        fan_in: Option<NodeNumber>,
    },
    /// A path of the address of a blob with one JSON value per line.
    File(ValuePath),
}

/// Gathers the outputs of a fan-out's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanIn {
    /// The fan-out.
    pub fan_out: NodeNumber,
    /// What becomes of the outputs.
    pub aggregation: Aggregation,
}

/// What a fan-in makes of the outputs of tasks, which are in the order of the items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// `{"items": [output, …]}`.
    #[default]
    Collect,
    /// `{"total": number}`: the sum of a number of each output.
    Sum,
    /// `{"count": number}`: the number of tasks that completed.
    Count,
    /// The output of the first task that completed; `{}` if there is none.
    First,
    /// The output of the last task that completed; `{}` if there is none.
    Last,
    /// One object with the keys of all outputs; of a key that several have, the last value.
    Concat,
}

impl Aggregation {
    /// As it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
            Self::Concat => "concat",
        }
    }
}

/// Waits for a decision from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Which decision.
    pub gate_type: GateType,
    /// How long it waits; `None` waits as long as the job may take.
    pub timeout: Option<Duration>,
    /// What happens when the time is over.
    pub on_timeout: OnTimeout,
}

/// Which decision a gate waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GateType {
    /// Approved or rejected.
    #[default]
    Approval,
}

/// What happens when the time of a gate is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// It counts as approved.
    Approve,
    /// It counts as rejected.
    Reject,
    /// The gate fails.
    #[default]
    Fail,
}

/// Submits another job and waits for it.
#[derive(Debug, Clone)]
pub struct SubmittedJob {
    /// Its job type. Whether it exists is found when the job runs.
    pub job_type: String,
    /// Its parameters.
    pub parameters: Params,
}
