//! The results of the stages that have ended in memory, where plans and tasks of later stages find
//! them. Does not know how stages run.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use lastlight_engine::{
    job::erased::{TaskEnd, Upstream},
    model::Stage as StageNumber,
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::outcome::TaskFailed;
use crate::PlanError;

/// A stage that completed.
#[derive(Debug)]
pub(super) struct StageRecord {
    pub(super) task_type: String,
    /// The indexes of its tasks in the order of its plan.
    pub(super) planned: Vec<String>,
    pub(super) outputs: BTreeMap<String, Box<RawValue>>,
    pub(super) failed: Vec<TaskFailed>,
    pub(super) summary: Value,
    pub(super) attempts: u64,
}

/// The first stages of a job, in order; `None` stands for one that did not complete.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(Vec<Option<Arc<StageRecord>>>);

impl Records {
    pub(super) fn push(&mut self, stage: Option<StageRecord>) {
        self.0.push(stage.map(Arc::new));
    }

    pub(super) fn get(&self, stage: StageNumber) -> Option<&StageRecord> {
        self.0.get(usize::from(stage.get()) - 1)?.as_deref()
    }

    /// The stages that completed.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &StageRecord> {
        self.0.iter().filter_map(Option::as_deref)
    }
}

#[async_trait]
impl Upstream for Records {
    async fn output(&self, stage: StageNumber) -> Result<Option<Box<RawValue>>, PlanError> {
        let first = self.get(stage).and_then(|stage| stage.outputs.get(stage.planned.first()?));
        Ok(first.cloned())
    }

    async fn summary(&self, stage: StageNumber) -> Result<Option<Box<RawValue>>, PlanError> {
        Ok(self.get(stage).map(|stage| to_raw_value(&stage.summary)).transpose()?)
    }

    fn results(&self, stage: StageNumber) -> BoxStream<'static, Result<TaskEnd, PlanError>> {
        let end = |stage: &StageRecord, index: &String| match stage.outputs.get(index) {
            Some(output) => Some(Ok(TaskEnd::Completed(output.clone()))),
            None => {
                let failed = stage.failed.iter().find(|task| task.index == *index)?;
                Some(Ok(TaskEnd::Failed(failed.reason.clone())))
            }
        };
        let ends: Vec<_> = self
            .get(stage)
            .into_iter()
            .flat_map(|stage| stage.planned.iter().filter_map(|index| end(stage, index)))
            .collect();
        stream::iter(ends).boxed()
    }
}
