//! What a workflow is, once all its names are resolved: plain data. Knows nothing of how it was
//! written.

mod fill;
mod node;
mod parameter;
mod policy;
mod schedule;
mod validator;

use std::{collections::BTreeSet, sync::Arc};

pub use node::{
    Aggregation, Branch, Conditional, Dependency, FanIn, FanOut, Gate, GateType, Kind, Node,
    OnTimeout, Params, Source, SubmittedJob, Task,
};
pub use parameter::{Parameter, ParameterType, Parameters};
pub use policy::{Backoff, Policy, Retry, Tolerate};
pub use schedule::{CatchUp, Overlap, Schedule};
pub use validator::{FieldRule, FieldValue, Known, Validator, ValidatorRule};

use crate::{NodeNumber, Place, Problem};

/// A checked workflow. It can only be made by reading a file, so every name in it is resolved: a
/// node's dependencies and paths lead to nodes before it.
#[derive(Debug, Clone)]
pub struct Workflow {
    pub(crate) name: String,
    pub(crate) name_place: Place,
    pub(crate) description: String,
    pub(crate) version: u32,
    pub(crate) completed_kept: Option<Kept>,
    pub(crate) failed_kept: Option<Kept>,
    pub(crate) parameters: Parameters,
    pub(crate) validators: Vec<Validator>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) reversed_by: Option<String>,
    pub(crate) reverses: Vec<String>,
    pub(crate) file: String,
    pub(crate) source: Arc<str>,
    pub(crate) content_id: String,
    pub(crate) warnings: Vec<Problem>,
}

/// For how long jobs are kept after their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// For this number of days, from 1 to 36,500.
    Days(u16),
    /// Until somebody deletes them.
    Forever,
}

impl Workflow {
    /// The name, which is the job type: 1 to 50 letters, digits, `_` and `-`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the file has the name.
    pub fn name_place(&self) -> Place {
        self.name_place
    }

    /// What it does, for users who choose a job type; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The version that its authors gave it; 1 without one.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// For how long completed and cancelled jobs are kept after their end, if the file says so.
    pub fn completed_kept(&self) -> Option<Kept> {
        self.completed_kept
    }

    /// For how long failed jobs are kept after their end, if the file says so.
    pub fn failed_kept(&self) -> Option<Kept> {
        self.failed_kept
    }

    /// The parameters of a submission.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The checks at submission, in the file's order.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The nodes by number, from 1: each after all nodes that it depends on. At least one, at most
    /// [`MOST_NODES`](crate::MOST_NODES). `finalize`, if there is one, is the last.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this number.
    pub fn node(&self, number: NodeNumber) -> Option<&Node> {
        self.nodes.get(usize::from(number.get()) - 1)
    }

    /// The node with this name.
    pub fn node_named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// When its jobs are submitted by themselves, in the file's order.
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// The workflow that undoes this one: shown, not acted on.
    pub fn reversed_by(&self) -> Option<&str> {
        self.reversed_by.as_deref()
    }

    /// The workflows that this one undoes: shown, not acted on.
    pub fn reverses(&self) -> &[String] {
        &self.reverses
    }

    /// The file, as it was named to the reader.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text of the file. Reading it again gives the same workflow with the same numbers.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// The SHA-256 of the text, as 64 lower-case hex digits.
    pub fn content_id(&self) -> &str {
        &self.content_id
    }

    /// What is allowed but probably not meant, such as a text with a template that is not all of
    /// the text, by place.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The names of all handlers.
    pub fn handlers(&self) -> BTreeSet<&str> {
        self.nodes.iter().filter_map(Node::handler).collect()
    }
}
