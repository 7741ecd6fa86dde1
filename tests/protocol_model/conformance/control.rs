//! The same orders of users to the model and to PostgreSQL.

use lastlight_engine::{
    model::{JobStatus, TaskStatus, UserRequest},
    store::{ArchiveFirst, Marked, NewJob, TaskChoice},
};

use super::{Answers, LONG, Pair, graphs::stages_of, nothing};
use crate::state::Task;

impl Pair {
    pub(super) async fn end_early(&mut self) -> Answers {
        let status = *self.random.choice(&[JobStatus::Failed, JobStatus::Cancelled]).unwrap();
        let model = self.model.end_early(status);
        let model = self.model.job.map(|job| job.status).filter(|_| model);
        let real = self
            .real
            .database
            .jobs()
            .end_early(&self.real.job_id, status, "over", &UserRequest::NOBODY)
            .await
            .unwrap();
        ("end_early", format!("{model:?}"), format!("{real:?}"))
    }

    /// One task at a time, the first that exists.
    pub(super) async fn skip_open_tasks(&mut self, stage: u8) -> Answers {
        let first = (0..self.rules.tasks(stage))
            .find(|task| self.model.skip_open_task(&self.rules, stage, *task));
        let key = self.real.key(stage);
        let real = self.real.database.tasks().skip_open(&key, "", 1).await.unwrap();
        let first = first.map(|task| self.real.task_id(stage, task).as_str().to_owned());
        ("skip_open_tasks", format!("{first:?}"), format!("{:?}", real.last))
    }

    pub(super) async fn close_stage(&mut self, stage: u8) -> Answers {
        let model = self.model.close_stage(&self.rules, stage);
        let real = self.real.database.stages().close(&self.real.key(stage)).await.unwrap();
        ("close_stage", model.to_string(), real.to_string())
    }

    pub(super) async fn request_pause(&mut self) -> Answers {
        self.model.request_pause();
        self.real
            .database
            .jobs()
            .request_pause(&self.real.job_id, &UserRequest::NOBODY)
            .await
            .unwrap();
        ("request_pause", String::new(), String::new())
    }

    pub(super) async fn resume_job(&mut self) -> Answers {
        self.model.resume_job(&self.rules);
        self.real.database.jobs().resume(&self.real.job_id, &UserRequest::NOBODY).await.unwrap();
        ("resume_job", String::new(), String::new())
    }

    pub(super) async fn reopen_tasks(&mut self, stage: u8, batch: u8) -> Answers {
        let model = self.model.reopen_tasks_of(&self.rules, stage, batch);
        let key = self.real.key(stage);
        let real = self.real.database.tasks().reopen(&key, i32::from(batch) - 1, 1).await.unwrap();
        ("reopen_tasks", model.to_string(), real.tasks.to_string())
    }

    pub(super) async fn reopen_job(&mut self) -> Answers {
        let stage = self.model.job.map_or(0, |job| job.stage);
        let model = self.model.reopen_job(&self.rules);
        if self.rules.graph.is_some() {
            let stages = self.real.database.stages();
            // Of a job that does not exist, the statement reopens nothing, and the model neither.
            let real =
                stages.reopen_graph(&self.real.job_id, LONG, &UserRequest::NOBODY).await.unwrap();
            return ("reopen_graph", model.to_string(), real.to_string());
        }
        let model = self.model.job.filter(|_| model).map(|job| job.status);
        let key = self.real.key(stage);
        let real =
            self.real.database.jobs().reopen(&key, "{}", LONG, &UserRequest::NOBODY).await.unwrap();
        ("reopen_job", format!("{model:?}"), format!("{real:?}"))
    }

    /// Of a task that can be retried, if there is one; otherwise of any.
    pub(super) async fn retry_task(&mut self, stage: u8, task: u8) -> Answers {
        let open = self.model.stages().filter(|(_, row)| !row.advanced);
        let failed = open.flat_map(|(stage, row)| {
            let is_failed = |task: &Task| task.status == TaskStatus::Failed;
            row.tasks().filter(move |(_, row)| is_failed(row)).map(move |(task, _)| (stage, task))
        });
        let failed: Option<(u8, u8)> = { failed }.next();
        let (stage, task) = failed.unwrap_or((stage, task));
        let model = self.model.retry_task(&self.rules, stage, task);
        let (key, task_id) = (self.real.key(stage), self.real.task_id(stage, task));
        let statuses = [TaskStatus::Failed, TaskStatus::Skipped];
        let choice = TaskChoice { task_id: Some(&task_id), statuses: &statuses, error: None };
        let tasks = self.real.database.tasks();
        let real = tasks.retry_some(&key, choice, "", 1, &UserRequest::NOBODY).await.unwrap();
        ("retry_tasks", model.to_string(), (real.changed == 1).to_string())
    }

    pub(super) async fn skip_task(&mut self, stage: u8, task: u8) -> Answers {
        let model = self.model.skip_task(&self.rules, stage, task);
        let (key, task_id) = (self.real.key(stage), self.real.task_id(stage, task));
        use TaskStatus::{Failed, PendingQueue, Processing, Queued, Retrying, Skipped};
        let statuses = [PendingQueue, Queued, Processing, Retrying, Failed, Skipped];
        let choice = TaskChoice { task_id: Some(&task_id), statuses: &statuses, error: None };
        let tasks = self.real.database.tasks();
        let real = tasks.skip_some(&key, choice, "", 1, &UserRequest::NOBODY).await.unwrap();
        ("skip_tasks", model.to_string(), (real.changed == 1).to_string())
    }

    /// All steps of a resubmission, if it may be.
    pub(super) async fn resubmit(&mut self) -> Answers {
        // Each run has attempts of its own, which a byte of the model holds.
        if self.model.attempts_before > 8 {
            return nothing();
        }
        let model = self.model.resubmit(&self.rules);
        let (database, job_id) = (self.real.database.clone(), self.real.job_id);
        let marked = database.purge().mark(&job_id, true, &UserRequest::NOBODY).await.unwrap();
        let mut real = marked == Marked::RunsAgain;
        if real {
            let stages = self.rules.graph.map(|graph| stages_of(&self.rules, &graph));
            let job = NewJob { graph: stages.as_deref(), ..self.real.job(&self.rules) };
            let begun =
                database.jobs().begin_next_run(job, LONG, ArchiveFirst(false)).await.unwrap();
            let has_tasks = self.real.has_tasks(job_id).await;
            assert!(begun != has_tasks, "a run begins only once nothing is left of the one before");
            while database.purge().tasks(&job_id, 3, ArchiveFirst(false)).await.unwrap().has_more {}
            while database.purge().batches(&job_id, 1).await.unwrap().has_more {}
            if has_tasks {
                real =
                    database.jobs().begin_next_run(job, LONG, ArchiveFirst(false)).await.unwrap();
            }
        }
        ("resubmit", model.to_string(), real.to_string())
    }

    pub(super) async fn open_partially_reopened(&mut self) -> Answers {
        let stages = 0..self.rules.stages;
        let model = stages.filter(|stage| self.model.open_partially_reopened(*stage)).count();
        let real = self.real.database.stages().open_partially_reopened(LONG, 10).await.unwrap();
        ("open_partially_reopened", model.to_string(), real.to_string())
    }
}
