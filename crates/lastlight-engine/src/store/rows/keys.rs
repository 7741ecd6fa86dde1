//! The keys of stages, batches and attempts.

use crate::model::{BatchId, JobId, Stage, TaskId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StageKey {
    pub job_id: JobId,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchKey {
    pub job_id: JobId,
    pub stage: Stage,
    /// From 0 within the stage.
    pub batch_no: i32,
}

impl BatchKey {
    /// A batch of a stage.
    pub fn new(stage: &StageKey, batch_no: i32) -> Self {
        Self { job_id: stage.job_id, stage: stage.stage, batch_no }
    }
}

impl From<BatchId> for BatchKey {
    fn from(id: BatchId) -> Self {
        Self {
            job_id: id.job_id,
            stage: id.stage,
            // No batch of ours has a number above i32::MAX: a lookup of -1 finds nothing.
            batch_no: i32::try_from(id.number).unwrap_or(-1),
        }
    }
}

impl BatchKey {
    /// Its id, as contained in its tasks and messages.
    pub fn batch_id(&self) -> BatchId {
        BatchId::new(&self.job_id, self.stage, self.batch_no.unsigned_abs())
    }
}

/// An attempt that runs in this process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunningTask {
    pub job_id: JobId,
    pub stage: Stage,
    pub task_id: TaskId,
    pub attempt: i16,
}

impl RunningTask {
    /// Its stage.
    pub fn stage_key(&self) -> StageKey {
        StageKey { job_id: self.job_id, stage: self.stage }
    }
}

/// Whether this process has an archive, so that only what is in it may be deleted. While another process is known that has
/// one, the same holds for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveFirst(pub bool);
