//! The queues of tasks for workers, and the workers, as people see them.

use std::collections::BTreeMap;

use lastlight_api::workers::{HandlerInfo, RunningTask, WorkerInfo, WorkerList, WorkerQueue};
use time::OffsetDateTime;

use super::Queries;
use crate::{
    model::{Timestamp, clock},
    store::{HandlerWork, ListedWorker, TaskOfWorker},
    workflow::ControllerError,
};

/// Handlers of which nothing is open, and that nobody has served for so long, are not listed.
const LISTED_FOR: time::Duration = time::Duration::days(7);

impl Queries {
    /// The queues, or one of them, and the workers that serve them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn workers(&self, queue: Option<&str>) -> Result<WorkerList, ControllerError> {
        let workers = self.0.database.workers().alive(queue).await?;
        let ids: Vec<&str> = workers.iter().map(|worker| &*worker.worker_id).collect();
        let running = self.0.database.workers().tasks_of(&ids).await?;
        let work = self.0.database.workers().work(queue).await?;
        let queues = queues(work, &workers, clock::now());
        let mut running_in: BTreeMap<String, Vec<RunningTask>> = BTreeMap::new();
        for task in running {
            let TaskOfWorker { worker_id, .. } = &task;
            running_in.entry(worker_id.clone()).or_default().push(running_task(task));
        }
        let workers = workers.into_iter().map(|worker| WorkerInfo {
            running: running_in.remove(&worker.worker_id).unwrap_or_default(),
            worker_id: worker.worker_id,
            queue: worker.queue,
            handlers: worker.handlers,
            started_at: Timestamp(worker.started_at),
            seen_at: Timestamp(worker.seen_at),
        });
        Ok(WorkerList { queues, workers: workers.collect() })
    }

    /// The queues, or one of them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn worker_queues(
        &self,
        queue: Option<&str>,
    ) -> Result<Vec<WorkerQueue>, ControllerError> {
        let workers = self.0.database.workers().alive(queue).await?;
        let work = self.0.database.workers().work(queue).await?;
        Ok(queues(work, &workers, clock::now()))
    }
}

fn running_task(task: TaskOfWorker) -> RunningTask {
    RunningTask {
        job_id: task.job_id,
        job_type: task.job_type,
        stage: task.stage,
        node: task.node,
        task_id: task.task_id,
        attempt: task.attempt,
        since: Some(Timestamp(task.since)),
        progress: task.progress,
        message: task.message,
    }
}

fn queues(
    work: Vec<HandlerWork>,
    workers: &[ListedWorker],
    now: OffsetDateTime,
) -> Vec<WorkerQueue> {
    let mut queues: BTreeMap<String, WorkerQueue> = BTreeMap::new();
    for work in work {
        let served_lately = work.served_at.is_some_and(|served| now - served < LISTED_FOR);
        if work.open == 0 && work.depth() == 0 && !served_lately {
            continue;
        }
        let name = &work.handler.queue;
        let queue = queues.entry(name.clone()).or_insert_with(|| WorkerQueue {
            queue: name.clone(),
            workers: workers.iter().filter(|worker| worker.queue == *name).count(),
            ..WorkerQueue::default()
        });
        let serves = |worker: &&ListedWorker| {
            worker.queue == *name && worker.handlers.contains(&work.handler.name)
        };
        let handler = HandlerInfo {
            name: work.handler.name.clone(),
            depth: work.depth(),
            open: work.open,
            oldest_wait_seconds: work.oldest.map(|oldest| (now - oldest).as_seconds_f64().max(0.0)),
            served_at: work.served_at.map(Timestamp),
            workers: workers.iter().filter(serves).count(),
        };
        queue.depth += handler.depth;
        queue.open += handler.open;
        queue.unserved |= handler.is_unserved();
        let waits = [queue.oldest_wait_seconds, handler.oldest_wait_seconds];
        queue.oldest_wait_seconds = waits.into_iter().flatten().reduce(f64::max);
        queue.handlers.push(handler);
    }
    queues.into_values().collect()
}
