//! Reads a file into a workflow. All problems are found together: a field that cannot be read does
//! not keep the others from being checked. Knows no folders.

mod compile;
mod draft;
mod graph;
mod kinds;
mod nodes;
mod parameters;
mod paths;
mod reader;
mod schedules;
mod templates;
mod validators;

use std::{fmt::Write, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    Known, LARGEST_FILE, MOST_NODES, Place, Problem, Problems, Workflow,
    limits::VERSION,
    reference::FILE,
    yaml::{self, Content, Located},
};
use draft::Draft;
use graph::Graph;
use reader::{NAME, Reader, is_name};

impl Workflow {
    /// Reads the text of a file. `file` is named in problems.
    ///
    /// # Errors
    /// All problems of the text, by place.
    pub fn read(file: &str, text: &str, known: &Known) -> Result<Self, Problems> {
        let problems = |workflow: Option<String>, problems: Vec<Problem>| Problems {
            file: file.to_owned(),
            workflow,
            problems,
        };
        if text.len() > LARGEST_FILE {
            let problem = Problem { place: Place::START, message: too_large(text.len() as u64) };
            return Err(problems(written_name(text), vec![problem]));
        }
        let mut reader = Reader::default();
        let tree = yaml::read(text, &mut reader.problems)
            .map_err(|problem| problems(written_name(text), vec![problem]))?;
        let read = read(&mut reader, &tree, known);
        match read {
            Some(workflow) if reader.problems.is_empty() => {
                reader.warnings.sort();
                Ok(Self {
                    file: file.to_owned(),
                    source: Arc::from(text),
                    content_id: content_id(text),
                    warnings: reader.warnings,
                    ..workflow
                })
            }
            _ => Err(problems(name_of(&tree), reader.into_problems())),
        }
    }
}

/// The workflow of a tree; only without problems it is complete.
fn read(reader: &mut Reader, tree: &Located, known: &Known) -> Option<Workflow> {
    let draft = draft(reader, tree, known)?;
    let count = draft.nodes.len();
    if count > MOST_NODES {
        let message =
            format!("a workflow may have at most {MOST_NODES} nodes with finalize, not {count}");
        reader.problem(draft.nodes.get(MOST_NODES)?.place, message);
        return None;
    }
    let graph = Graph::new(reader, &draft)?;
    let nodes = compile::nodes(reader, &draft, &graph);
    Some(Workflow {
        name: draft.name?.value.to_owned(),
        name_place: draft.name?.place,
        description: draft.description.to_owned(),
        version: draft.version,
        completed_kept: draft.completed_kept,
        failed_kept: draft.failed_kept,
        parameters: draft.parameters,
        validators: draft.validators,
        nodes,
        schedules: draft.schedules,
        reversed_by: draft.reversed_by.map(str::to_owned),
        reverses: draft.reverses.iter().map(|name| name.value.to_owned()).collect(),
        file: String::new(),
        source: Arc::from(""),
        content_id: String::new(),
        warnings: Vec::new(),
    })
}

fn draft<'a>(reader: &mut Reader, tree: &'a Located, known: &Known) -> Option<Draft<'a>> {
    if tree.is_null() {
        reader.problem(tree.place, "the file is empty: it must have a workflow");
        return None;
    }
    let fields = reader.fields(tree, "the file", tree.place)?;
    reader.deny_unknown(&fields, &FILE);
    let name = reader.required_text(&fields, "workflow", NAME, is_name);
    let description = reader.text(&fields, "description", "text", |_| true);
    let version = reader.whole(&fields, "version", VERSION);
    let completed_kept = reader.kept(&fields, "retention_completed_days");
    let failed_kept = reader.kept(&fields, "retention_failed_days");
    let parameters = parameters::of_file(reader, &fields);
    let validators = validators::validators(reader, &fields, &parameters, known);
    let mut nodes = nodes::nodes(reader, &fields);
    nodes.extend(nodes::finalize(reader, &fields, &nodes));
    let schedules = schedules::schedules(reader, &fields, &parameters);
    let reversed_by = reader.text(&fields, "reversed_by", NAME, is_name);
    let reverses = reader.texts(&fields, "reverses", "the name of a workflow");
    Some(Draft {
        name,
        description: description.map(|text| text.value).unwrap_or_default(),
        version: version.and_then(|version| u32::try_from(version).ok()).unwrap_or(1),
        completed_kept,
        failed_kept,
        parameters,
        validators,
        nodes,
        schedules,
        reversed_by: reversed_by.map(|name| name.value),
        reverses,
    })
}

/// The problem with a file of this size in bytes.
pub(crate) fn too_large(size: u64) -> String {
    format!("a workflow file may have at most {LARGEST_FILE} bytes, not {size}")
}

/// The name that a workflow with problems has.
fn name_of(tree: &Located) -> Option<String> {
    let Content::Mapping(entries) = &tree.content else { return None };
    let (_, value) = entries.iter().find(|(key, _)| key.text == "workflow")?;
    match &value.content {
        Content::Text(name) if is_name(name) => Some(name.clone()),
        _ => None,
    }
}

/// The name in a text that is no YAML: that of its line with `workflow:`.
pub(crate) fn written_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("workflow:"))?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let name = value.trim_matches(['"', '\'']);
    is_name(name).then(|| name.to_owned())
}

fn content_id(text: &str) -> String {
    let mut id = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string never fails.
        let _ = write!(id, "{byte:02x}");
    }
    id
}
