//! Makes the nodes of a workflow from a draft and its graph: paths and templates are resolved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;

use super::{
    draft::{
        Draft, DraftBranch, DraftConditional, DraftFanOut, DraftKind, DraftNode, DraftParams,
        DraftSource, DraftTask,
    },
    graph::{Edge, Graph, find},
    paths::Paths,
    reader::Reader,
};
use crate::{
    Branch, Conditional, Dependency, FanIn, FanOut, Kind, Node, NodeNumber, Params, Source,
    SubmittedJob, Task, Template, ValuePath,
    yaml::{Key, Located},
};

/// The nodes by number. Incomplete if there are problems.
pub(super) fn nodes(reader: &mut Reader, draft: &Draft<'_>, graph: &Graph) -> Vec<Node> {
    let nodes = (0..draft.nodes.len()).filter_map(|index| node(reader, draft, graph, index));
    let mut nodes: Vec<Node> = nodes.collect();
    nodes.sort_by_key(|node| node.number);
    nodes
}

fn node(reader: &mut Reader, draft: &Draft<'_>, graph: &Graph, index: usize) -> Option<Node> {
    let node = draft.nodes.get(index)?;
    let what = match &node.kind {
        Some(DraftKind::Finalize(_)) => node.name.to_owned(),
        _ => format!("node {:?}", node.name),
    };
    let mut compiler = Compiler { paths: Paths { draft, graph, index, what }, reader };
    let when = compiler.when(node);
    let kind = compiler.kind(node.kind.as_ref()?)?;
    let dependency = |edge: &Edge| Dependency {
        node: graph.numbers[edge.node],
        optional: edge.optional,
        branch: edge.branch,
    };
    let mut depends_on: Vec<Dependency> = graph.edges[index].iter().map(dependency).collect();
    depends_on.sort_by_key(|dependency| dependency.node);
    let reads = reads(when.as_ref(), &kind);
    Some(Node {
        number: graph.numbers[index],
        name: node.name.to_owned(),
        kind,
        depends_on,
        best_effort: node.best_effort,
        when,
        queue: node.queue.map(str::to_owned),
        reads,
    })
}

struct Compiler<'r, 'd> {
    paths: Paths<'d>,
    reader: &'r mut Reader,
}

impl Compiler<'_, '_> {
    fn when(&mut self, node: &DraftNode<'_>) -> Option<ValuePath> {
        let path = node.when?;
        let own = node.kind.as_ref().map(own_parameters).unwrap_or_default();
        self.paths.resolve_with_own(self.reader, path, "when", &own)
    }

    /// `None` if it has a problem.
    fn kind(&mut self, kind: &DraftKind<'_>) -> Option<Kind> {
        Some(match kind {
            DraftKind::Task(task) => Kind::Task(self.task(task)),
            DraftKind::Finalize(task) => Kind::Finalize(self.task(task)),
            DraftKind::Conditional(conditional) => {
                Kind::Conditional(self.conditional(conditional)?)
            }
            DraftKind::FanOut(fan_out) => Kind::FanOut(self.fan_out(fan_out)?),
            DraftKind::FanIn(aggregation) => {
                Kind::FanIn(FanIn { fan_out: self.only_fan_out()?, aggregation: *aggregation })
            }
            DraftKind::Gate(gate) => Kind::Gate(*gate),
            DraftKind::Job { job_type, parameters } => Kind::Job(SubmittedJob {
                job_type: (*job_type).to_owned(),
                parameters: self.params(parameters, "parameters"),
            }),
        })
    }

    fn task(&mut self, task: &DraftTask<'_>) -> Task {
        let mut receives = BTreeMap::new();
        for (name, path) in &task.receives {
            let field = format!("receives.{}", name.text);
            if let Some(path) = self.paths.resolve(self.reader, *path, &field) {
                receives.insert(name.text.clone(), path);
            }
        }
        Task {
            handler: task.handler.to_owned(),
            params: self.params(&task.params, "params"),
            constants: task.constants.clone(),
            receives,
            policy: task.policy,
        }
    }

    fn params(&mut self, params: &DraftParams<'_>, field: &str) -> Params {
        match params {
            DraftParams::All => Params::All,
            DraftParams::Names(names) => {
                let parameters = &self.paths.draft.parameters;
                for name in names.iter().filter(|name| parameters.get(name.value).is_none()) {
                    let r#where = format!("{field} of {}", self.paths.what);
                    let known = || parameters.iter().map(|parameter| parameter.name.as_str());
                    let known: Vec<&str> = known().collect();
                    self.reader.unknown(*name, "parameter", &r#where, known.into_iter());
                }
                Params::Names(names.iter().map(|name| name.value.to_owned()).collect())
            }
            DraftParams::Mapping(entries) => {
                Params::Templates(self.templates(entries, field, false))
            }
        }
    }

    fn templates(
        &mut self,
        entries: &[(Key, Located)],
        field: &str,
        has_items: bool,
    ) -> BTreeMap<String, Template> {
        let mut templates = BTreeMap::new();
        for (key, value) in entries {
            let field = format!("{field}.{}", key.text);
            let template = self.paths.template(self.reader, value, &field, has_items);
            templates.insert(key.text.clone(), template);
        }
        templates
    }

    fn conditional(&mut self, conditional: &DraftConditional<'_>) -> Option<Conditional> {
        let condition = conditional
            .condition
            .and_then(|path| self.paths.resolve(self.reader, path, "condition"));
        let nodes = &self.paths.draft.nodes;
        let number = |name: &str| find(nodes, name).map(|index| self.paths.graph.numbers[index]);
        let branch = |branch: &DraftBranch<'_>| Branch {
            name: branch.name.to_owned(),
            condition: branch.condition.clone(),
            next: branch.next.iter().filter_map(|next| number(next.value)).collect(),
        };
        let branches = conditional.branches.iter().map(branch).collect();
        Some(Conditional { condition: condition?, branches })
    }

    fn fan_out(&mut self, fan_out: &DraftFanOut<'_>) -> Option<FanOut> {
        // Both are resolved before one that is missing ends it, so that all problems are found.
        let source = fan_out.source.and_then(|source| self.source(source));
        let task = fan_out.task.as_ref().map(|task| self.item_task(task));
        Some(FanOut {
            source: source?,
            max_fan_out: fan_out.max_fan_out,
            task: task?,
            tasks_per_message: fan_out.tasks_per_message,
            tolerate: fan_out.tolerate,
        })
    }

    fn source(&mut self, source: DraftSource<'_>) -> Option<Source> {
        match source {
            DraftSource::Array(path) => match self.paths.results(path) {
                Some((fan_out, fan_in)) => Some(Source::Results { fan_out, fan_in }),
                None => self.paths.resolve(self.reader, path, "source").map(Source::Array),
            },
            DraftSource::File(path) => {
                self.paths.resolve(self.reader, path, "source_file").map(Source::File)
            }
        }
    }

    fn item_task(&mut self, task: &DraftTask<'_>) -> Task {
        let params = match &task.params {
            DraftParams::Mapping(entries) => {
                Params::Templates(self.templates(entries, "task.params", true))
            }
            other => self.params(other, "task.params"),
        };
        Task {
            handler: task.handler.to_owned(),
            params,
            constants: Map::new(),
            receives: BTreeMap::new(),
            policy: task.policy,
        }
    }

    /// The one fan-out that a fan-in depends on.
    fn only_fan_out(&mut self) -> Option<NodeNumber> {
        let Paths { draft, graph, index, .. } = self.paths;
        let node = draft.nodes.get(index)?;
        let before = || graph.edges[index].iter().map(|edge| &draft.nodes[edge.node]);
        let fan_outs = before().filter(|node| matches!(node.kind, Some(DraftKind::FanOut(_))));
        let names: Vec<&str> = fan_outs.map(|node| node.name).collect();
        if let [name] = names.as_slice() {
            return find(&draft.nodes, name).map(|index| graph.numbers[index]);
        }
        // A name or a node that could not be read is a problem already.
        let is_known = |name| find(&draft.nodes, name).is_some();
        let are_known = node.depends_on.iter().all(|other| is_known(other.name.value));
        if are_known && before().all(|node| node.kind.is_some()) {
            let found = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
            let message = format!(
                "{} must depend on exactly one fan_out, whose outputs it gathers, not on {found}",
                self.paths.what
            );
            self.reader.problem(node.place, message);
        }
        None
    }
}

/// The names of the parameters that the handler of a node, or the job that it submits, is given.
fn own_parameters<'a>(kind: &'a DraftKind<'_>) -> Vec<&'a str> {
    let named = |params: &'a DraftParams<'_>| -> Vec<&'a str> {
        match params {
            DraftParams::Names(names) => names.iter().map(|name| name.value).collect(),
            DraftParams::Mapping(entries) => {
                entries.iter().map(|(key, _)| key.text.as_str()).collect()
            }
            DraftParams::All => Vec::new(),
        }
    };
    match kind {
        DraftKind::Task(task) => {
            let mut own = named(&task.params);
            own.extend(task.constants.keys().map(String::as_str));
            own.extend(task.receives.iter().map(|(key, _)| key.text.as_str()));
            own
        }
        DraftKind::Job { parameters, .. } => named(parameters),
        DraftKind::Conditional(_)
        | DraftKind::FanOut(_)
        | DraftKind::FanIn(_)
        | DraftKind::Gate(_)
        | DraftKind::Finalize(_) => Vec::new(),
    }
}

fn reads(when: Option<&ValuePath>, kind: &Kind) -> BTreeSet<NodeNumber> {
    let mut reads: BTreeSet<NodeNumber> = when.and_then(ValuePath::node).into_iter().collect();
    match kind {
        Kind::Task(task) | Kind::Finalize(task) => {
            reads.extend(task.receives.values().filter_map(ValuePath::node));
            params_read(&task.params, &mut reads);
        }
        Kind::FanOut(fan_out) => {
            params_read(&fan_out.task.params, &mut reads);
            match &fan_out.source {
                Source::Array(path) | Source::File(path) => reads.extend(path.node()),
                Source::Results { .. } => {}
            }
        }
        Kind::Conditional(conditional) => reads.extend(conditional.condition.node()),
        Kind::Job(job) => params_read(&job.parameters, &mut reads),
        Kind::FanIn(_) | Kind::Gate(_) => {}
    }
    reads
}

fn params_read(params: &Params, reads: &mut BTreeSet<NodeNumber>) {
    if let Params::Templates(templates) = params {
        templates.values().for_each(|template| template.nodes(reads));
    }
}
