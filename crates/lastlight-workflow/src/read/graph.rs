//! The graph of a workflow: dependencies resolved, circles found, nodes numbered.

use std::collections::BTreeSet;

use super::{
    draft::{Draft, DraftKind, DraftNode},
    nodes::FINALIZE,
    reader::{Placed, Reader},
};
use crate::{NodeNumber, Place};

/// The graph. Nodes are known by their index: their place in the file, `finalize` the last.
#[derive(Debug)]
pub(super) struct Graph {
    /// For each node, the nodes that must have ended before it.
    pub(super) edges: Vec<Vec<Edge>>,
    /// For each node, its number: its place in a topological order. Of nodes that could follow, the
    /// one that comes first in the file does, so the numbers depend on the file alone. Without
    /// meaning if there are circles, which are problems.
    pub(super) numbers: Vec<NodeNumber>,
    /// For each node, all nodes that have ended before it: the edges, and theirs, and so on.
    upstream: Vec<BTreeSet<usize>>,
}

/// A node that must have ended before another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) node: usize,
    pub(super) optional: bool,
    pub(super) branch: bool,
    /// Where the file says so.
    place: Place,
}

impl Graph {
    /// The graph of at most [`MOST_NODES`](crate::MOST_NODES) nodes.
    pub(super) fn new(reader: &mut Reader, draft: &Draft<'_>) -> Option<Self> {
        let nodes = &draft.nodes;
        let mut edges: Vec<Vec<Edge>> =
            nodes.iter().map(|node| dependencies(reader, nodes, node)).collect();
        add_branches(reader, nodes, &mut edges);
        add_finalize(nodes, &mut edges);
        let (order, circles) = order(&edges);
        for circle in circles {
            report(reader, nodes, &edges, &circle);
        }
        let number = |index| {
            let place = order.iter().position(|other| *other == index).unwrap_or(index);
            NodeNumber::new(place + 1)
        };
        let numbers = (0..nodes.len()).map(number).collect::<Option<Vec<_>>>()?;
        let upstream = (0..nodes.len()).map(|index| upstream(&edges, index)).collect();
        Some(Self { edges, numbers, upstream })
    }

    /// Whether a node has ended before another may start.
    pub(super) fn is_upstream(&self, node: usize, of: usize) -> bool {
        self.upstream.get(of).is_some_and(|upstream| upstream.contains(&node))
    }

    /// All nodes that have ended before this one, by their place in the file.
    pub(super) fn upstream(&self, of: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        self.upstream.get(of).into_iter().flatten().copied()
    }
}

/// The node with this name; `finalize` is none, since nothing can refer to it.
pub(super) fn find(nodes: &[DraftNode<'_>], name: &str) -> Option<usize> {
    let is_it = |node: &DraftNode<'_>| node.name == name && !is_finalize(node);
    nodes.iter().position(is_it)
}

pub(super) fn is_finalize(node: &DraftNode<'_>) -> bool {
    // One that could not be read has no kind.
    node.name == FINALIZE && matches!(node.kind, None | Some(DraftKind::Finalize(_)))
}

fn names<'a>(nodes: &'a [DraftNode<'_>]) -> impl Iterator<Item = &'a str> + Clone {
    nodes.iter().filter(|node| !is_finalize(node)).map(|node| node.name)
}

fn resolve(
    reader: &mut Reader,
    nodes: &[DraftNode<'_>],
    name: Placed<&str>,
    r#where: &str,
) -> Option<usize> {
    let found = find(nodes, name.value);
    if found.is_none() {
        if nodes.iter().any(|node| node.name == name.value) {
            let message =
                format!("{where} must not name finalize: it runs when all other nodes have ended");
            reader.problem(name.place, message);
        } else {
            reader.unknown(name, "node", r#where, names(nodes));
        }
    }
    found
}

fn dependencies(reader: &mut Reader, nodes: &[DraftNode<'_>], node: &DraftNode<'_>) -> Vec<Edge> {
    let r#where = format!("depends_on of node {:?}", node.name);
    let mut edges = Vec::with_capacity(node.depends_on.len());
    for dependency in &node.depends_on {
        if let Some(node) = resolve(reader, nodes, dependency.name, &r#where) {
            let (optional, place) = (dependency.optional, dependency.name.place);
            edges.push(Edge { node, optional, branch: false, place });
        }
    }
    edges
}

/// A node that a branch names depends on the conditional.
fn add_branches(reader: &mut Reader, nodes: &[DraftNode<'_>], edges: &mut [Vec<Edge>]) {
    for (conditional, node) in nodes.iter().enumerate() {
        let Some(DraftKind::Conditional(kind)) = &node.kind else { continue };
        for branch in &kind.branches {
            let r#where = format!("next of branch {:?} of node {:?}", branch.name, node.name);
            for next in &branch.next {
                let Some(target) = resolve(reader, nodes, *next, &r#where) else { continue };
                let edges = &mut edges[target];
                let other = edges.iter().find(|edge| edge.branch && edge.node != conditional);
                if let Some(other) = other {
                    let message = format!(
                        "branches of two conditionals, {:?} and {:?}, name node {:?}: only one \
                         conditional may choose it",
                        nodes[other.node].name, node.name, next.value
                    );
                    reader.problem(next.place, message);
                }
                match edges.iter_mut().find(|edge| edge.node == conditional) {
                    Some(edge) => edge.branch = true,
                    None => edges.push(Edge {
                        node: conditional,
                        optional: false,
                        branch: true,
                        place: next.place,
                    }),
                }
            }
        }
    }
}

/// `finalize` depends on all other nodes, whatever becomes of them.
fn add_finalize(nodes: &[DraftNode<'_>], edges: &mut [Vec<Edge>]) {
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| is_finalize(node)) {
        let others = (0..nodes.len()).filter(|other| *other != index);
        let edge = |node_before| Edge {
            node: node_before,
            optional: true,
            branch: false,
            place: node.place,
        };
        edges[index] = others.map(edge).collect();
    }
}

/// The topological order by Kahn's algorithm, without the nodes of circles and what depends on
/// them; and the circles, each a list of nodes of which each depends on the next.
fn order(edges: &[Vec<Edge>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut order = Vec::with_capacity(edges.len());
    let mut circles = Vec::new();
    let mut done = vec![false; edges.len()];
    loop {
        let is_ready =
            |index: &usize| !done[*index] && edges[*index].iter().all(|edge| done[edge.node]);
        if let Some(ready) = (0..edges.len()).find(is_ready) {
            done[ready] = true;
            // What depends on a circle has no place in the order.
            if circles.is_empty() {
                order.push(ready);
            }
        } else if let Some(circle) = circle(edges, &done) {
            circle.iter().for_each(|index| done[*index] = true);
            circles.push(circle);
        } else {
            return (order, circles);
        }
    }
}

/// A circle among the nodes that are not done, of which each has an edge to another.
fn circle(edges: &[Vec<Edge>], done: &[bool]) -> Option<Vec<usize>> {
    let mut path = vec![done.iter().position(|done| !done)?];
    loop {
        let last = *path.last()?;
        let next = edges[last].iter().find(|edge| !done[edge.node])?.node;
        if let Some(begin) = path.iter().position(|index| *index == next) {
            let mut circle = path.split_off(begin);
            // It begins with the node that comes first in the file.
            let first = circle.iter().enumerate().min_by_key(|(_, index)| **index)?.0;
            circle.rotate_left(first);
            return Some(circle);
        }
        path.push(next);
    }
}

fn report(reader: &mut Reader, nodes: &[DraftNode<'_>], edges: &[Vec<Edge>], circle: &[usize]) {
    let Some(first) = circle.first() else { return };
    // Each depends on the next, so the order in which they would run is the reverse.
    let names: Vec<&str> =
        std::iter::once(first).chain(circle.iter().rev()).map(|index| nodes[*index].name).collect();
    let next = circle.get(1).unwrap_or(first);
    let place = edges[*first].iter().find(|edge| edge.node == *next).map(|edge| edge.place);
    let message = format!("nodes must not wait for one another in a circle: {}", names.join(" → "));
    reader.problem(place.unwrap_or(nodes[*first].place), message);
}

fn upstream(edges: &[Vec<Edge>], of: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = edges[of].iter().map(|edge| edge.node).collect();
    while let Some(node) = open.pop() {
        if found.insert(node) {
            open.extend(edges[node].iter().map(|edge| edge.node));
        }
    }
    found
}
