//! The job types of the app.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ProcessingPath;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobTypes {
    /// The job types, in the order of the catalog.
    pub job_types: Vec<JobTypeInfo>,
}

/// A job type.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobTypeInfo {
    /// The name in `/api/jobs/submit/{job_type}`.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// The only path that its jobs may take; null if the submission chooses.
    pub prescribed_path: Option<ProcessingPath>,
    /// A JSON Schema (draft 2020-12) of what may be submitted.
    #[serde(default)]
    pub parameters: Value,
    /// The workflow file that it was made of. Absent if it is one in Rust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowInfo>,
}

/// A workflow file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowInfo {
    /// The version that its authors gave it.
    pub version: u32,
    /// The SHA-256 of its text, as 64 hexadecimal digits.
    pub definition_id: String,
    /// The workflow that undoes it: for users, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_by: Option<String>,
    /// The workflows that it undoes: for users, not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverses: Vec<String>,
    /// Its nodes, each after those that it depends on, and its edges: `{"nodes": [{"number", "name",
    /// "kind", "summary", "handler", "job_type", "queue", "when", "best_effort", "depends_on",
    /// "branches"}], "edges": [{"from", "to", "optional", "branches"}]}`, without the fields that a
    /// node does not have. A node's number is that of its stage.
    pub graph: Value,
}
