//! Templates: `{{ item.result.path }}`, a Jinja expression with Python's spelling. Knows values, not
//! files.
//!
//! A text is a template if all of it is one expression in double braces; its value keeps its type.
//! Other texts are literals. An expression that is a path is followed here, which is fast and names
//! what is missing; any other is evaluated by the library minijinja, without statements, functions
//! and anything that is outside of the values, and with a bound on its work.

mod expression;
mod text;
mod values;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use expression::{Parsed, Reference, Step, filters, methods, parse, tests};
use serde_json::{Map, Value};
pub(crate) use text::{Text, kind_of};
pub(crate) use values::{Shared, TemplateError};

use crate::{NodeNumber, path::walk};
use expression::Compiled;

/// A value of a mapping of parameters: a literal, a template, or a list or mapping of these.
#[derive(Debug, Clone)]
pub struct Template(pub(crate) Part);

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Literal(Value),
    List(Vec<Template>),
    Mapping(BTreeMap<String, Template>),
    Path(Lookup),
    Expression(Arc<Expression>),
}

/// An expression that only looks a value up.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    pub(crate) from: From,
    pub(crate) steps: Vec<Step>,
}

/// Where a look-up begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Inputs,
    Node(NodeNumber),
    Item,
    Index,
}

/// Any other expression.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) compiled: Compiled,
    /// What it looks up: to say what is missing, and which outputs it needs.
    pub(crate) lookups: Vec<Lookup>,
}

/// The values that templates look up.
pub(crate) struct Scope<'a> {
    pub(crate) inputs: &'a Value,
    pub(crate) outputs: &'a Outputs<'a>,
    /// All of it for the library, made when the first expression needs it.
    pub(crate) shared: &'a Shared,
    pub(crate) item: Option<Item<'a>>,
}

/// The names and outputs of the nodes that a node reads; the output is `None` if the node was skipped
/// or failed.
pub(crate) type Outputs<'a> = BTreeMap<NodeNumber, (&'a str, Option<&'a Value>)>;

/// An item of a fan-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) value: &'a Value,
    pub(crate) index: u64,
}

impl Template {
    pub(crate) fn is_literal(&self) -> bool {
        matches!(self.0, Part::Literal(_))
    }

    /// The nodes whose outputs it reads.
    pub(crate) fn nodes(&self, nodes: &mut impl Extend<NodeNumber>) {
        let mut add = |lookup: &Lookup| {
            if let From::Node(node) = lookup.from {
                nodes.extend([node]);
            }
        };
        match &self.0 {
            Part::Literal(_) => {}
            Part::Path(lookup) => add(lookup),
            Part::Expression(expression) => expression.lookups.iter().for_each(add),
            Part::List(items) => items.iter().for_each(|item| item.nodes(nodes)),
            Part::Mapping(fields) => fields.values().for_each(|field| field.nodes(nodes)),
        }
    }

    /// Its value.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, TemplateError> {
        match &self.0 {
            Part::Literal(value) => Ok(value.clone()),
            Part::List(items) => items.iter().map(|item| item.evaluate(scope)).collect(),
            Part::Mapping(fields) => {
                let field =
                    |(name, field): (&String, &Self)| Ok((name.clone(), field.evaluate(scope)?));
                fields.iter().map(field).collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            Part::Path(lookup) => scope.look_up(lookup),
            Part::Expression(expression) => expression.evaluate(scope),
        }
    }
}

impl Expression {
    fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, TemplateError> {
        self.compiled.evaluate(scope.shared.context(scope)).map_err(|failed| {
            // What the library says of a missing value does not name it. Of several, it may be any:
            // an expression need not look at all of its values.
            let missing = self.lookups.iter().filter_map(|lookup| scope.look_up(lookup).err());
            let missing: Vec<String> = missing.map(|missing| missing.reason).collect();
            let reason = match missing.as_slice() {
                missing if failed.is_about_missing && !missing.is_empty() => missing.join(", or "),
                _ => failed.message,
            };
            TemplateError { reason: format!("{{{{ {} }}}} {reason}", self.text) }
        })
    }
}

impl Scope<'_> {
    fn look_up(&self, lookup: &Lookup) -> Result<Value, TemplateError> {
        let index = self.item.map_or(0, |item| item.index).to_string();
        let keys = lookup.steps.iter().map(|step| match step {
            Step::Key(key) => key.as_str(),
            Step::Index => index.as_str(),
        });
        let (name, root) = match lookup.from {
            From::Inputs => ("inputs".to_owned(), self.inputs),
            From::Item => match &self.item {
                Some(item) => ("item".to_owned(), item.value),
                None => return Err(TemplateError { reason: "there is no item".to_owned() }),
            },
            From::Index => return Ok(Value::from(self.item.map_or(0, |item| item.index))),
            From::Node(node) => match self.outputs.get(&node) {
                Some((name, Some(output))) => (format!("nodes.{name}"), *output),
                Some((name, None)) => {
                    let path = display_path(&format!("nodes.{name}"), keys);
                    let reason = format!("{path} is not there: {}", no_output(name));
                    return Err(TemplateError { reason });
                }
                None => {
                    let reason = format!("the output of node number {node} was not loaded");
                    return Err(TemplateError { reason });
                }
            },
        };
        walk(root, keys.clone()).cloned().map_err(|missing| {
            let reached = display_path(&name, keys.clone().take(missing.found));
            let path = display_path(&name, keys);
            TemplateError { reason: format!("{path} is not there: {reached} {}", missing.reason) }
        })
    }
}

/// Why a node has no output.
pub(crate) fn no_output(name: &str) -> String {
    format!("node {name:?} was skipped or failed, so it has no output")
}

fn display_path<'a>(root: &str, keys: impl Iterator<Item = &'a str>) -> String {
    let mut path = root.to_owned();
    for key in keys {
        path.push('.');
        path.push_str(key);
    }
    path
}
