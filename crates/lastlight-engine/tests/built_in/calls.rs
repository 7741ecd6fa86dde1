//! Calls a handler as an attempt at a task would.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lastlight_engine::job::{
    Checkpoints, Contexts, Notes, TaskError,
    erased::{Attempt, Catalog},
};
use serde_json::{Value, value::RawValue};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct NoCheckpoints;

#[async_trait]
impl Checkpoints for NoCheckpoints {
    async fn load(&self) -> Result<Option<Box<RawValue>>, String> {
        Ok(None)
    }

    async fn save(&self, _: &RawValue) -> Result<(), String> {
        Err("there are no checkpoints here".to_owned())
    }
}

/// An attempt at a task.
pub(crate) struct Calling {
    pub job_id: &'static str,
    pub task_id: String,
    pub attempt: u32,
    pub notes: Arc<Notes>,
    pub cancellation: CancellationToken,
}

impl Default for Calling {
    fn default() -> Self {
        Self {
            job_id: "job-1",
            task_id: "task-1".to_owned(),
            attempt: 1,
            notes: Arc::default(),
            cancellation: CancellationToken::new(),
        }
    }
}

impl Calling {
    /// Calls the handler; its result as it is stored.
    pub(crate) async fn text(
        &self,
        catalog: &Catalog,
        handler: &str,
        parameters: &str,
    ) -> Result<String, TaskError> {
        let attempt = Attempt {
            job_id: self.job_id.to_owned(),
            task_id: self.task_id.clone(),
            number: self.attempt,
            deadline: Instant::now() + Duration::from_secs(60),
            cancellation: self.cancellation.clone(),
            predecessor: None,
            contexts: Contexts::default(),
            notes: Arc::clone(&self.notes),
            checkpoints: Arc::new(NoCheckpoints),
        };
        let parameters = RawValue::from_string(parameters.to_owned()).unwrap();
        let result = catalog.handlers().call(handler, attempt, &parameters).unwrap().await?;
        Ok(result.get().to_owned())
    }

    /// The same, with values in place of texts.
    pub(crate) async fn value(
        &self,
        catalog: &Catalog,
        handler: &str,
        parameters: &Value,
    ) -> Result<Value, TaskError> {
        let result = self.text(catalog, handler, &parameters.to_string()).await?;
        Ok(serde_json::from_str(&result).unwrap())
    }
}
