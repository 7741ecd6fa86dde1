//! The nodes and edges of a workflow as data.

use serde::Serialize;

use super::summary;
use crate::{Dependency, Kind, Node, Workflow};

/// The graph of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The nodes by number.
    pub nodes: Vec<GraphNode>,
    /// An edge per dependency, by the number of the dependent. Those of `finalize`, which depends on
    /// all other nodes, are left out.
    pub edges: Vec<GraphEdge>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphNode {
    /// Its number, which is that of its stage.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// Its type as in files; `finalize` for the last node.
    pub kind: &'static str,
    /// What it does, in a few words: its handler, condition or source.
    pub summary: String,
    /// The handler of its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The job type that it submits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
    /// The workers that run its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The path that says whether it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Its failure fails neither its dependents nor the job.
    pub best_effort: bool,
    /// The nodes that must have ended before it.
    pub depends_on: Vec<GraphDependency>,
    /// The branches of a conditional.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<GraphBranch>,
}

/// A node that must have ended before another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphDependency {
    /// Its number.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// Its failure, or that it was skipped, does not skip the dependent.
    pub optional: bool,
}

/// A branch of a conditional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphBranch {
    /// Its name.
    pub name: String,
    /// When it is chosen; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The numbers of the nodes that run if it is chosen.
    pub next: Vec<u8>,
}

/// An edge from a node to one that depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphEdge {
    /// The number of the node that must have ended.
    pub from: u8,
    /// The number of the dependent.
    pub to: u8,
    /// The failure of the first, or that it was skipped, does not skip the second.
    pub optional: bool,
    /// The branches that must be chosen, one of them, for the second to run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
}

pub(super) fn graph(workflow: &Workflow) -> Graph {
    let nodes = workflow.nodes().iter();
    let edges = nodes.clone().filter(|node| !matches!(node.kind, Kind::Finalize(_)));
    Graph {
        nodes: nodes.map(|node| graph_node(workflow, node)).collect(),
        edges: edges
            .flat_map(|node| node.depends_on.iter().map(|before| edge(workflow, node, before)))
            .collect(),
    }
}

fn graph_node(workflow: &Workflow, node: &Node) -> GraphNode {
    let dependency = |dependency: &Dependency| GraphDependency {
        number: dependency.node.get(),
        name: workflow.node(dependency.node).map(|node| node.name.clone()).unwrap_or_default(),
        optional: dependency.optional,
    };
    let branches = match &node.kind {
        Kind::Conditional(conditional) => conditional.branches.as_slice(),
        _ => &[],
    };
    let branch = |branch: &crate::Branch| GraphBranch {
        name: branch.name.clone(),
        condition: branch.condition.as_ref().map(ToString::to_string),
        next: branch.next.iter().map(|node| node.get()).collect(),
    };
    GraphNode {
        number: node.number.get(),
        name: node.name.clone(),
        kind: node.kind.name(),
        summary: summary(workflow, node),
        handler: node.handler().map(str::to_owned),
        job_type: match &node.kind {
            Kind::Job(job) => Some(job.job_type.clone()),
            _ => None,
        },
        queue: node.queue.clone(),
        when: node.when.as_ref().map(ToString::to_string),
        best_effort: node.best_effort,
        depends_on: node.depends_on.iter().map(dependency).collect(),
        branches: branches.iter().map(branch).collect(),
    }
}

fn edge(workflow: &Workflow, node: &Node, before: &Dependency) -> GraphEdge {
    GraphEdge {
        from: before.node.get(),
        to: node.number.get(),
        optional: before.optional,
        branches: branches(workflow, node, before).map(|branch| branch.name.clone()).collect(),
    }
}

/// The branches of a dependency that name the dependent.
pub(super) fn branches<'a>(
    workflow: &'a Workflow,
    node: &'a Node,
    before: &Dependency,
) -> impl Iterator<Item = &'a crate::Branch> {
    let branches = match workflow.node(before.node).map(|before| &before.kind) {
        Some(Kind::Conditional(conditional)) if before.branch => conditional.branches.as_slice(),
        _ => &[],
    };
    branches.iter().filter(|branch| branch.next.contains(&node.number))
}
