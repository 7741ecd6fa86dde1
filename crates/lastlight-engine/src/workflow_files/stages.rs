//! The nodes of a workflow as stages of a graph.

use std::{borrow::Cow, collections::BTreeSet};

use lastlight_workflow::{Dependency, Kind, Node, NodeNumber, OnTimeout, Tolerate, Workflow};

use crate::{
    job::{
        FailurePolicy, StageOptions,
        erased::{Handlers, StageSpec},
    },
    model::{DEFAULT_QUEUE, GateDecision, Stage, StageInGraph, StageKind, TasksPerMessage},
};

/// The stage of a node: a workflow has at most as many nodes as a job has stages.
pub(super) fn stage_of(node: NodeNumber) -> Option<Stage> {
    Stage::try_from(node.get()).ok()
}

/// The node of a stage.
pub(super) fn node_of(workflow: &Workflow, stage: Stage) -> Option<&Node> {
    workflow.node(NodeNumber::new(usize::from(stage.get()))?)
}

/// All stages of a workflow, in order.
pub(super) fn stages_of(workflow: &Workflow, handlers: &Handlers) -> Vec<StageSpec> {
    workflow.nodes().iter().map(|node| stage(workflow, node, handlers)).collect()
}

fn stage(workflow: &Workflow, node: &Node, handlers: &Handlers) -> StageSpec {
    let is_needed = |dependency: &Dependency| {
        let is_best_effort =
            workflow.node(dependency.node).is_some_and(|before| before.best_effort);
        // What a branch names does not run if its conditional did not choose at all.
        dependency.branch || !dependency.optional && !is_best_effort
    };
    let (needs, follows): (Vec<&Dependency>, Vec<&Dependency>) =
        node.depends_on.iter().partition(|dependency| is_needed(dependency));
    let numbers = |dependencies: Vec<&Dependency>| -> BTreeSet<Stage> {
        dependencies.iter().filter_map(|dependency| stage_of(dependency.node)).collect()
    };
    StageSpec {
        task_type: node.name.clone().into(),
        options: options(node),
        place: Some(StageInGraph {
            name: node.name.clone(),
            kind: kind(&node.kind),
            needs: numbers(needs),
            follows: numbers(follows),
            best_effort: node.best_effort,
            is_finalize: matches!(node.kind, Kind::Finalize(_)),
            timeout: timeout(&node.kind),
        }),
        handler: node.handler().map(str::to_owned),
        queue: queue(node, handlers).map(Cow::Owned),
    }
}

/// The queue of the workers that run its tasks: the one that it names, or the default queue if this
/// app does not have its handler.
fn queue(node: &Node, handlers: &Handlers) -> Option<String> {
    let handler = node.handler()?;
    let is_here = || handlers.names().any(|name| name == handler);
    let default = || (!is_here()).then(|| DEFAULT_QUEUE.to_owned());
    node.queue.clone().or_else(default)
}

fn kind(kind: &Kind) -> StageKind {
    match kind {
        Kind::Task(_) | Kind::FanOut(_) | Kind::Finalize(_) => StageKind::Tasks,
        Kind::Conditional(_) | Kind::FanIn(_) => StageKind::Decision,
        Kind::Gate(_) => StageKind::Gate,
        Kind::Job(_) => StageKind::Job,
    }
}

fn timeout(kind: &Kind) -> Option<(u32, GateDecision)> {
    let Kind::Gate(gate) = kind else { return None };
    let seconds = u32::try_from(gate.timeout?.as_secs()).unwrap_or(u32::MAX).max(1);
    Some((
        seconds,
        match gate.on_timeout {
            OnTimeout::Approve => GateDecision::Approve,
            OnTimeout::Reject => GateDecision::Reject,
            OnTimeout::Fail => GateDecision::Fail,
        },
    ))
}

fn options(node: &Node) -> StageOptions {
    match &node.kind {
        Kind::FanOut(fan_out) => {
            let per_message = TasksPerMessage::try_from(u64::from(fan_out.tasks_per_message));
            StageOptions::default()
                .tasks_per_message(per_message.unwrap_or(TasksPerMessage::ONE))
                .tolerate(match fan_out.tolerate {
                    Tolerate::Nothing => FailurePolicy::FailJob,
                    Tolerate::Share(share) => FailurePolicy::TolerateShare(share),
                    Tolerate::Count(count) => FailurePolicy::TolerateCount(count),
                })
        }
        _ => StageOptions::default(),
    }
}
