//! Resolves paths and templates of a node: every name must exist, every node that is read must be
//! upstream, and some input must be able to have the value.

use super::{
    draft::{Draft, DraftKind},
    graph::{Graph, find, is_finalize},
    reader::{Placed, Reader},
};
use crate::{
    Aggregation, NodeNumber, ParameterType, Parameters, Root, ValuePath,
    names::{did_you_mean, listed, shown},
    template::Step,
};

/// The node whose paths and templates are resolved, and what they may refer to.
#[derive(Debug)]
pub(super) struct Paths<'d> {
    pub(super) draft: &'d Draft<'d>,
    pub(super) graph: &'d Graph,
    /// The node, by its place in the file.
    pub(super) index: usize,
    /// The node, for messages: `node "tiles"`.
    pub(super) what: String,
}

impl Paths<'_> {
    /// Resolves the path of a field; `None` if it has a problem.
    pub(super) fn resolve(
        &self,
        reader: &mut Reader,
        path: Placed<&str>,
        field: &str,
    ) -> Option<ValuePath> {
        self.resolve_with_own(reader, path, field, &[])
    }

    /// As [`Paths::resolve`]; `own` are names that go before all others.
    pub(super) fn resolve_with_own(
        &self,
        reader: &mut Reader,
        path: Placed<&str>,
        field: &str,
        own: &[&str],
    ) -> Option<ValuePath> {
        if reader.is_full() {
            return None;
        }
        match self.root_and_keys(path.value, own) {
            Ok((root, keys)) => Some(ValuePath { text: path.value.to_owned(), root, keys }),
            Err(reason) => {
                let shown = shown(&path.value.into());
                let message = format!("{field} of {}: path {shown} {reason}", self.what);
                reader.problem(path.place, message);
                None
            }
        }
    }

    fn root_and_keys(&self, path: &str, own: &[&str]) -> Result<(Root, Vec<String>), String> {
        if path.contains("{{") {
            return Err("must be without braces: it is no template".to_owned());
        }
        let mut names = path.split('.').map(str::to_owned);
        let is_wrong =
            |name: &str| name.is_empty() || name != name.trim() || name.contains(char::is_control);
        if path.split('.').any(is_wrong) {
            return Err("must be names and numbers with dots between, such as a.b.0".to_owned());
        }
        let first = names.next().unwrap_or_default();
        let keys: Vec<String> = names.collect();
        let steps: Vec<Step> = keys.iter().cloned().map(Step::Key).collect();
        if own.contains(&first.as_str()) {
            return Ok((Root::Own(first), keys));
        }
        if matches!(first.as_str(), "params" | "inputs") {
            self.check_parameter(&first, &steps)?;
            return Ok((Root::Parameters, keys));
        }
        if find(&self.draft.nodes, &first).is_none() {
            return Err(self.unknown_root(&first, own));
        }
        let node = self.node(&first, &steps)?;
        Ok((Root::Output(node), keys))
    }

    /// Why a path cannot begin with this name.
    fn unknown_root(&self, name: &str, own: &[&str]) -> String {
        let nodes = self.upstream();
        let parameters = &self.draft.parameters;
        let meant = if parameters.get(name).is_some() {
            format!("; did you mean params.{name}?")
        } else {
            let roots = nodes.iter().copied().chain(["params"]).chain(own.iter().copied());
            did_you_mean(name, roots)
        };
        let own = match own {
            [] => String::new(),
            own => format!(", a parameter of its handler ({})", listed(own.iter().copied())),
        };
        format!(
            "begins with the unknown name {name:?}: it must begin with params{own} or a node that \
             runs before ({}){meant}",
            listed(nodes)
        )
    }

    /// The names of the nodes that run before this one.
    pub(super) fn upstream(&self) -> Vec<&str> {
        self.graph.upstream(self.index).map(|node| self.draft.nodes[node].name).collect()
    }

    /// The node that a path or template reads; `keys` follow its name.
    ///
    /// # Errors
    /// There is no such node, it does not run before, or its output never has these keys.
    pub(super) fn node(&self, name: &str, keys: &[Step]) -> Result<NodeNumber, String> {
        let nodes = &self.draft.nodes;
        let Some(found) = find(nodes, name) else {
            let known = nodes.iter().filter(|node| !is_finalize(node)).map(|node| node.name);
            let meant = did_you_mean(name, known.clone());
            return Err(format!(
                "names the unknown node {name:?}: known are {}{meant}",
                listed(known)
            ));
        };
        if found == self.index {
            return Err(format!("reads the output of its own {}", self.what));
        }
        if !self.graph.is_upstream(found, self.index) {
            return Err(format!(
                "reads node {name:?}, which does not run before {}: let it depend on {name:?}, or \
                 on a node that runs after {name:?}",
                self.what
            ));
        }
        self.check_output(found, keys)?;
        Ok(self.graph.numbers[found])
    }

    /// Whether a node's output may have these keys.
    fn check_output(&self, node: usize, keys: &[Step]) -> Result<(), String> {
        let name = self.draft.nodes[node].name;
        let only = match &self.draft.nodes[node].kind {
            Some(DraftKind::FanOut(_)) => {
                return Err(format!(
                    "reads node {name:?}, a fan_out, which has no output of its own: read a fan_in \
                     that depends on it"
                ));
            }
            Some(DraftKind::FanIn(Aggregation::Collect)) => "items",
            Some(DraftKind::FanIn(Aggregation::Sum)) => "total",
            Some(DraftKind::FanIn(Aggregation::Count)) => "count",
            _ => return Ok(()),
        };
        match keys {
            [] => Ok(()),
            [Step::Key(key), rest @ ..] if key == only => match rest {
                [Step::Key(key), ..] if only == "items" && key.parse::<usize>().is_err() => {
                    Err(format!(
                        "looks for {key} in the list {name}.items: only a number can follow it"
                    ))
                }
                [key, ..] if only != "items" => {
                    Err(format!("looks for {} in {name}.{only}, a number", display(key)))
                }
                _ => Ok(()),
            },
            [key, ..] => Err(format!(
                "looks for {} in the output of the fan_in {name:?}, which only ever has the key \
                 {only}",
                display(key)
            )),
        }
    }

    /// Whether a submission may have a value at these keys of the parameters.
    pub(super) fn check_parameter(&self, root: &str, keys: &[Step]) -> Result<(), String> {
        let mut parameters = &self.draft.parameters;
        let mut path = root.to_owned();
        for (place, key) in keys.iter().enumerate() {
            let Step::Key(name) = key else {
                return Err(format!("looks for an item of {path}, which is no list"));
            };
            let Some(parameter) = parameters.get(name) else {
                return Err(unknown_parameter(&path, name, parameters, place == 0));
            };
            path = format!("{path}.{name}");
            let rest = &keys[place + 1..];
            match (parameter.kind, &parameter.nested, rest) {
                (_, _, []) | (ParameterType::Dict, None, _) => return Ok(()),
                (ParameterType::Dict, Some(nested), _) => parameters = nested,
                (ParameterType::List, _, [Step::Key(key), ..]) if key.parse::<usize>().is_err() => {
                    return Err(format!("looks for {key} in {path}, which is a list"));
                }
                (ParameterType::List, ..) => return Ok(()),
                (kind, _, [key, ..]) => {
                    let (key, kind) = (display(key), kind.name());
                    return Err(format!("looks for {key} in {path}, which is of type {kind}"));
                }
            }
        }
        Ok(())
    }

    /// The fan-out whose tasks' outputs a path names all, and the fan-in that it names them by.
    pub(super) fn results(&self, path: Placed<&str>) -> Option<(NodeNumber, Option<NodeNumber>)> {
        let (name, items) = match path.value.split_once('.') {
            None => (path.value, None),
            Some((name, items)) => (name, Some(items)),
        };
        let named = find(&self.draft.nodes, name)?;
        let upstream = self.graph.is_upstream(named, self.index);
        let number = self.graph.numbers[named];
        match (&self.draft.nodes[named].kind, items) {
            _ if !upstream => None,
            (Some(DraftKind::FanOut(_)), None | Some("items")) => Some((number, None)),
            (Some(DraftKind::FanIn(Aggregation::Collect)), Some("items")) => {
                let is_fan_out =
                    |node: usize| matches!(self.draft.nodes[node].kind, Some(DraftKind::FanOut(_)));
                let edges = self.graph.edges[named].iter();
                let fan_out = edges.map(|edge| edge.node).find(|node| is_fan_out(*node))?;
                Some((self.graph.numbers[fan_out], Some(number)))
            }
            _ => None,
        }
    }
}

fn unknown_parameter(path: &str, name: &str, known: &Parameters, is_first: bool) -> String {
    let names = || known.iter().map(|parameter| parameter.name.as_str());
    let meant = did_you_mean(name, names());
    let known = listed(names());
    if is_first {
        format!("names the unknown parameter {name:?}: known are {known}{meant}")
    } else {
        format!("looks for {name} in {path}, which never has it: its fields are {known}{meant}")
    }
}

fn display(step: &Step) -> &str {
    match step {
        Step::Key(key) => key,
        Step::Index => "[index]",
    }
}
