//! Claims: an attempt claims its task before it runs, with a lease and an attempt number as fencing
//! token.

use std::time::Duration;

use serde_json::value::RawValue;
use sqlx::{Row, postgres::PgRow};

use super::{
    Database, DatabaseError,
    audit::Ignored,
    group_commit::{GroupCommit, GroupSizes, GroupStatement},
    jobs::{corrupt, json_of, optional_json_of},
};
use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, Stage, TaskId, TaskStatus},
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
    /// They are large and remain in the database: see [`Database::task_inputs`].
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
const LARGEST_CLAIMED: i32 = 32 * 1024;

/// An attempt that runs in this process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunningTask {
    pub job_id: JobId,
    pub stage: Stage,
    pub task_id: TaskId,
    pub attempt: i16,
}

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
        if let Err(error) = self.database.release_claims(&claims, self.lease_seconds).await {
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
        let rows = sqlx::query(include_str!("sql/claim_tasks.sql"))
            .bind(wanted.jobs)
            .bind(wanted.stages)
            .bind(wanted.tasks)
            .bind(self.lease_seconds)
            .bind(&self.from)
            .bind(&self.runs_in)
            .bind(LARGEST_CLAIMED)
            .fetch_all(self.database.pool().await?)
            .await?;
        failpoint!("claim.after_commit", Err(DatabaseError::lost()));
        let mut claims: Vec<Option<Claim>> = requests.iter().map(|_| None).collect();
        for row in &rows {
            claims[place_of(&order, row)?] = Some(Claim::Claimed(claimed(row)?));
        }
        let left: Vec<usize> = order.into_iter().filter(|place| claims[*place].is_none()).collect();
        let found = self.database.unclaimed(requests, &left).await?;
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
            .note_duplicates(requests, &claims, |claim| match claim {
                Claim::Claimed(_) => None,
                Claim::Unclaimed(unclaimed) => Some(*unclaimed),
            })
            .await;
        Ok(claims)
    }
}

impl Database {
    /// The inputs of a task; `None` if the task no longer exists.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn task_inputs(
        &self,
        task: &RunningTask,
    ) -> Result<Option<TaskInputs>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/task_inputs.sql"))
            .bind(task.job_id.as_str())
            .bind(i16::from(task.stage.get()))
            .bind(task.task_id.as_str())
            .fetch_optional(self.pool().await?)
            .await?;
        let inputs = row.map(|row| {
            Ok::<_, sqlx::Error>(TaskInputs {
                parameters: json_of(&row, "parameters")?,
                predecessor_result: optional_json_of(&row, "predecessor_result")?,
            })
        });
        Ok(inputs.transpose()?)
    }

    /// Why the tasks of `requests` at the indexes `left`, which are in key order, are not to be
    /// started now; each reason with its index.
    pub(super) async fn unclaimed(
        &self,
        requests: &[ClaimRequest],
        left: &[usize],
    ) -> Result<Vec<(usize, Unclaimed)>, DatabaseError> {
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Columns::of(left.iter().map(|place| &requests[*place]));
        let rows = sqlx::query(include_str!("sql/unclaimed_tasks.sql"))
            .bind(asked.jobs)
            .bind(asked.stages)
            .bind(asked.tasks)
            .fetch_all(self.pool().await?)
            .await?;
        let found =
            rows.iter().map(|row| Ok::<_, sqlx::Error>((place_of(left, row)?, unclaimed(row)?)));
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Counts the messages that were duplicates according to their answers.
    pub(super) async fn note_duplicates<A>(
        &self,
        requests: &[ClaimRequest],
        answers: &[A],
        unclaimed: impl Fn(&A) -> Option<Unclaimed>,
    ) {
        let duplicates = requests
            .iter()
            .zip(answers)
            .filter(|(_, answer)| unclaimed(answer).is_some_and(Unclaimed::is_duplicate));
        let stages = duplicates.map(|(request, _)| (request.job_id, request.stage));
        self.count_ignored(stages, Ignored::Duplicate).await;
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
fn columns_in_key_order(running: &[RunningTask]) -> (Vec<usize>, [Vec<&str>; 2], [Vec<i16>; 2]) {
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
        tasks().map(|task| i16::from(task.stage.get())).collect(),
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
            columns.stages.push(i16::from(request.stage.get()));
            columns.tasks.push(request.task_id.as_str());
        }
        columns
    }
}

/// Index of the request that the answer `row` is for; `order`: the requests' indexes in the order
/// in which the statement received them.
pub(super) fn place_of(order: &[usize], row: &PgRow) -> Result<usize, sqlx::Error> {
    let place: i64 = row.try_get("place")?;
    let request = usize::try_from(place - 1).ok().and_then(|index| order.get(index));
    request.copied().ok_or_else(|| corrupt("place", place.to_string()))
}

fn claimed(row: &PgRow) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        attempt: row.try_get("attempt")?,
        tries: u16::try_from(row.try_get::<i32, _>("tries")?).unwrap_or(u16::MAX),
        job_type: row.try_get("job_type")?,
        task_type: row.try_get("task_type")?,
        inputs: inputs(row)?,
    })
}

fn inputs(row: &PgRow) -> Result<Inputs, sqlx::Error> {
    let parameters = optional_json_of(row, "parameters")?;
    // The length of the result, and the result itself if it is short.
    let predecessor: Option<Vec<Option<String>>> = row.try_get("predecessor")?;
    let [length, result] = match predecessor.map(<[_; 2]>::try_from) {
        None => [None, None],
        Some(found) => {
            found.map_err(|found| corrupt("predecessor", format!("{} parts", found.len())))?
        }
    };
    let unread = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    match (parameters, length, result) {
        (Some(parameters), None, _) => {
            Ok(Inputs::Here(TaskInputs { parameters, predecessor_result: None }))
        }
        (Some(parameters), Some(_), Some(result)) => Ok(Inputs::Here(TaskInputs {
            parameters,
            predecessor_result: Some(RawValue::from_string(result).map_err(unread)?),
        })),
        (_, length, _) => {
            let of_result = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            let bytes: i32 = row.try_get("parameters_bytes")?;
            Ok(Inputs::Stored { bytes: usize::try_from(bytes).unwrap_or_default() + of_result })
        }
    }
}

fn unclaimed(row: &PgRow) -> Result<Unclaimed, sqlx::Error> {
    let Some(job_status) = row.try_get::<Option<&str>, _>("job_status")? else {
        return Ok(Unclaimed::UnknownJob);
    };
    let job_status =
        JobStatus::from_name(job_status).ok_or_else(|| corrupt("job_status", job_status))?;
    let Some(task_status) = row.try_get::<Option<&str>, _>("task_status")? else {
        return Ok(if job_status.is_terminal() {
            Unclaimed::JobFinished(job_status)
        } else {
            Unclaimed::UnknownTask
        });
    };
    let task_status =
        TaskStatus::from_name(task_status).ok_or_else(|| corrupt("task_status", task_status))?;
    Ok(if task_status.is_terminal() {
        let stage_ended =
            row.try_get::<Option<bool>, _>("ended")?.unwrap_or(false) && !job_status.is_terminal();
        Unclaimed::Done { stage_ended }
    } else if job_status.is_terminal() {
        Unclaimed::JobFinished(job_status)
    } else {
        // Under a valid lease; or released since the claim, and then the process that released it
        // sends a message.
        Unclaimed::Running
    })
}

impl Database {
    /// Releases claims whose attempts never began; these attempts do not count. If a task is not
    /// claimed again within `lost_seconds`, `reconcile` sends a message for it.
    pub async fn release_claims(
        &self,
        claims: &[RunningTask],
        lost_seconds: f64,
    ) -> Result<(), DatabaseError> {
        let (_, [jobs, tasks], [stages, attempts]) = columns_in_key_order(claims);
        sqlx::query(include_str!("sql/release_claims.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(tasks)
            .bind(attempts)
            .bind(lost_seconds)
            .bind(TaskStatus::sources(TaskStatus::Retrying))
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Extends the leases of running attempts; returns for each whether it still holds its task.
    /// One that does not can stop: another attempt has its task, or its job is finished.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn extend_leases(
        &self,
        running: &[RunningTask],
        lease_seconds: f64,
    ) -> Result<Vec<bool>, DatabaseError> {
        let (order, [jobs, tasks], [stages, attempts]) = columns_in_key_order(running);
        let places: Vec<i64> = sqlx::query_scalar(include_str!("sql/extend_leases.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(tasks)
            .bind(attempts)
            .bind(lease_seconds)
            .bind(JobStatus::open())
            .fetch_all(self.pool().await?)
            .await?;
        let mut held = vec![false; running.len()];
        for place in places {
            let slot = usize::try_from(place - 1)
                .ok()
                .and_then(|place| order.get(place))
                .and_then(|place| held.get_mut(*place));
            *slot.ok_or_else(|| corrupt("place", place))? = true;
        }
        Ok(held)
    }
}
