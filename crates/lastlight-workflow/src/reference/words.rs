//! The words that fields may be, with what they stand for.

use crate::{Aggregation, Backoff, CatchUp, GateType, OnTimeout, Overlap, ParameterType};

/// The types of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeType {
    Task,
    Conditional,
    FanOut,
    FanIn,
    Gate,
    Job,
}

pub(crate) const NODE_TYPES: [(&str, NodeType); 6] = [
    ("task", NodeType::Task),
    ("conditional", NodeType::Conditional),
    ("fan_out", NodeType::FanOut),
    ("fan_in", NodeType::FanIn),
    ("gate", NodeType::Gate),
    ("job", NodeType::Job),
];

pub(crate) const PARAMETER_TYPES: [(&str, ParameterType); 6] = [
    (ParameterType::Text.name(), ParameterType::Text),
    (ParameterType::Int.name(), ParameterType::Int),
    (ParameterType::Float.name(), ParameterType::Float),
    (ParameterType::Bool.name(), ParameterType::Bool),
    (ParameterType::Dict.name(), ParameterType::Dict),
    (ParameterType::List.name(), ParameterType::List),
];

pub(crate) const AGGREGATIONS: [(&str, Aggregation); 6] = [
    (Aggregation::Collect.name(), Aggregation::Collect),
    (Aggregation::Sum.name(), Aggregation::Sum),
    (Aggregation::Count.name(), Aggregation::Count),
    (Aggregation::First.name(), Aggregation::First),
    (Aggregation::Last.name(), Aggregation::Last),
    (Aggregation::Concat.name(), Aggregation::Concat),
];

pub(crate) const GATE_TYPES: [(&str, GateType); 1] = [("approval", GateType::Approval)];

pub(crate) const ON_TIMEOUT: [(&str, OnTimeout); 3] =
    [("approve", OnTimeout::Approve), ("reject", OnTimeout::Reject), ("fail", OnTimeout::Fail)];

pub(crate) const BACKOFFS: [(&str, Backoff); 3] =
    [("exponential", Backoff::Exponential), ("linear", Backoff::Linear), ("fixed", Backoff::Fixed)];

pub(crate) const OVERLAPS: [(&str, Overlap); 3] =
    [("skip", Overlap::Skip), ("queue", Overlap::Queue), ("allow", Overlap::Allow)];

pub(crate) const CATCH_UPS: [(&str, CatchUp); 3] =
    [("none", CatchUp::None), ("last", CatchUp::Last), ("all", CatchUp::All)];

/// The words of a list.
pub(super) fn of<T, const N: usize>(words: &[(&'static str, T); N]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}
