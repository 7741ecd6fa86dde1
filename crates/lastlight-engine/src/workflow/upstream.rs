//! The results of earlier stages, read from the database for plans and decisions.

use async_trait::async_trait;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde_json::value::RawValue;

use crate::{
    job::{
        PlanError,
        erased::{TaskEnd, Upstream},
    },
    model::{JobId, Stage},
    store::{Database, DatabaseError, StageKey},
};

/// The results of one job's stages.
#[derive(Debug, Clone)]
pub(super) struct StoredResults {
    pub(super) database: Database,
    pub(super) job_id: JobId,
}

fn unread(error: DatabaseError) -> PlanError {
    match error {
        DatabaseError::Unavailable { .. } => PlanError::Unavailable(error.to_string()),
        error => PlanError::Failed(error.to_string()),
    }
}

#[async_trait]
impl Upstream for StoredResults {
    async fn output(&self, stage: Stage) -> Result<Option<Box<RawValue>>, PlanError> {
        let key = StageKey { job_id: self.job_id, stage };
        self.database.stages().output(&key).await.map_err(unread)
    }

    async fn summary(&self, stage: Stage) -> Result<Option<Box<RawValue>>, PlanError> {
        let key = StageKey { job_id: self.job_id, stage };
        self.database.stages().summary(&key).await.map_err(unread)
    }

    fn results(&self, stage: Stage) -> BoxStream<'static, Result<TaskEnd, PlanError>> {
        let key = StageKey { job_id: self.job_id, stage };
        let database = self.database.clone();
        stream::try_unfold(Some(-1), move |after: Option<i32>| {
            let database = database.clone();
            async move {
                let Some(after) = after else { return Ok(None) };
                let page = database.stages().results_in_order(&key, after).await.map_err(unread)?;
                let results = stream::iter(page.ends.into_iter().map(|end| {
                    Ok(match end {
                        Ok(result) => TaskEnd::Completed(result),
                        Err(reason) => TaskEnd::Failed(reason),
                    })
                }));
                Ok::<_, PlanError>(Some((results, page.last)))
            }
        })
        .try_flatten()
        .boxed()
    }
}
