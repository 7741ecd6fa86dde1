//! Claims: an attempt claims its task before it runs, with a lease and an attempt number as fencing
//! token.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    Tasks,
    group_commit::{GroupCommit, GroupSizes, GroupStatement},
};
use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, Stage, TaskId, TaskStatus},
    store::{
        connection::{Database, DatabaseError},
        rows::{JsonText, RunningTask, corrupt},
        stages::Ignored,
    },
};

/// A request to run a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    pub job_id: JobId,
    pub stage: Stage,
    pub task_id: TaskId,
}

/// Result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The caller is to run the task.
    Claimed(Claimed),
    /// The caller is not to run it.
    Unclaimed(Unclaimed),
}

/// Why a task is not to be started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclaimed {
    /// Another attempt holds the lease, or the task is not due yet: the process that postponed it
    /// sends a message for it.
    Running,
    /// The task has its outcome.
    Done {
        /// Whether its stage has ended and was not advanced: the caller should advance it.
        stage_ended: bool,
    },
    /// Its job is finished.
    JobFinished(JobStatus),
    /// The job has no such task in this stage.
    UnknownTask,
    /// The job does not exist.
    UnknownJob,
}

impl Unclaimed {
    /// Whether the message was for a task that is finished, runs, or is not to run any more.
    fn is_duplicate(self) -> bool {
        matches!(self, Self::Running | Self::Done { .. } | Self::JobFinished(_))
    }
}

/// A task that the caller is to run.
#[derive(Debug)]
pub struct Claimed {
    /// The attempt's number, from 1; a completion must name it.
    pub attempt: i16,
    /// Number of this attempt, counted since a user last retried the task.
    pub tries: u16,
    /// The type of its job.
    pub job_type: String,
    pub task_type: String,
    pub inputs: Inputs,
}

/// The inputs of a task.
#[derive(Debug)]
pub enum Inputs {
    Here(TaskInputs),
    /// They are large and remain in the database: see [`Tasks::inputs`].
    Stored {
        bytes: usize,
    },
}

/// A task's parameters, and the result that it reads from the previous stage.
#[derive(Debug)]
pub struct TaskInputs {
    /// The parameters of its definition.
    pub parameters: Box<RawValue>,
    /// The result of its predecessor, if that completed.
    pub predecessor_result: Option<Box<RawValue>>,
}

/// Maximum size in bytes of inputs that are returned by a claim.
pub(in crate::store) const LARGEST_CLAIMED: i32 = 32 * 1024;

/// Accepts claims; those that wait at the same moment share a statement.
#[derive(Debug)]
pub struct TaskClaims(GroupCommit<ClaimStatement>);

impl TaskClaims {
    /// Starts the worker. `lease_seconds`: how long a claim is valid without a heartbeat.
    pub fn start(database: Database, lease_seconds: f64) -> Self {
        Self(GroupCommit::start(ClaimStatement {
            database,
            lease_seconds,
            from: TaskStatus::sources(TaskStatus::Processing),
            // A job between stages is queued; messages of its last tasks may still arrive.
            runs_in: JobStatus::open(),
        }))
    }

    /// Sizes of the groups so far.
    pub fn group_sizes(&self) -> GroupSizes {
        self.0.sizes()
    }

    /// Claims a task; answers after the commit.
    ///
    /// # Errors
    /// The database failed; whether the claim counts is unknown. If it does, its lease expires.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Claim, DatabaseError> {
        self.0.submit(request).await
    }
}

#[derive(Debug)]
struct ClaimStatement {
    database: Database,
    lease_seconds: f64,
    from: Vec<&'static str>,
    runs_in: Vec<&'static str>,
}

impl GroupStatement for ClaimStatement {
    type Request = ClaimRequest;
    type Answer = Claim;

    /// Releases claims whose callers no longer wait: their messages are redelivered, and should not
    /// find the tasks running.
    async fn undelivered(&self, answers: Vec<(&ClaimRequest, Claim)>) {
        let claims: Vec<RunningTask> = answers
            .into_iter()
            .filter_map(|(request, claim)| match claim {
                Claim::Claimed(claimed) => Some(RunningTask {
                    job_id: request.job_id,
                    stage: request.stage,
                    task_id: request.task_id.clone(),
                    attempt: claimed.attempt,
                }),
                _ => None,
            })
            .collect();
        if claims.is_empty() {
            return;
        }
        if let Err(error) = self.database.tasks().release_claims(&claims, self.lease_seconds).await
        {
            tracing::warn!(%error, tasks = claims.len(), "could not release claims whose callers gave up; their leases expire");
        }
    }

    /// A message whose task was not claimed is redelivered.
    fn timeout(&self) -> Option<Duration> {
        Some(self.database.timeout())
    }

    async fn run(&self, requests: &[ClaimRequest]) -> Result<Vec<Claim>, DatabaseError> {
        failpoint!("claim.before_commit", Err(DatabaseError::lost()));
        let order = in_key_order(requests);
        let wanted = Columns::of(order.iter().map(|place| &requests[*place]));
        let rows = sqlx::query_file!(
            "src/store/sql/claim_tasks.sql",
            &wanted.jobs as _,
            &wanted.stages,
            &wanted.tasks as _,
            self.lease_seconds,
            &self.from as _,
            &self.runs_in as _,
            LARGEST_CLAIMED,
        )
        .fetch_all(self.database.pool().await?)
        .await?;
        failpoint!("claim.after_commit", Err(DatabaseError::lost()));
        let mut claims: Vec<Option<Claim>> = requests.iter().map(|_| None).collect();
        for row in rows {
            claims[place_of(&order, row.place)?] = Some(Claim::Claimed(Claimed {
                attempt: row.attempt,
                tries: u16::try_from(row.tries).unwrap_or(u16::MAX),
                job_type: row.job_type,
                task_type: row.task_type,
                inputs: inputs(row.parameters, row.parameters_bytes, row.predecessor)?,
            }));
        }
        let left: Vec<usize> = order.into_iter().filter(|place| claims[*place].is_none()).collect();
        let found = self.database.tasks().unclaimed(requests, &left).await?;
        for (place, unclaimed) in found {
            claims[place] = Some(Claim::Unclaimed(unclaimed));
        }
        // If the same task is in a group several times, the first request gets it; for the others
        // it is running.
        let claims: Vec<Claim> = claims
            .into_iter()
            .map(|claim| claim.unwrap_or(Claim::Unclaimed(Unclaimed::Running)))
            .collect();
        self.database
            .tasks()
            .note_duplicates(requests, &claims, |claim| match claim {
                Claim::Claimed(_) => None,
                Claim::Unclaimed(unclaimed) => Some(*unclaimed),
            })
            .await;
        Ok(claims)
    }
}

impl Tasks<'_> {
    /// The inputs of a task; `None` if the task no longer exists.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn inputs(self, task: &RunningTask) -> Result<Option<TaskInputs>, DatabaseError> {
        let inputs = sqlx::query_file!(
            "src/store/sql/task_inputs.sql",
            task.job_id.as_str(),
            task.stage.number(),
            task.task_id.as_str(),
        )
        .map(|row| TaskInputs {
            parameters: row.parameters.into(),
            predecessor_result: row.predecessor_result.map(Into::into),
        });
        Ok(inputs.fetch_optional(self.0.pool().await?).await?)
    }

    /// Why the tasks of `requests` at the indexes `left`, which are in key order, are not to be
    /// started now; each reason with its index.
    pub(super) async fn unclaimed(
        self,
        requests: &[ClaimRequest],
        left: &[usize],
    ) -> Result<Vec<(usize, Unclaimed)>, DatabaseError> {
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = Columns::of(left.iter().map(|place| &requests[*place]));
        let found = sqlx::query_file!(
            "src/store/sql/unclaimed_tasks.sql",
            &wanted.jobs as _,
            &wanted.stages,
            &wanted.tasks as _,
        )
        .try_map(|row| {
            let stage_ended = row.ended.unwrap_or(false);
            let unclaimed = unclaimed(row.job_status, row.task_status, stage_ended);
            Ok((place_of(left, row.place)?, unclaimed))
        });
        Ok(found.fetch_all(self.0.pool().await?).await?)
    }

    /// Counts the messages that were duplicates according to their answers.
    pub(super) async fn note_duplicates<A>(
        self,
        requests: &[ClaimRequest],
        answers: &[A],
        unclaimed: impl Fn(&A) -> Option<Unclaimed>,
    ) {
        let duplicates = requests
            .iter()
            .zip(answers)
            .filter(|(_, answer)| unclaimed(answer).is_some_and(Unclaimed::is_duplicate));
        let stages = duplicates.map(|(request, _)| (request.job_id, request.stage));
        self.0.stages().count_ignored(stages, Ignored::Duplicate).await;
    }
}

/// The indexes of the requests in key order, so that groups of two processes lock in the same
/// order; of several requests for the same task only the first one's.
pub(super) fn in_key_order(requests: &[ClaimRequest]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    let key = |place: &usize| {
        let request = &requests[*place];
        (request.job_id.as_str(), request.stage.get(), request.task_id.as_str())
    };
    order.sort_by_key(key);
    order.dedup_by_key(|place| key(place));
    order
}

/// The indexes of the tasks in key order, and the columns for UNNEST in that order: a heartbeat
/// that locked in another order could deadlock with a group of completions.
pub(in crate::store) fn columns_in_key_order(
    running: &[RunningTask],
) -> (Vec<usize>, [Vec<&str>; 2], [Vec<i16>; 2]) {
    let mut order: Vec<usize> = (0..running.len()).collect();
    order.sort_by_key(|place| {
        let task = &running[*place];
        (task.job_id.as_str(), task.stage.get(), task.task_id.as_str())
    });
    let tasks = || order.iter().map(|place| &running[*place]);
    let texts = [
        tasks().map(|task| task.job_id.as_str()).collect(),
        tasks().map(|task| task.task_id.as_str()).collect(),
    ];
    let numbers = [
        tasks().map(|task| task.stage.number()).collect(),
        tasks().map(|task| task.attempt).collect(),
    ];
    (order, texts, numbers)
}

pub(super) struct Columns<'a> {
    pub(super) jobs: Vec<&'a str>,
    pub(super) stages: Vec<i16>,
    pub(super) tasks: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(requests: impl ExactSizeIterator<Item = &'a ClaimRequest>) -> Self {
        let mut columns = Self {
            jobs: Vec::with_capacity(requests.len()),
            stages: Vec::with_capacity(requests.len()),
            tasks: Vec::with_capacity(requests.len()),
        };
        for request in requests {
            columns.jobs.push(request.job_id.as_str());
            columns.stages.push(request.stage.number());
            columns.tasks.push(request.task_id.as_str());
        }
        columns
    }
}

/// Index of the request that an answer with `place` is for; `order`: the requests' indexes in the
/// order in which the statement received them.
pub(in crate::store) fn place_of(order: &[usize], place: i64) -> Result<usize, sqlx::Error> {
    let request = usize::try_from(place - 1).ok().and_then(|index| order.get(index));
    request.copied().ok_or_else(|| corrupt("place", place))
}

/// `predecessor`: the length of its result, and the result itself if it is short.
pub(in crate::store) fn inputs(
    parameters: Option<JsonText>,
    parameters_bytes: i32,
    predecessor: Option<Vec<Option<String>>>,
) -> Result<Inputs, sqlx::Error> {
    let [length, result] = match predecessor.map(<[_; 2]>::try_from) {
        None => [None, None],
        Some(found) => {
            found.map_err(|found| corrupt("predecessor", format!("{} parts", found.len())))?
        }
    };
    let unread = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    match (parameters, length, result) {
        (Some(parameters), None, _) => {
            Ok(Inputs::Here(TaskInputs { parameters: parameters.0, predecessor_result: None }))
        }
        (Some(parameters), Some(_), Some(result)) => Ok(Inputs::Here(TaskInputs {
            parameters: parameters.0,
            predecessor_result: Some(RawValue::from_string(result).map_err(unread)?),
        })),
        (_, length, _) => {
            let of_result = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            let of_parameters = usize::try_from(parameters_bytes).unwrap_or_default();
            Ok(Inputs::Stored { bytes: of_parameters + of_result })
        }
    }
}

fn unclaimed(job: Option<JobStatus>, task: Option<TaskStatus>, stage_ended: bool) -> Unclaimed {
    match (job, task) {
        (None, _) => Unclaimed::UnknownJob,
        (Some(job), Some(task)) if task.is_terminal() => {
            Unclaimed::Done { stage_ended: stage_ended && !job.is_terminal() }
        }
        (Some(job), _) if job.is_terminal() => Unclaimed::JobFinished(job),
        (_, None) => Unclaimed::UnknownTask,
        // Under a valid lease; or released since the claim, and then the process that released it
        // sends a message.
        _ => Unclaimed::Running,
    }
}

impl Tasks<'_> {
    /// Takes back an attempt from the count of its task's attempts, if it still holds the task.
    ///
    /// # Errors
    /// The statement failed; the attempt counts.
    pub async fn forgive_attempt(self, task: &RunningTask) -> Result<(), DatabaseError> {
        sqlx::query_file!(
            "src/store/sql/forgive_attempt.sql",
            task.job_id.as_str(),
            task.stage.number(),
            task.task_id.as_str(),
            task.attempt,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Releases claims whose attempts never began; these attempts do not count. If a task is not
    /// claimed again within `lost_seconds`, `reconcile` sends a message for it, unless it is for workers.
    pub async fn release_claims(
        self,
        claims: &[RunningTask],
        lost_seconds: f64,
    ) -> Result<(), DatabaseError> {
        let (_, [jobs, tasks], [stages, attempts]) = columns_in_key_order(claims);
        sqlx::query_file!(
            "src/store/sql/release_claims.sql",
            &jobs as _,
            &stages,
            &tasks as _,
            &attempts,
            lost_seconds,
            &TaskStatus::sources(TaskStatus::Retrying) as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Extends the leases of running attempts; returns for each whether it still holds its task.
    /// One that does not can stop: another attempt has its task, or its job is finished.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn extend_leases(
        self,
        running: &[RunningTask],
        lease_seconds: f64,
    ) -> Result<Vec<bool>, DatabaseError> {
        let (order, [jobs, tasks], [stages, attempts]) = columns_in_key_order(running);
        let places = sqlx::query_file_scalar!(
            "src/store/sql/extend_leases.sql",
            &jobs as _,
            &stages,
            &tasks as _,
            &attempts,
            lease_seconds,
            &JobStatus::open() as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let mut held = vec![false; running.len()];
        for place in places {
            held[place_of(&order, place)?] = true;
        }
        Ok(held)
    }
}
