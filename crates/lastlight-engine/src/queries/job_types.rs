//! Job types, as described to callers that submit jobs.

use lastlight_api::job_types::JobTypeInfo;

use super::Queries;
use crate::job::erased::{Catalog, Fields, JobType};
use crate::workflow::submit;

/// All job types of a catalog, in its order.
pub(crate) fn described(catalog: &Catalog) -> Vec<JobTypeInfo> {
    let describe = |definition: &dyn JobType| JobTypeInfo {
        name: definition.name().to_owned(),
        description: definition.description().to_owned(),
        prescribed_path: definition.prescribed_path(),
        parameters: Fields::schema_of(|fields| {
            submit::check(definition, fields);
        }),
        workflow: definition.workflow(),
    };
    catalog.iter().map(describe).collect()
}

impl Queries {
    /// All job types, in the order of the catalog.
    pub fn describe_job_types(&self) -> Vec<JobTypeInfo> {
        described(&self.0.catalog)
    }
}
