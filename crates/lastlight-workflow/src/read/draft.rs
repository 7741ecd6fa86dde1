//! A workflow as it is written: fields are checked one by one, names are not resolved yet.

use serde_json::{Map, Value};

use super::reader::Placed;
use crate::{
    Aggregation, Condition, Gate, Kept, Parameters, Place, Policy, Schedule, Tolerate, Validator,
    yaml::{Key, Located},
};

/// A file.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) name: Option<Placed<&'a str>>,
    pub(super) description: &'a str,
    pub(super) version: u32,
    pub(super) completed_kept: Option<Kept>,
    pub(super) failed_kept: Option<Kept>,
    pub(super) parameters: Parameters,
    pub(super) validators: Vec<Validator>,
    /// In the order of the file, then `finalize`.
    pub(super) nodes: Vec<DraftNode<'a>>,
    pub(super) schedules: Vec<Schedule>,
    pub(super) reversed_by: Option<&'a str>,
    pub(super) reverses: Vec<Placed<&'a str>>,
}

/// A node.
#[derive(Debug)]
pub(super) struct DraftNode<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) depends_on: Vec<DraftDependency<'a>>,
    pub(super) best_effort: bool,
    pub(super) when: Option<Placed<&'a str>>,
    pub(super) queue: Option<&'a str>,
    /// `None` if its type cannot be read, which is a problem already.
    pub(super) kind: Option<DraftKind<'a>>,
}

/// An item of `depends_on`.
#[derive(Debug, Clone, Copy)]
pub(super) struct DraftDependency<'a> {
    pub(super) name: Placed<&'a str>,
    pub(super) optional: bool,
}

/// What a node does.
#[derive(Debug)]
pub(super) enum DraftKind<'a> {
    Task(DraftTask<'a>),
    Conditional(DraftConditional<'a>),
    FanOut(DraftFanOut<'a>),
    FanIn(Aggregation),
    Gate(Gate),
    Job { job_type: &'a str, parameters: DraftParams<'a> },
    Finalize(DraftTask<'a>),
}

/// A call of a handler.
#[derive(Debug)]
pub(super) struct DraftTask<'a> {
    pub(super) handler: &'a str,
    pub(super) params: DraftParams<'a>,
    pub(super) constants: Map<String, Value>,
    pub(super) receives: Vec<(&'a Key, Placed<&'a str>)>,
    pub(super) policy: Policy,
}

/// Parameters of a call.
#[derive(Debug)]
pub(super) enum DraftParams<'a> {
    Names(Vec<Placed<&'a str>>),
    Mapping(&'a [(Key, Located)]),
    All,
}

/// A conditional.
#[derive(Debug)]
pub(super) struct DraftConditional<'a> {
    pub(super) condition: Option<Placed<&'a str>>,
    pub(super) branches: Vec<DraftBranch<'a>>,
}

/// A branch of a conditional.
#[derive(Debug)]
pub(super) struct DraftBranch<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) is_default: bool,
    pub(super) condition: Option<Condition>,
    pub(super) next: Vec<Placed<&'a str>>,
}

/// A fan-out.
#[derive(Debug)]
pub(super) struct DraftFanOut<'a> {
    /// `None` if it cannot be read.
    pub(super) source: Option<DraftSource<'a>>,
    pub(super) max_fan_out: u32,
    /// `None` if it cannot be read.
    pub(super) task: Option<DraftTask<'a>>,
    pub(super) tasks_per_message: u16,
    pub(super) tolerate: Tolerate,
}

/// Where items come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum DraftSource<'a> {
    Array(Placed<&'a str>),
    File(Placed<&'a str>),
}
