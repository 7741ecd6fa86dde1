//! Reads nodes: the fields that all of them have, and those of each type.

use std::collections::{HashMap, HashSet};

use super::{
    draft::{DraftDependency, DraftKind, DraftNode},
    kinds,
    reader::{Fields, NAME, Placed, Reader, is_name},
};
use crate::{
    names::{did_you_mean, shown},
    reference::{ITEM_TASK, NODE_TYPES, NodeType},
    yaml::{Content, Key, Located},
};

/// The name of the last node, which is written outside of `nodes`.
pub(super) const FINALIZE: &str = "finalize";

/// Names with a meaning of their own in paths and templates.
const RESERVED: [&str; 2] = ["params", "inputs"];

/// Reads the field `nodes`.
pub(super) fn nodes<'a>(reader: &mut Reader, workflow: &Fields<'a>) -> Vec<DraftNode<'a>> {
    const ALLOWED: &str = "a mapping of names to nodes, at least one";
    let entries = match workflow.get("nodes").map(|value| (&value.content, value)) {
        Some((Content::Mapping(entries), _)) if !entries.is_empty() => entries,
        Some((_, value)) => {
            reader.must_be(value, "nodes of the file", ALLOWED);
            return Vec::new();
        }
        None => {
            reader.missing(workflow, "nodes", ALLOWED);
            return Vec::new();
        }
    };
    let mut names = HashSet::new();
    let mut nodes = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let read = node(reader, key, value);
        // One that is there twice is a problem already.
        if names.insert(read.name) {
            nodes.push(read);
        }
    }
    nodes
}

fn node<'a>(reader: &mut Reader, key: &'a Key, value: &'a Located) -> DraftNode<'a> {
    check_name(reader, key);
    let mut node = DraftNode {
        name: &key.text,
        place: key.place,
        depends_on: Vec::new(),
        best_effort: false,
        when: None,
        queue: None,
        kind: None,
    };
    let Some(fields) = reader.fields(value, format!("node {:?}", key.text), key.place) else {
        return node;
    };
    node.depends_on = depends_on(reader, &fields);
    let Some(r#type) = type_of(reader, &fields) else { return node };
    deny_unknown(reader, &fields, r#type);
    node.best_effort = reader.flag(&fields, "best_effort");
    node.when = reader.text(&fields, "when", "a path", |_| true);
    node.queue = reader.text(&fields, "queue", NAME, is_name).map(|queue| queue.value);
    node.kind = Some(match r#type {
        NodeType::Task => DraftKind::Task(kinds::task(reader, &fields)),
        NodeType::Conditional => DraftKind::Conditional(kinds::conditional(reader, &fields)),
        NodeType::FanOut => DraftKind::FanOut(kinds::fan_out(reader, &fields)),
        NodeType::FanIn => DraftKind::FanIn(kinds::aggregation(reader, &fields)),
        NodeType::Gate => DraftKind::Gate(kinds::gate(reader, &fields)),
        NodeType::Job => kinds::job(reader, &fields),
    });
    node
}

/// Reads the field `finalize`.
pub(super) fn finalize<'a>(
    reader: &mut Reader,
    workflow: &Fields<'a>,
    nodes: &[DraftNode<'a>],
) -> Option<DraftNode<'a>> {
    let value = workflow.get(FINALIZE)?;
    let place = workflow.place_of(FINALIZE);
    if let Some(node) = nodes.iter().find(|node| node.name == FINALIZE) {
        let message = format!(
            "no node may be named finalize: the workflow has the field finalize in line {}, which \
             becomes a node of this name",
            place.line
        );
        reader.problem(node.place, message);
    }
    let fields = reader.fields(value, FINALIZE, place)?;
    let kind = Some(kinds::finalize(reader, &fields));
    Some(DraftNode {
        name: FINALIZE,
        place,
        depends_on: Vec::new(),
        best_effort: true,
        when: None,
        queue: reader.text(&fields, "queue", NAME, is_name).map(|queue| queue.value),
        kind,
    })
}

fn check_name(reader: &mut Reader, key: &Key) {
    if RESERVED.contains(&key.text.as_str()) {
        let message = format!(
            "no node may be named {}: in paths and templates, params and inputs are the parameters \
             of the job",
            key.text
        );
        reader.problem(key.place, message);
    } else if !is_name(&key.text) {
        let shown = shown(&key.text.as_str().into());
        reader.problem(key.place, format!("the name of a node must be {NAME}, not {shown}"));
    }
}

fn type_of(reader: &mut Reader, fields: &Fields<'_>) -> Option<NodeType> {
    if fields.get("type").is_none() {
        let types = NODE_TYPES.map(|(name, _)| name).join(" or ");
        reader.missing(fields, "type", &types);
    }
    reader.choice(fields, "type", &NODE_TYPES)
}

fn deny_unknown(reader: &mut Reader, fields: &Fields<'_>, r#type: NodeType) {
    // Fields of the task that a fan-out describes.
    let of_task = ITEM_TASK.names();
    let allowed = r#type.mapping().names();
    for key in fields.keys().filter(|key| !allowed.contains(&key.text.as_str())) {
        if reader.is_full() {
            return;
        }
        let name = key.text.as_str();
        let hint = if r#type == NodeType::FanOut && of_task.contains(&name) {
            "; it belongs into the field task".to_owned()
        } else {
            did_you_mean(name, allowed.iter().copied())
        };
        let message = format!(
            "unknown field {name:?} of {}: {} may have {}{hint}",
            fields.what,
            r#type.mapping().noun,
            allowed.join(", ")
        );
        reader.problem(key.place, message);
    }
}

fn depends_on<'a>(reader: &mut Reader, fields: &Fields<'a>) -> Vec<DraftDependency<'a>> {
    let allowed = "the name of a node, with ? after it if the node may fail or be skipped";
    let names = reader.texts(fields, "depends_on", allowed);
    let mut dependencies: Vec<DraftDependency<'_>> = Vec::with_capacity(names.len());
    let mut first: HashMap<&str, bool> = HashMap::new();
    for Placed { value, place } in names {
        let name = value.strip_suffix('?').unwrap_or(value).trim_end();
        let optional = value.ends_with('?');
        match first.get(name) {
            None => {
                first.insert(name, optional);
                dependencies
                    .push(DraftDependency { name: Placed { value: name, place }, optional });
            }
            Some(first) if *first == optional => {}
            Some(first) => {
                let counts = if *first { "with ?" } else { "without ?" };
                let message = format!(
                    "depends_on of {} names {name:?} with ? and without: the first counts, {counts}",
                    fields.what
                );
                reader.warning(place, message);
            }
        }
    }
    dependencies
}
