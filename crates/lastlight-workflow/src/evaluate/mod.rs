//! Evaluates nodes: from the parameters of a job and the outputs of its nodes, the parameters of
//! tasks, the branch that is chosen, the items of a fan-out, the output of a fan-in. Knows neither
//! how a workflow was read nor where values are stored.

mod aggregate;
mod answer;
mod error;

use std::{borrow::Cow, collections::BTreeMap};

pub use aggregate::{AggregateError, Aggregator, Child};
pub use answer::{Failure, answer};
pub use error::EvaluationError;
use serde_json::{Map, Value, json};

use crate::{
    Branch, Conditional, FanOut, Kind, Node, NodeNumber, Params, Root, Source, Task, Template,
    ValuePath, Workflow,
    names::{shown, type_of},
    path::{is_yes, walk},
    template::{Item, Outputs, Scope, Shared, TemplateError, no_output},
};

/// What a node is evaluated with.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The parameters of the job, with defaults. Declared parameters that are not there are null.
    pub parameters: &'a Map<String, Value>,
    /// The outputs of the nodes that [`Node::reads`] names, whole. One that was skipped or failed has
    /// none.
    pub outputs: &'a BTreeMap<NodeNumber, Value>,
    /// The job's id, which handlers are given.
    pub run_id: &'a str,
}

/// A node with the values that it is evaluated with. Its methods give the same result every time.
///
/// What a path does that leads into a node without an output, since that node was skipped or failed:
///
/// - `when`: the value is null, so the node does not run.
/// - `condition` of a conditional: the value is null, so most often the default is chosen.
/// - `receives`, `source`, `source_file` and templates: an error. In a template, `nodes.a` is null
///   where it is asked for: `{{ nodes.a.result.b if nodes.a else None }}`.
///
/// A key that is missing in an output is an error everywhere. In `when`, a key that is missing in the
/// parameters is null.
#[derive(Debug)]
pub struct Evaluation<'a> {
    workflow: &'a Workflow,
    node: &'a Node,
    parameters: Value,
    outputs: Outputs<'a>,
    run_id: &'a str,
    shared: Shared,
}

/// The branch of a conditional that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen<'a> {
    /// The branch. Its nodes may run.
    pub branch: &'a Branch,
    /// The nodes that other branches name and this one does not, by number: they are skipped.
    pub not_chosen: Vec<NodeNumber>,
}

impl Chosen<'_> {
    /// The output of the conditional: `{"success": true, "result": {"branch": name}}`.
    pub fn output(&self) -> Value {
        json!({ "success": true, "result": { "branch": self.branch.name } })
    }
}

/// Which values may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// None.
    IsError,
    /// The output of a node.
    OutputIsNull,
    /// The output of a node, and any parameter.
    OutputOrParameterIsNull,
}

impl Workflow {
    /// A node of this workflow with the values that it is evaluated with.
    pub fn evaluate<'a>(&'a self, node: &'a Node, inputs: Inputs<'a>) -> Evaluation<'a> {
        let mut parameters = inputs.parameters.clone();
        self.parameters.add_nulls(&mut parameters);
        let output = |number: &NodeNumber| {
            let name = self.node(*number).map_or("", |node| node.name.as_str());
            (*number, (name, inputs.outputs.get(number)))
        };
        Evaluation {
            workflow: self,
            node,
            parameters: Value::Object(parameters),
            outputs: node.reads.iter().map(output).collect(),
            run_id: inputs.run_id,
            shared: Shared::default(),
        }
    }
}

impl<'a> Evaluation<'a> {
    /// Whether the node runs: it has no `when`, or `when` leads to a value that is not null, false,
    /// 0 or empty.
    ///
    /// # Errors
    /// A key of an output is missing, or a template has no value.
    pub fn runs(&self) -> Result<bool, EvaluationError> {
        let Some(path) = &self.node.when else { return Ok(true) };
        let value = match &path.root {
            Root::Own(name) => Cow::Owned(self.own(path, name)?),
            _ => self.value(path, "when", Missing::OutputOrParameterIsNull)?,
        };
        Ok(is_yes(&value))
    }

    /// The parameters of the handler of a task, or of `finalize`: its `params`, `constants` over
    /// them, `receives` over both, and `_run_id`, `_task_name` and `_workflow`.
    ///
    /// # Errors
    /// A path leads nowhere, a template has no value, or the node is of another type.
    pub fn params(&self) -> Result<Map<String, Value>, EvaluationError> {
        let (Kind::Task(task) | Kind::Finalize(task)) = &self.node.kind else {
            return Err(self.wrong_type("parameters of a task"));
        };
        let mut params = self.given(&task.params, "params", None)?;
        params.extend(task.constants.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, path) in &task.receives {
            let value = self.value(path, &format!("receives.{name}"), Missing::IsError)?;
            params.insert(name.clone(), value.into_owned());
        }
        self.add_run(&mut params);
        Ok(params)
    }

    /// The branch that a conditional chooses: the first whose condition its value meets, else the
    /// default.
    ///
    /// # Errors
    /// The condition leads nowhere, or the node is of another type.
    pub fn branch(&self) -> Result<Chosen<'a>, EvaluationError> {
        let Kind::Conditional(Conditional { condition, branches }) = &self.node.kind else {
            return Err(self.wrong_type("branch"));
        };
        let value = self.value(condition, "condition", Missing::OutputIsNull)?;
        let holds = |branch: &&Branch| {
            branch.condition.as_ref().is_some_and(|condition| condition.holds(&value))
        };
        let default = || branches.iter().find(|branch| branch.condition.is_none());
        // Every conditional that can be read has a default.
        let branch = branches.iter().find(holds).or_else(default);
        let branch = branch.ok_or_else(|| self.wrong_type("branch"))?;
        let others = branches.iter().flat_map(|branch| &branch.next);
        let mut not_chosen: Vec<NodeNumber> =
            others.filter(|node| !branch.next.contains(node)).copied().collect();
        not_chosen.sort_unstable();
        not_chosen.dedup();
        Ok(Chosen { branch, not_chosen })
    }

    /// The items of a fan-out with [`Source::Array`]; may be empty.
    ///
    /// # Errors
    /// The source leads nowhere or to no list, has more items than `max_fan_out`, or is another one.
    pub fn items(&self) -> Result<&[Value], EvaluationError> {
        let Source::Array(path) = &self.fan_out()?.source else {
            return Err(self.wrong_type("source that is an array"));
        };
        let value = match self.value(path, "source", Missing::IsError)? {
            Cow::Borrowed(value) => value,
            Cow::Owned(_) => &Value::Null,
        };
        let Value::Array(items) = value else {
            return Err(EvaluationError::NotAList {
                node: self.node.name.clone(),
                path: path.to_string(),
                found: type_of(value),
            });
        };
        self.check_items(items.len() as u64)?;
        Ok(items)
    }

    /// Checks the number of items of a fan-out, for items that are streamed.
    ///
    /// # Errors
    /// There are more than `max_fan_out`, or the node is of another type.
    pub fn check_items(&self, items: u64) -> Result<(), EvaluationError> {
        let max_fan_out = self.fan_out()?.max_fan_out;
        if items > u64::from(max_fan_out) {
            let node = self.node.name.clone();
            return Err(EvaluationError::TooManyItems { node, items, max_fan_out });
        }
        Ok(())
    }

    /// The address of the blob with the items of a fan-out with [`Source::File`].
    ///
    /// # Errors
    /// The path leads nowhere or to no text, or the source is another one.
    pub fn source_file(&self) -> Result<&str, EvaluationError> {
        let Source::File(path) = &self.fan_out()?.source else {
            return Err(self.wrong_type("source_file"));
        };
        match self.value(path, "source_file", Missing::IsError)? {
            Cow::Borrowed(Value::String(address)) if !address.is_empty() => Ok(address),
            value => Err(EvaluationError::NotAnAddress {
                node: self.node.name.clone(),
                path: path.to_string(),
                found: shown(&value),
            }),
        }
    }

    /// The parameters of the handler for one item of a fan-out, with its index from 0; with
    /// `_run_id`, `_task_name` and `_workflow`.
    ///
    /// # Errors
    /// A template has no value, or the node is of another type.
    pub fn item_params(
        &self,
        index: u64,
        item: &Value,
    ) -> Result<Map<String, Value>, EvaluationError> {
        let task = &self.fan_out()?.task;
        let item = Item { value: item, index };
        let mut params = self.given(&task.params, "task.params", Some(item))?;
        self.add_run(&mut params);
        Ok(params)
    }

    /// The parameters of the job that a node submits.
    ///
    /// # Errors
    /// A template has no value, or the node is of another type.
    pub fn job_parameters(&self) -> Result<Map<String, Value>, EvaluationError> {
        match &self.node.kind {
            Kind::Job(job) => self.given(&job.parameters, "parameters", None),
            _ => Err(self.wrong_type("job")),
        }
    }

    fn fan_out(&self) -> Result<&'a FanOut, EvaluationError> {
        match &self.node.kind {
            Kind::FanOut(fan_out) => Ok(fan_out),
            _ => Err(self.wrong_type("item")),
        }
    }

    fn wrong_type(&self, wanted: &'static str) -> EvaluationError {
        let node = self.node.name.clone();
        EvaluationError::WrongType { node, kind: self.node.kind.name(), wanted }
    }

    fn add_run(&self, params: &mut Map<String, Value>) {
        params.insert("_run_id".to_owned(), Value::from(self.run_id));
        params.insert("_task_name".to_owned(), Value::from(self.node.name.as_str()));
        params.insert("_workflow".to_owned(), Value::from(self.workflow.name()));
    }

    fn given(
        &self,
        params: &Params,
        field: &str,
        item: Option<Item<'_>>,
    ) -> Result<Map<String, Value>, EvaluationError> {
        match params {
            Params::All => Ok(self.parameters.as_object().cloned().unwrap_or_default()),
            Params::Names(names) => {
                Ok(names.iter().map(|name| (name.clone(), self.parameters[name].clone())).collect())
            }
            Params::Templates(templates) => {
                let scope = self.scope(item);
                let value = |(name, template): (&String, &Template)| {
                    let value = template.evaluate(&scope).map_err(|error| {
                        let item = item.map(|item| item.index);
                        self.template_error(&format!("{field}.{name}"), item, error.reason)
                    });
                    Ok((name.clone(), value?))
                };
                templates.iter().map(value).collect()
            }
        }
    }

    fn template_error(&self, field: &str, item: Option<u64>, reason: String) -> EvaluationError {
        let item = item.map(|index| format!(" of item {index}")).unwrap_or_default();
        let (node, field) = (self.node.name.clone(), format!("{field}{item}"));
        EvaluationError::Template { node, field, reason }
    }

    fn scope<'s>(&'s self, item: Option<Item<'s>>) -> Scope<'s> {
        Scope { inputs: &self.parameters, outputs: &self.outputs, shared: &self.shared, item }
    }

    /// The value that a path leads to; owned only if it is null because it may be missing.
    fn value(
        &self,
        path: &ValuePath,
        field: &str,
        missing: Missing,
    ) -> Result<Cow<'_, Value>, EvaluationError> {
        let keys = path.keys.iter().map(String::as_str);
        let fail = |reason: String| EvaluationError::Missing {
            node: self.node.name.clone(),
            field: field.to_owned(),
            path: path.to_string(),
            reason,
        };
        let root = match path.root {
            Root::Output(node) => match self.outputs.get(&node) {
                Some((_, Some(output))) => output,
                Some((_, None)) if missing != Missing::IsError => {
                    return Ok(Cow::Owned(Value::Null));
                }
                Some((name, None)) => return Err(fail(no_output(name))),
                None => {
                    return Err(fail(format!("the output of node number {node} is not loaded")));
                }
            },
            Root::Parameters | Root::Own(_) => &self.parameters,
        };
        walk(root, keys).map(Cow::Borrowed).or_else(|found| {
            if path.node().is_none() && missing == Missing::OutputOrParameterIsNull {
                return Ok(Cow::Owned(Value::Null));
            }
            let reached = path.text.split('.').take(found.found + 1).collect::<Vec<_>>().join(".");
            Err(fail(format!("{reached} {}", found.reason)))
        })
    }

    /// The value of `when`, if it begins with a parameter of the node's own handler or job.
    fn own(&self, path: &ValuePath, name: &str) -> Result<Value, EvaluationError> {
        let (params, task) = match &self.node.kind {
            Kind::Task(task) | Kind::Finalize(task) => (&task.params, Some(task)),
            Kind::Job(job) => (&job.parameters, None),
            _ => return Err(self.wrong_type("parameter of its own")),
        };
        let received = |task: &'a Task| task.receives.get(name);
        let value = if let Some(path) = task.and_then(received) {
            let field = format!("receives.{name}");
            self.value(path, &field, Missing::OutputIsNull)?
        } else if let Some(constant) = task.and_then(|task| task.constants.get(name)) {
            Cow::Borrowed(constant)
        } else {
            match params {
                Params::Templates(templates) => match templates.get(name) {
                    Some(template) => {
                        let value = template.evaluate(&self.scope(None));
                        let field = format!("params.{name}");
                        let fail =
                            |error: TemplateError| self.template_error(&field, None, error.reason);
                        Cow::Owned(value.map_err(fail)?)
                    }
                    None => Cow::Owned(Value::Null),
                },
                Params::Names(_) | Params::All => Cow::Borrowed(&self.parameters[name]),
            }
        };
        let value = walk(&value, path.keys.iter().map(String::as_str));
        Ok(value.cloned().unwrap_or_default())
    }
}
