//! Failures of attempts and of plans.

use std::{error::Error, fmt};

/// Kinds of failures (`error_type`) that no further attempt changes: the input or the code is wrong.
pub const PERMANENT: [&str; 13] = [
    "ValidationError",
    "ValueError",
    "TypeError",
    "KeyError",
    "IndexError",
    "AttributeError",
    "NotImplementedError",
    "AssertionError",
    "FileNotFoundError",
    "PermissionError",
    "ResourceNotFoundError",
    "Permanent",
    "PermanentError",
];

/// Whether no further attempt changes an error of this kind. The name may be qualified, as in
/// `azure.core.exceptions.ResourceNotFoundError`.
fn is_permanent(kind: &str) -> bool {
    let name = kind.rsplit(['.', ':']).next().unwrap_or(kind);
    PERMANENT.contains(&name)
}

/// Why an attempt failed: the reason is stored in the task's `error_details`.
///
/// `?` turns any error into a transient failure. [`ResultExt::permanent`] makes it permanent:
///
/// ```
/// use lastlight_engine::job::{ResultExt, TaskError};
///
/// fn read(text: &str) -> Result<f64, TaskError> {
///     let metadata = std::fs::metadata(text)?; // May exist later: the task is tried again.
///     let _ = metadata;
///     Ok(text.parse::<f64>().permanent()?) // Will never be a number: the task fails.
/// }
/// # assert!(read("no such file").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskError {
    /// The task may succeed later: a service was unavailable, or a file did not exist yet. It is
    /// tried again after a pause, as often as the stage's [`TaskPolicy`](super::TaskPolicy) allows.
    Transient(String),
    /// The task will never succeed, for example because its input is wrong. It fails.
    Permanent(String),
    /// Something that the task needs is not there now: a [`Context`](super::Context) that cannot be
    /// made, for example. The task waits and is tried again about every 30 seconds, until its job's
    /// time limit; the attempt does not count.
    Unavailable(String),
}

impl TaskError {
    /// Creates a transient failure.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::Transient(reason.into())
    }

    /// Creates a permanent failure.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }

    /// A failure whose kind, such as the name of an error's class, decides whether it is permanent.
    pub(crate) fn of_kind(error: String, kind: Option<&str>) -> Self {
        let reason = match kind {
            Some(kind) if !error.starts_with(kind) => format!("{kind}: {error}"),
            _ => error,
        };
        if kind.is_some_and(is_permanent) {
            Self::Permanent(reason)
        } else {
            Self::Transient(reason)
        }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        let (Self::Transient(reason) | Self::Permanent(reason) | Self::Unavailable(reason)) = self;
        reason
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// A transient failure. (This is why `TaskError` is no [`Error`] itself.)
impl<E: Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self::Transient(with_sources(&error))
    }
}

/// Makes the error of a result final.
pub trait ResultExt<T> {
    /// The error as a permanent failure: the task is not tried again.
    ///
    /// # Errors
    /// The result was an error.
    fn permanent(self) -> Result<T, TaskError>;
}

impl<T, E: Into<TaskError>> ResultExt<T> for Result<T, E> {
    fn permanent(self) -> Result<T, TaskError> {
        self.map_err(|error| TaskError::Permanent(error.into().reason().to_owned()))
    }
}

/// Why a stage cannot be planned. Any error becomes one with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// The job fails with this reason.
    Failed(String),
    /// Something that the plan needs is not there now: a [`Context`](super::Context) that cannot be
    /// made, or a service. The job waits; its stage is planned again about once a minute, until the
    /// job's time limit.
    Unavailable(String),
}

impl PlanError {
    /// The job fails with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(reason) | Self::Unavailable(reason)) = self;
        f.write_str(reason)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for PlanError {
    fn from(error: E) -> Self {
        Self::Failed(with_sources(&error))
    }
}

/// The error and what caused it, in one line: "cannot read a.tif: permission denied".
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Many errors write their source themselves.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
