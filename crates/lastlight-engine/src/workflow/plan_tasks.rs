//! Converts task definitions to tasks and their messages, as they are stored and sent. Must not
//! know leases, cursors or time.

use super::outgoing::{BatchToSend, TaskMessages, TaskToSend};
use crate::{
    job::erased::{Predecessor, TaskDefinition},
    model::{DEEPEST_NESTING, Stage, TaskId, TaskIndex, TraceParent, nesting},
    store::{BatchKey, BatchOfTasks, NewTask, StageKey, StagePlan},
    transport::sender::OutgoingMessage,
};

/// The messages of batches, which all have the same number of messages.
pub(super) fn messages(
    plan: &StagePlan<'_>,
    timestamp: &str,
    trace: Option<TraceParent>,
    batches: &[BatchOfTasks],
) -> Result<Vec<OutgoingMessage>, serde_json::Error> {
    let shared = TaskMessages { job_id: &plan.key.job_id, stage: plan.key.stage, timestamp, trace };
    let one = |task: &NewTask| {
        shared.message(TaskToSend {
            task_id: task.task_id.as_str(),
            job_type: plan.job_type,
            task_type: plan.task_type,
            task_index: &task.task_index,
            parent_task_id: task.parent_task_id.as_ref().map(TaskId::as_str),
            parameters: &task.parameters,
            attempt: 0,
            resends: 0,
            runs_alone: false,
        })
    };
    let coarse = |batch: &BatchOfTasks| {
        let batch = BatchToSend {
            key: &BatchKey::new(&plan.key, batch.batch_no),
            job_type: plan.job_type,
            task_type: plan.task_type,
            resends: 0,
            trace,
        };
        batch.message(timestamp)
    };
    if plan.tasks_per_message.is_coarse() {
        batches.iter().map(coarse).collect()
    } else {
        batches.iter().flat_map(|batch| &batch.tasks).map(one).collect()
    }
}

/// Why the task of a definition could not run: every reader would reject its message, again and
/// again.
pub(super) fn unfit(definition: &TaskDefinition) -> Option<String> {
    let TaskDefinition { index, parameters, .. } = definition;
    let index = index.as_str();
    let depth = nesting(parameters.get());
    (depth > DEEPEST_NESTING).then(|| {
        format!(
            "the parameters of task {index:?} are nested {depth} deep; at most {DEEPEST_NESTING} are allowed"
        )
    })
}

/// The task of a definition, as it is stored.
pub(super) fn new_task(key: &StageKey, definition: TaskDefinition) -> NewTask {
    let TaskDefinition { index, parameters, predecessor } = definition;
    let task_in = |stage: Stage, index: &TaskIndex| TaskId::derive(&key.job_id, stage, index);
    let previous = key.stage.previous();
    let (parent_task_id, parent_stage) = match &predecessor {
        Predecessor::SameIndex => (previous.map(|stage| task_in(stage, &index)), None),
        Predecessor::Index(index) => (previous.map(|stage| task_in(stage, index)), None),
        Predecessor::In(stage, index) => (Some(task_in(*stage, index)), Some(*stage)),
        Predecessor::Nothing => (None, None),
    };
    NewTask {
        task_id: TaskId::derive(&key.job_id, key.stage, &index),
        task_index: index.as_str().to_owned(),
        parent_task_id,
        parent_stage,
        parameters: String::from(Box::<str>::from(parameters)),
    }
}
