//! A workflow as a flowchart of Mermaid.

use std::fmt::Write;

use super::{graph::branches, summary};
use crate::{Branch, Dependency, Kind, Node, Workflow};

pub(super) fn mermaid(workflow: &Workflow) -> String {
    let mut chart = String::from("flowchart TD\n");
    for node in workflow.nodes() {
        let (open, close) = shape(&node.kind);
        let label = format!("{}<br/>{}", escaped(&node.name), escaped(&summary(workflow, node)));
        // Writing to a string never fails.
        let _ = writeln!(chart, "    n{}{open}\"{label}\"{close}", node.number);
    }
    for node in workflow.nodes().iter().filter(|node| !matches!(node.kind, Kind::Finalize(_))) {
        for before in &node.depends_on {
            let _ = writeln!(chart, "    {}", edge(workflow, node, before));
        }
    }
    if let Some(finalize) = workflow.nodes().iter().find(|n| matches!(n.kind, Kind::Finalize(_))) {
        for node in workflow.nodes().iter().filter(|node| is_last(workflow, node)) {
            let _ = writeln!(chart, "    n{} -.-> n{}", node.number, finalize.number);
        }
    }
    chart
}

/// Whether only `finalize` depends on a node.
fn is_last(workflow: &Workflow, node: &Node) -> bool {
    let others = workflow.nodes().iter().filter(|node| !matches!(node.kind, Kind::Finalize(_)));
    let mut dependencies = others.flat_map(|other| &other.depends_on);
    !matches!(node.kind, Kind::Finalize(_))
        && !dependencies.any(|dependency| dependency.node == node.number)
}

const fn shape(kind: &Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Task(_) => ("[", "]"),
        Kind::Conditional(_) => ("{", "}"),
        Kind::FanOut(_) => ("[/", "\\]"),
        Kind::FanIn(_) => ("[\\", "/]"),
        Kind::Gate(_) => ("{{", "}}"),
        Kind::Job(_) => ("[[", "]]"),
        Kind::Finalize(_) => ("([", "])"),
    }
}

fn edge(workflow: &Workflow, node: &Node, before: &Dependency) -> String {
    let label = |branch: &Branch| match &branch.condition {
        Some(condition) => {
            format!("{}: {}", escaped(&branch.name), escaped(&condition.to_string()))
        }
        None => format!("{}: default", escaped(&branch.name)),
    };
    let labels: Vec<String> = branches(workflow, node, before).map(label).collect();
    let label = match labels.as_slice() {
        [] => String::new(),
        labels => format!("|\"{}\"|", labels.join(", ")),
    };
    let arrow = if before.optional { "-.->" } else { "-->" };
    format!("n{} {arrow}{label} n{}", before.node, node.number)
}

/// A text in quotes: without the characters that have a meaning in labels.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '#' => escaped.push_str("#35;"),
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '&' => escaped.push_str("#amp;"),
            '`' => escaped.push_str("#96;"),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}
