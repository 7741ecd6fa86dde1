//! A workflow for people and for the API: as text, as Mermaid, as nodes and edges. Knows nothing of
//! how it was read.

mod graph;
mod mermaid;
mod text;

pub use graph::{Graph, GraphBranch, GraphDependency, GraphEdge, GraphNode};

use crate::{FanOut, Kind, Node, Source, Workflow};

impl Workflow {
    /// The nodes and edges, for an API.
    pub fn graph(&self) -> Graph {
        graph::graph(self)
    }

    /// The graph as text for a terminal: a line per node, in the order of their numbers, with lines
    /// from each node to those that depend on it.
    pub fn as_text(&self) -> String {
        text::text(self)
    }

    /// The graph as a flowchart of [Mermaid](https://mermaid.js.org).
    pub fn as_mermaid(&self) -> String {
        mermaid::mermaid(self)
    }
}

/// What a node does, in a few words: its handler, its condition, its source.
fn summary(workflow: &Workflow, node: &Node) -> String {
    match &node.kind {
        Kind::Task(task) | Kind::Finalize(task) => task.handler.clone(),
        Kind::Conditional(conditional) => conditional.condition.to_string(),
        Kind::FanOut(fan_out) => {
            format!("{} per item of {}", fan_out.task.handler, source(workflow, fan_out))
        }
        Kind::FanIn(fan_in) => fan_in.aggregation.name().to_owned(),
        Kind::Gate(_) => "approval".to_owned(),
        Kind::Job(job) => job.job_type.clone(),
    }
}

fn source(workflow: &Workflow, fan_out: &FanOut) -> String {
    match &fan_out.source {
        Source::Array(path) | Source::File(path) => path.to_string(),
        Source::Results { fan_out, fan_in } => {
            let named = workflow.node(fan_in.unwrap_or(*fan_out));
            named.map(|node| format!("{}.items", node.name)).unwrap_or_default()
        }
    }
}
