//! A workflow as text for a terminal.
//!
//! ```text
//! ●─┐     1  download_source  task         raster_download
//! ├─●     2  validate         task         raster_validate   after 1
//! ```
//!
//! Each node that others depend on has a column, from its own line to that of its last dependent.

use std::fmt::Write;

use super::summary;
use crate::{Dependency, Kind, Node, NodeNumber, Workflow};

pub(super) fn text(workflow: &Workflow) -> String {
    let mut text = format!("{} (version {})\n", workflow.name(), workflow.version());
    if !workflow.description().is_empty() {
        // Writing to a string never fails.
        let _ = writeln!(text, "{}", one_line(workflow.description()));
    }
    text.push('\n');
    let lanes = lanes(workflow);
    let rows: Vec<Row> =
        workflow.nodes().iter().zip(&lanes).map(|(node, lane)| row(workflow, node, lane)).collect();
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let lane = width(|row| &row.lane).unwrap_or(0);
    let name = width(|row| &row.name).unwrap_or(0);
    let kind = width(|row| row.kind).unwrap_or(0);
    for row in &rows {
        let line = format!(
            "{:lane$}  {:>3}  {:name$}  {:kind$}  {}",
            row.lane, row.number, row.name, row.kind, row.does
        );
        let _ = writeln!(text, "{}", line.trim_end());
        for more in &row.more {
            let _ = writeln!(text, "{:lane$}       {:name$}  {more}", row.below, "");
        }
    }
    text
}

/// What is written for a node.
struct Row {
    lane: String,
    /// The columns below the node, for its further lines.
    below: String,
    number: NodeNumber,
    name: String,
    kind: &'static str,
    does: String,
    more: Vec<String>,
}

fn row(workflow: &Workflow, node: &Node, (lane, below): &(String, String)) -> Row {
    let mut does = vec![one_line(&summary(workflow, node))];
    match (&node.kind, after(workflow, node)) {
        (Kind::Finalize(_), _) => does.push("after all, whatever became of them".to_owned()),
        (_, after) if after.is_empty() => {}
        (_, after) => does.push(format!("after {}", after.join(", "))),
    }
    does.extend(node.when.as_ref().map(|when| format!("when {when}")));
    does.extend(node.queue.as_ref().map(|queue| format!("on {queue}")));
    if node.best_effort && !matches!(node.kind, Kind::Finalize(_)) {
        does.push("best effort".to_owned());
    }
    Row {
        lane: lane.clone(),
        below: below.clone(),
        number: node.number,
        name: node.name.clone(),
        kind: node.kind.name(),
        does: does.join("; "),
        more: branches(workflow, node),
    }
}

fn name(workflow: &Workflow, number: NodeNumber) -> &str {
    workflow.node(number).map_or("", |node| &node.name)
}

fn after(workflow: &Workflow, node: &Node) -> Vec<String> {
    let before = |dependency: &Dependency| {
        let mark = if dependency.optional { "?" } else { "" };
        format!("{}{mark}", name(workflow, dependency.node))
    };
    node.depends_on.iter().map(before).collect()
}

fn branches(workflow: &Workflow, node: &Node) -> Vec<String> {
    let Kind::Conditional(conditional) = &node.kind else { return Vec::new() };
    let line = |branch: &crate::Branch| {
        let when = branch.condition.as_ref().map_or("otherwise".to_owned(), ToString::to_string);
        let next: Vec<&str> = branch.next.iter().map(|next| name(workflow, *next)).collect();
        let next = if next.is_empty() { "nothing".to_owned() } else { next.join(", ") };
        format!("{} → {}: {next}", one_line(&when), one_line(&branch.name))
    };
    conditional.branches.iter().map(line).collect()
}

fn one_line(text: &str) -> String {
    let is_between = |character: char| character.is_whitespace() || character.is_control();
    text.split(is_between).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// For each node, its part of the graph, and what is below it.
fn lanes(workflow: &Workflow) -> Vec<(String, String)> {
    let nodes = workflow.nodes();
    let drawn = |node: &&Node| !matches!(node.kind, Kind::Finalize(_));
    let last_dependent = |number: NodeNumber| {
        let depends = |node: &&Node| node.depends_on.iter().any(|before| before.node == number);
        nodes.iter().filter(drawn).filter(depends).map(|node| node.number).max()
    };
    // The node whose column it is; `None` for a free column.
    let mut columns: Vec<Option<NodeNumber>> = Vec::new();
    let mut lines = Vec::with_capacity(nodes.len());
    for node in nodes {
        let before: Vec<usize> = match drawn(&node) {
            true => node
                .depends_on
                .iter()
                .filter_map(|before| columns.iter().position(|it| *it == Some(before.node)))
                .collect(),
            false => Vec::new(),
        };
        let ends = |column: usize| {
            columns[column].is_none_or(|it| last_dependent(it).is_none_or(|it| it <= node.number))
        };
        let ending: Vec<usize> = before.iter().copied().filter(|it| ends(*it)).collect();
        // Below the one that it continues, or in the first free column to the right of all.
        let free = |from: usize| {
            let taken = |column: usize| columns.get(column).is_some_and(Option::is_some);
            (from..).find(|column| !taken(*column)).unwrap_or(columns.len())
        };
        let own = ending
            .first()
            .copied()
            .unwrap_or_else(|| free(before.iter().max().map_or(0, |right_most| right_most + 1)));
        let line = line(&columns, own, &before, &ending);
        if own == columns.len() {
            columns.push(None);
        }
        ending.iter().for_each(|column| columns[*column] = None);
        columns[own] = last_dependent(node.number).map(|_| node.number);
        let below = columns.iter().map(|it| if it.is_some() { "│ " } else { "  " });
        lines.push((line, below.collect::<String>().trim_end().to_owned()));
        while columns.last() == Some(&None) {
            columns.pop();
        }
    }
    lines
}

/// The line of a node in column `own` that depends on the nodes of the columns `before`.
fn line(columns: &[Option<NodeNumber>], own: usize, before: &[usize], ending: &[usize]) -> String {
    let left = before.iter().copied().chain([own]).min().unwrap_or(own);
    let right = before.iter().copied().chain([own]).max().unwrap_or(own);
    let mut line = String::new();
    for column in 0..columns.len().max(own + 1) {
        let is_open = columns.get(column).is_some_and(Option::is_some);
        let is_crossed = left < column && column < right;
        line.push(if column == own {
            '●'
        } else if before.contains(&column) {
            match (ending.contains(&column), column == left, column == right) {
                (true, true, _) => '└',
                (true, _, true) => '┘',
                (true, ..) => '┴',
                (false, true, _) => '├',
                (false, _, true) => '┤',
                (false, ..) => '┼',
            }
        } else {
            match (is_open, is_crossed) {
                (true, false) => '│',
                (true, true) => '╪',
                (false, true) => '─',
                (false, false) => ' ',
            }
        });
        line.push(if left <= column && column < right { '─' } else { ' ' });
    }
    line.trim_end().to_owned()
}
