//! Lists for users: jobs, and tasks across stages and jobs.
//!
//! A request reads a bounded number of rows and returns where it stopped, so that it is answered
//! soon for tables of any size and any filter. Stages whose counters rule out a match are not
//! searched.

use lastlight_api::{
    jobs::JobView,
    tasks::{ListedTask, TaskDetails, TaskLog},
};

use super::{Queries, views::job_view};
pub use crate::store::{JobFilter, JobPosition, JobSearch, Since, TaskFilter, TaskPosition};
use crate::workflow::ControllerError;
use crate::{
    model::{JobId, Stage, TaskId, TaskStatus, Timestamp},
    store::{LARGEST_PAGE, Page, StageKey, StageToList, TaskNotes},
};

/// Maximum number of rows that a request reads.
const LOOK: u32 = 20_000;

/// Maximum number of jobs whose stages one statement reads.
const LOOK_AT_JOBS: u32 = 5_000;

/// A statement that finds nothing costs as much as reading this many rows.
const FRUITLESS: u32 = 300;

/// Which tasks of one job to list. A field that is `None` does not filter.
#[derive(Debug, Clone, Copy)]
pub struct JobTaskFilter {
    /// Only tasks of this stage.
    pub stage: Option<Stage>,
    /// Only tasks that are shown with this status.
    pub status: Option<TaskStatus>,
}

/// Where a list of a job's tasks continues: after this id of this stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTaskPosition {
    pub stage: i16,
    /// The last id; empty: from the first task on.
    pub task_id: String,
}

impl Queries {
    /// At most `limit` jobs after `after`, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_jobs(
        &self,
        filter: JobFilter<'_>,
        after: Option<JobPosition>,
        limit: u16,
    ) -> Result<Page<JobView, JobPosition>, ControllerError> {
        let Page { rows, looked_at, next } =
            self.0.database.jobs().list(filter, after, limit, LOOK).await?;
        let rows = rows.into_iter().map(|row| job_view(row.job, row.totals)).collect();
        Ok(Page { rows, looked_at, next })
    }

    /// A task, and what its attempts said about themselves.
    ///
    /// # Errors
    /// There is no such task, or the database failed.
    pub async fn task_details(
        &self,
        job_id: &JobId,
        task_id: &TaskId,
    ) -> Result<TaskDetails, ControllerError> {
        let tasks = self.0.database.tasks();
        // A task's id contains the number of its stage.
        let stage = task_id.stage().unwrap_or(Stage::FIRST);
        let key = StageKey { job_id: *job_id, stage };
        let task = tasks.get(&key, task_id).await?.ok_or_else(|| ControllerError::UnknownTask {
            job_id: *job_id,
            stage,
            task_id: task_id.clone(),
        })?;
        let notes = tasks.notes(&key, task_id).await?;
        let (log, checkpoint) = match notes {
            None => (None, None),
            Some(TaskNotes { attempt, log_tail, checkpoint, updated_at, .. }) => {
                let updated_at = Timestamp(updated_at);
                let log = log_tail.map(|text| TaskLog { attempt, text, updated_at });
                (log, checkpoint.map(Into::into))
            }
        };
        Ok(TaskDetails { task, log, checkpoint })
    }

    /// At most `limit` tasks of a job, ordered by stage and id.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn list_tasks_of_job(
        &self,
        job_id: &JobId,
        filter: JobTaskFilter,
        after: Option<JobTaskPosition>,
        limit: u16,
    ) -> Result<Page<ListedTask, JobTaskPosition>, ControllerError> {
        let from = after.unwrap_or_else(|| JobTaskPosition { stage: 0, task_id: String::new() });
        let stages = self
            .0
            .database
            .tasks()
            .stages_of_job_to_list(job_id, from.stage, filter.stage, filter.status)
            .await?
            .ok_or(ControllerError::UnknownJob { job_id: *job_id })?;
        let mut list = Gathering::new(filter.status, limit);
        for stage in stages {
            let begins_here = i16::from(stage.stage.get()) == from.stage;
            let after = if begins_here { &*from.task_id } else { "" };
            if self.gather(&mut list, stage, after).await? {
                break;
            }
        }
        let page = list.finish();
        Ok(Page {
            rows: page.rows,
            looked_at: page.looked_at,
            next: page
                .next
                .map(|next| JobTaskPosition { stage: next.stage, task_id: next.task_id }),
        })
    }

    /// At most `limit` tasks of all jobs, ordered by job (newest first), stage and id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_tasks(
        &self,
        filter: TaskFilter<'_>,
        after: Option<TaskPosition>,
        limit: u16,
    ) -> Result<Page<ListedTask, TaskPosition>, ControllerError> {
        let mut list = Gathering::new(filter.status, limit);
        let mut from = after;
        loop {
            let stages = self
                .0
                .database
                .tasks()
                .stages_to_list(filter, from.as_ref(), list.wanted(), LOOK_AT_JOBS)
                .await?;
            let is_full = stages.rows.len() >= usize::from(list.wanted());
            list.pay(stages.looked_at);
            for stage in &stages.rows {
                let after = match &from {
                    Some(from) if from.is_in(stage) => &*from.task_id,
                    _ => "",
                };
                if self.gather(&mut list, *stage, after).await? {
                    return Ok(list.finish());
                }
            }
            let end = match (stages.next, stages.rows.last()) {
                (None, _) => return Ok(list.finish()),
                (Some(_), Some(last)) if is_full => TaskPosition {
                    job: last.job,
                    stage: i16::from(last.stage.get()) + 1,
                    task_id: String::new(),
                },
                (Some(job), _) => TaskPosition { job, stage: i16::MAX, task_id: String::new() },
            };
            if list.is_spent() {
                list.stop_at(end);
                return Ok(list.finish());
            }
            from = Some(end);
        }
    }

    /// Adds a stage's tasks after the id `after` to the list; returns whether that ends the
    /// request.
    async fn gather(
        &self,
        list: &mut Gathering,
        stage: StageToList,
        after: &str,
    ) -> Result<bool, ControllerError> {
        if list.is_spent() {
            list.stop_at(TaskPosition {
                job: stage.job,
                stage: i16::from(stage.stage.get()),
                task_id: after.to_owned(),
            });
            return Ok(true);
        }
        let key = StageKey { job_id: stage.job.job_id, stage: stage.stage };
        let page = self
            .0
            .database
            .tasks()
            .list(&key, list.status, after, list.wanted(), list.budget)
            .await?;
        Ok(list.add(stage, page))
    }
}

impl TaskPosition {
    fn is_in(&self, stage: &StageToList) -> bool {
        self.job == stage.job && self.stage == i16::from(stage.stage.get())
    }
}

/// A page of tasks collected from several stages.
struct Gathering {
    status: Option<TaskStatus>,
    limit: u16,
    /// Rows that may still be read.
    budget: u32,
    looked_at: u64,
    rows: Vec<ListedTask>,
    /// Size of the rows' content in bytes.
    bytes: usize,
    /// The position of the last row.
    last_kept: Option<TaskPosition>,
    stop: Option<TaskPosition>,
}

impl Gathering {
    fn new(status: Option<TaskStatus>, limit: u16) -> Self {
        Self {
            status,
            limit,
            budget: LOOK,
            looked_at: 0,
            rows: Vec::new(),
            bytes: 0,
            last_kept: None,
            stop: None,
        }
    }

    /// Rows that still fit.
    fn free(&self) -> usize {
        usize::from(self.limit).saturating_sub(self.rows.len())
    }

    /// Rows to request. If none fits any more, one row shows whether there are more.
    fn wanted(&self) -> u16 {
        u16::try_from(self.free()).unwrap_or(u16::MAX).max(1)
    }

    fn is_spent(&self) -> bool {
        self.budget == 0
    }

    fn pay(&mut self, rows: u64) {
        self.budget = self.budget.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
    }

    fn stop_at(&mut self, position: TaskPosition) {
        self.stop = Some(position);
    }

    /// Adds the rows read from one stage; returns whether the page ends with them.
    fn add(&mut self, stage: StageToList, page: Page<ListedTask, String>) -> bool {
        let position = |task_id: String| TaskPosition {
            job: stage.job,
            stage: i16::from(stage.stage.get()),
            task_id,
        };
        self.looked_at += page.looked_at;
        self.pay(if page.rows.is_empty() {
            page.looked_at.max(FRUITLESS.into())
        } else {
            page.looked_at
        });
        let free = self.free();
        if page.rows.len() > free {
            self.stop = self.last_kept.take();
            return true;
        }
        if let Some(last) = page.rows.last() {
            self.last_kept = Some(position(last.task_id.clone()));
        }
        let bytes: usize = page.rows.iter().map(content_bytes).sum();
        self.bytes += bytes;
        if self.bytes >= LARGEST_PAGE {
            self.budget = 0;
        }
        self.rows.extend(page.rows);
        if let Some(next) = page.next {
            self.stop = Some(position(next));
            return true;
        }
        false
    }

    fn finish(self) -> Page<ListedTask, TaskPosition> {
        Page { rows: self.rows, looked_at: self.looked_at, next: self.stop }
    }
}

/// Size of a task's parameters, result and error in bytes.
fn content_bytes(task: &ListedTask) -> usize {
    task.parameters.get().len()
        + task.result_data.as_ref().map_or(0, |result| result.get().len())
        + task.error_details.as_ref().map_or(0, String::len)
}
