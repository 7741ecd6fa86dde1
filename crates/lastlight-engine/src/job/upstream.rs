//! What earlier stages of a graph resulted in, for plans and decisions. Knows no database.

use std::fmt::Debug;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde_json::value::RawValue;

use super::PlanError;
use crate::model::Stage;

/// How a task ended.
#[derive(Debug, Clone)]
pub enum TaskEnd {
    /// With its result.
    Completed(Box<RawValue>),
    /// With the reason.
    Failed(String),
}

/// The results of a job's stages that have ended.
#[async_trait]
pub trait Upstream: Debug + Send + Sync {
    /// What the stage resulted in: the result of its first task, or the output of a stage without
    /// tasks. `None` if it was skipped, or that task did not complete.
    ///
    /// # Errors
    /// It cannot be read now.
    async fn output(&self, stage: Stage) -> Result<Option<Box<RawValue>>, PlanError>;

    /// The summary of the stage, as its fold made it; `None` if it did not complete.
    ///
    /// # Errors
    /// It cannot be read now.
    async fn summary(&self, stage: Stage) -> Result<Option<Box<RawValue>>, PlanError>;

    /// The ends of the stage's tasks, in the order of its plan. They are read little by little.
    fn results(&self, stage: Stage) -> BoxStream<'static, Result<TaskEnd, PlanError>>;
}
