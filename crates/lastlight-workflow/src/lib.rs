//! The format of workflow files: reads a YAML file, reports every problem with its place, and turns
//! it into a [`Workflow`] whose names, paths and templates are resolved; evaluates these.
//!
//! A workflow is a graph of named nodes. The engine makes a job type of it, each node a stage. This
//! crate is pure: it knows no database, no engine, no HTTP and no clock, and the only input that it
//! reads by itself is the folder of [`read_folder`].
//!
//! ```
//! use std::collections::BTreeMap;
//! use lastlight_workflow::{Inputs, Known, Workflow};
//! use serde_json::{Map, json};
//!
//! let file = "
//! workflow: greet
//! parameters:
//!   names: {type: list, required: true}
//! nodes:
//!   each:
//!     type: fan_out
//!     source: params.names
//!     task:
//!       handler: say_hello
//!       params: {name: \"{{ item }}\"}
//! ";
//! let workflow = Workflow::read("workflows/greet.yaml", file, &Known::default())?;
//! let each = &workflow.nodes()[0];
//! let parameters = Map::from_iter([("names".to_owned(), json!(["Ada"]))]);
//! let outputs = BTreeMap::new();
//! let each = workflow.evaluate(each, Inputs { parameters: &parameters, outputs: &outputs, run_id: "1" });
//! assert_eq!(each.items()?, [json!("Ada")]);
//! assert_eq!(each.item_params(0, &json!("Ada"))?["name"], json!("Ada"));
//!
//! let wrong = file.replace("source: params.names", "source: params.name");
//! let problems = Workflow::read("workflows/greet.yaml", &wrong, &Known::default()).unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "workflows/greet.yaml:8:13: source of node \"each\": path \"params.name\" names the unknown \
//!      parameter \"name\": known are names; did you mean names?"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules, from top to bottom: a module may use modules below it in this table, but none above
//! it.
//!
//! | module | purpose | must not know |
//! | --- | --- | --- |
//! | `folder` | all files of a folder | what is in them |
//! | `draw` | a workflow as text, as Mermaid, as nodes and edges | how it was read |
//! | `evaluate` | parameters of tasks, chosen branches, sources of fan-outs, from values | how it was read |
//! | `read` | a file into a workflow, with all problems | folders |
//! | `schema` | the JSON Schema of a workflow's parameters | how it was read |
//! | [`mod@reference`] | the fields of files, what they may be and mean | how they are read |
//! | `definition` | what a workflow is | how it was written |
//! | `yaml` | YAML into a tree of values with places | workflows |
//! | `template` | templates: parsed, checked, evaluated | files |
//! | `condition` | conditions of branches | files |
//! | `path` | paths into values | files |
//! | `problem` | problems with places | what is wrong |
//! | `names` | names in messages, and the nearest one | what they name |
//! | `number` | the numbers of nodes | everything |
//! | `limits` | the numbers that bound a file | everything |
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod condition;
mod definition;
mod draw;
mod evaluate;
mod folder;
mod limits;
mod names;
mod number;
mod path;
mod problem;
mod read;
pub mod reference;
mod schema;
mod template;
mod yaml;

pub use condition::Condition;
pub use definition::*;
pub use draw::{Graph, GraphBranch, GraphDependency, GraphEdge, GraphNode};
pub use evaluate::{
    AggregateError, Aggregator, Child, Chosen, Evaluation, EvaluationError, Failure, Inputs, answer,
};
pub use folder::{Folder, FolderError, read_file, read_folder};
pub use number::NodeNumber;
pub use path::{Root, ValuePath};
pub use problem::{Place, Problem, Problems};
pub use template::Template;

/// The largest workflow file, in bytes.
pub const LARGEST_FILE: usize = 1_000_000;

/// The largest number of nodes of a workflow, with `finalize`.
pub const MOST_NODES: usize = 100;
