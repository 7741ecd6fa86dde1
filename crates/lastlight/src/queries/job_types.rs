//! Job types, as described to callers that submit jobs.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Queries;
use crate::workflow::submit;
use crate::{
    job::{Catalog, DynJobType, Fields},
    model::ProcessingPath,
};

/// A job type.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct JobTypeInfo {
    /// The name in `/api/jobs/submit/{job_type}`.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// The only path that its jobs may take; null if the submission chooses.
    pub prescribed_path: Option<ProcessingPath>,
    /// A JSON Schema (draft 2020-12) of what may be submitted.
    pub parameters: Value,
}

impl JobTypeInfo {
    /// All job types of a catalog, in its order.
    pub(crate) fn all_of(catalog: &Catalog) -> Vec<Self> {
        let describe = |definition: &dyn DynJobType| Self {
            name: definition.name(),
            description: definition.description(),
            prescribed_path: definition.prescribed_path(),
            parameters: Fields::schema_of(|fields| {
                submit::check(definition, fields);
            }),
        };
        catalog.iter().map(describe).collect()
    }
}

impl Queries {
    /// All job types, in the order of the catalog.
    pub fn describe_job_types(&self) -> Vec<JobTypeInfo> {
        JobTypeInfo::all_of(&self.0.catalog)
    }
}
