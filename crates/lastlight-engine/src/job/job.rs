//! Jobs: the parameters of a submission as a struct.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use super::{Retention, Stage};
use crate::model::ProcessingPath;

/// A kind of job. The fields of the struct are the parameters of a submission.
///
/// A submission is checked against the JSON Schema of the struct, so its rules are attributes of the
/// fields: `#[schemars(range(min = 1, max = 100))]`, `length`, `regex`, `#[serde(default)]`,
/// `#[serde(deny_unknown_fields)]`. Doc comments describe the job and its fields to users. A field
/// with a default is optional; its default is part of the job's identity. An `Option` that is not
/// submitted is not part of it.
pub trait Job: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The name in `/api/jobs/submit/{job_type}`: 1 to 50 characters, unique in its app.
    const NAME: &'static str;

    /// The only path of its jobs; `None` lets `use_service_bus` select the path.
    const PATH: Option<ProcessingPath> = None;

    /// The last stage. Each stage names those before it, so this determines all of them.
    type Last: Stage<Job = Self>;

    /// Checks what concerns several fields at once, after each has been checked by itself:
    ///
    /// ```
    /// # use lastlight_engine::job::Invalid;
    /// # struct Tiles { min_zoom: u8, max_zoom: u8 }
    /// # impl Tiles {
    /// fn validate(&self) -> Result<(), Invalid> {
    ///     let is_valid = self.min_zoom <= self.max_zoom;
    ///     is_valid.then_some(()).ok_or_else(|| Invalid::new("max_zoom", "at least min_zoom"))
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// A field has a value that is not allowed.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// A job that takes longer fails; `None` uses the app's setting, by default one week.
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// For how long the jobs of this type are kept after their end; by default as the app's settings
    /// say.
    fn retention() -> Retention {
        Retention::default()
    }
}

/// A field whose value is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub(crate) field: String,
    pub(crate) allowed: String,
}

impl Invalid {
    /// The field and a description of its allowed values, for the sentence "{field} must be
    /// {allowed}, not {value}": `Invalid::new("max_zoom", "at least min_zoom")`.
    pub fn new(field: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { field: field.into(), allowed: allowed.into() }
    }
}
