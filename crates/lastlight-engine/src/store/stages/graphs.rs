//! Stages that form a graph: their rows, the end of one of them, which starts others, decisions at
//! gates, and a retry of their job. Knows neither what stages mean nor how outcomes are computed.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EndedStage, Stages};
use crate::{
    failpoint::failpoint,
    model::{GateDecision, JobId, JobStatus, Stage, StageKind, StageOutcome, UserRequest},
    store::{
        connection::DatabaseError,
        rows::{JsonText, StageKey, without_nul},
    },
};

/// A stage of a graph, as stored.
#[derive(Debug, Clone)]
pub struct GraphStage {
    pub stage: Stage,
    pub name: String,
    pub kind: StageKind,
    /// The stages that need it to complete.
    pub needed_by: Vec<i16>,
    /// The stages that only wait for its end.
    pub followed_by: Vec<i16>,
    /// Stages that it depends on and that have not ended.
    pub waits_for: i16,
    /// Whether it cannot run.
    pub unmet: bool,
    pub best_effort: bool,
    /// How it ended; `None` also if its job ended first.
    pub outcome: Option<StageOutcome>,
    /// The dependents that a decision did not choose.
    pub not_chosen: Option<Vec<i16>>,
    /// What was decided at a gate.
    pub decision: Option<GateDecision>,
    /// When its time for a decision ends, if it is a gate that waits for one.
    pub decide_until: Option<OffsetDateTime>,
    /// The job that it waits for.
    pub child_job_id: Option<String>,
    /// What a stage without tasks resulted in.
    pub output: Option<JsonText>,
    /// Its entry in the job's `stage_results`.
    pub result: Option<JsonText>,
    /// Whether it has ended, or was closed after its job's end.
    pub is_closed: bool,
}

impl GraphStage {
    /// Whether a retry of its finished job runs it again: it failed, or had not ended.
    pub fn runs_again(&self) -> bool {
        runs_again(self.outcome, self.waits_for, self.unmet, self.best_effort)
    }
}

fn runs_again(
    outcome: Option<StageOutcome>,
    waits_for: i16,
    unmet: bool,
    best_effort: bool,
) -> bool {
    match outcome {
        None => waits_for == 0 && !unmet,
        Some(StageOutcome::Failed) => !best_effort,
        Some(_) => false,
    }
}

/// The end of a stage, as it is to be stored.
#[derive(Debug, Clone)]
pub struct StageEnd<'a> {
    pub outcome: StageOutcome,
    /// The dependents that a decision did not choose.
    pub not_chosen: BTreeSet<Stage>,
    /// What a stage without tasks resulted in, as JSON.
    pub output: Option<&'a str>,
    /// Its entry in the job's `stage_results`, as JSON.
    pub result: &'a str,
}

/// The end of a job, as it is to be stored with the end of its last stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphEnd {
    /// Completed or failed.
    pub status: JobStatus,
    /// JSON.
    pub result_data: Option<String>,
    pub error_details: Option<String>,
}

/// What the end of a stage led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphAdvance {
    /// The job has open stages.
    Moved {
        /// The stages whose job messages are unsent now.
        unsent: Vec<Stage>,
        /// The stages that became ready and have ended: the caller must advance each of them.
        ended: Vec<Stage>,
        /// The stages that became ready and wait for another job, which is to be submitted.
        jobs: Vec<Stage>,
        /// Whether the job is paused.
        is_paused: bool,
    },
    /// It was the last stage.
    JobEnded(JobStatus),
    /// Another process claimed the end, the stage has ended again since, or the job is finished.
    NotOurs,
}

/// A gate whose time for a decision has passed.
#[derive(Debug, Clone)]
pub struct GateDue {
    pub job_id: JobId,
    pub stage: Stage,
    /// What counts as decided.
    pub on_timeout: GateDecision,
    pub timeout_seconds: i32,
}

impl Stages<'_> {
    /// Claims the end of a stage of a graph as it was `read`, counts it in the rows of its
    /// dependents, and starts those that wait for nothing else. If no stage is open after it, the
    /// job ends as `finish` says, which receives all stages. All in one transaction.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn end_in_graph(
        self,
        key: &StageKey,
        read: &EndedStage,
        end: &StageEnd<'_>,
        grace_seconds: f64,
        finish: impl FnOnce(&[GraphStage]) -> GraphEnd,
    ) -> Result<GraphAdvance, DatabaseError> {
        let job_id = key.job_id.as_str();
        let mut transaction = self.0.begin().await?;
        let not_chosen: Vec<i16> = end.not_chosen.iter().map(|stage| stage.number()).collect();
        let claimed = sqlx::query_file!(
            "src/store/sql/end_stage.sql",
            job_id,
            key.stage.number(),
            read.completed,
            read.failed,
            read.skipped,
            end.outcome.as_str(),
            &not_chosen,
            end.output as _,
            end.result as _,
            read.run,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(claimed) = claimed else { return Ok(GraphAdvance::NotOurs) };
        let mut unmet = not_chosen;
        if end.outcome != StageOutcome::Completed {
            unmet.extend(&claimed.needed_by);
        }
        let mut dependents = claimed.needed_by;
        dependents.extend(claimed.followed_by);
        let moved = sqlx::query_file!(
            "src/store/sql/start_dependents.sql",
            job_id,
            &dependents,
            &unmet,
            grace_seconds,
            &JobStatus::open() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(moved) = moved else { return Ok(GraphAdvance::NotOurs) };
        let mut ended = None;
        if moved.open_stages == 0 {
            let stages = graph_stages(&mut transaction, &key.job_id).await?;
            let end = finish(&stages);
            ended = end_graph(&mut transaction, &key.job_id, &end).await?;
        }
        failpoint!("end_stage.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("end_stage.after_commit", Err(DatabaseError::lost()));
        if let Some(status) = ended {
            return Ok(GraphAdvance::JobEnded(status));
        }
        Ok(GraphAdvance::Moved {
            unsent: numbers(&moved.unsent),
            ended: numbers(&moved.ended),
            jobs: numbers(&moved.jobs),
            is_paused: moved.is_paused,
        })
    }

    /// The stages of a graph, in order; none if the job's stages are a line.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn of_graph(self, job_id: &JobId) -> Result<Vec<GraphStage>, DatabaseError> {
        Ok(sqlx::query_file_as!(GraphStage, "src/store/sql/graph_stages.sql", job_id.as_str())
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// Records why a stage cannot be planned any further: it fails once its planned tasks have their
    /// outcomes. `Some(true)` if they have, so that the planner must advance the stage; `None` if the
    /// lease was lost.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn fail_plan(
        self,
        key: &StageKey,
        owner: Uuid,
        reason: &str,
    ) -> Result<Option<bool>, DatabaseError> {
        failpoint!("fail_stage_plan.before_commit", Err(DatabaseError::lost()));
        let ended = sqlx::query_file_scalar!(
            "src/store/sql/fail_stage_plan.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
            &*without_nul(reason),
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        failpoint!("fail_stage_plan.after_commit", Err(DatabaseError::lost()));
        Ok(ended)
    }

    /// Records the decision at a gate that waits for one; `false` if it does not. `output` is JSON.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn decide_gate(
        self,
        key: &StageKey,
        decision: GateDecision,
        output: &str,
    ) -> Result<bool, DatabaseError> {
        failpoint!("decide_gate.before_commit", Err(DatabaseError::lost()));
        let decided = sqlx::query_file!(
            "src/store/sql/decide_gate.sql",
            key.job_id.as_str(),
            key.stage.number(),
            decision.as_str(),
            output as _,
            &JobStatus::open() as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        failpoint!("decide_gate.after_commit", Err(DatabaseError::lost()));
        Ok(decided.rows_affected() == 1)
    }

    /// Gates whose time for a decision has passed.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn gates_due(self, limit: i64) -> Result<Vec<GateDue>, DatabaseError> {
        Ok(sqlx::query_file_as!(GateDue, "src/store/sql/gates_due.sql", limit)
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// Jobs that ended before their last stage, which runs all the same, and whose stages are closed.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn to_finalize(self, limit: i64) -> Result<Vec<JobId>, DatabaseError> {
        Ok(sqlx::query_file_scalar!(
            "src/store/sql/jobs_to_finalize.sql",
            limit,
            &JobStatus::reopenable() as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Starts the last stage of a job that ended before it, if that stage runs all the same, has not
    /// begun, and all stages are closed; `false` otherwise. The job runs until that stage has ended,
    /// and then ends as before.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn finalize(
        self,
        job_id: &JobId,
        deadline_seconds: f64,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.0.begin().await?;
        // First the job, as in a retry of tasks, so that none of them is made ready meanwhile.
        let ended = sqlx::query_file!(
            "src/store/sql/lock_ended_job.sql",
            job_id.as_str(),
            &JobStatus::reopenable() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if ended.is_none() {
            return Ok(false);
        }
        let stages =
            sqlx::query_file_as!(LockedStage, "src/store/sql/lock_graph.sql", job_id.as_str())
                .fetch_all(&mut *transaction)
                .await?;
        let Some(last) = to_finalize(&stages) else { return Ok(false) };
        sqlx::query_file!(
            "src/store/sql/finalize_job.sql",
            job_id.as_str(),
            last.number(),
            deadline_seconds,
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Reopens a finished job in every stage that failed or had not ended. A stage that was skipped
    /// because of one of these waits again. `false` if that is not legal, or a task of one of these
    /// stages is not ready to run again.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn reopen_graph(
        self,
        job_id: &JobId,
        deadline_seconds: f64,
        request: &UserRequest,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.0.begin_for(request).await?;
        let stages =
            sqlx::query_file_as!(LockedStage, "src/store/sql/lock_graph.sql", job_id.as_str())
                .fetch_all(&mut *transaction)
                .await?;
        let Some(reopened) = reopened(&stages) else { return Ok(false) };
        let column = |of: fn(&Reopened) -> i16| reopened.iter().map(of).collect::<Vec<_>>();
        let flag = |of: fn(&Reopened) -> bool| reopened.iter().map(of).collect::<Vec<_>>();
        sqlx::query_file!(
            "src/store/sql/reopen_stages.sql",
            job_id.as_str(),
            &column(|one| one.stage),
            &column(|one| one.waits_for),
            &flag(|one| one.unmet),
            &flag(|one| one.keeps_plan),
        )
        .execute(&mut *transaction)
        .await?;
        let is_reopened = sqlx::query_file_scalar!(
            "src/store/sql/reopen_graph.sql",
            job_id.as_str(),
            // A job has at most 100 stages.
            reopened.len() as i16,
            deadline_seconds,
            &JobStatus::reopenable() as _,
        )
        .fetch_one(&mut *transaction)
        .await?;
        if !is_reopened {
            return Ok(false);
        }
        failpoint!("reopen_graph.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("reopen_graph.after_commit", Err(DatabaseError::lost()));
        Ok(true)
    }
}

async fn graph_stages(
    connection: &mut PgConnection,
    job_id: &JobId,
) -> Result<Vec<GraphStage>, sqlx::Error> {
    sqlx::query_file_as!(GraphStage, "src/store/sql/graph_stages.sql", job_id.as_str())
        .fetch_all(connection)
        .await
}

async fn end_graph(
    connection: &mut PgConnection,
    job_id: &JobId,
    end: &GraphEnd,
) -> Result<Option<JobStatus>, sqlx::Error> {
    let error_details = end.error_details.as_deref().map(without_nul);
    sqlx::query_file_scalar!(
        "src/store/sql/end_graph.sql",
        job_id.as_str(),
        end.status.as_str(),
        end.result_data.as_deref() as _,
        error_details.as_deref(),
        &JobStatus::sources(end.status) as _,
    )
    .fetch_optional(connection)
    .await
}

fn numbers(stages: &[i16]) -> Vec<Stage> {
    stages
        .iter()
        .filter_map(|stage| u8::try_from(*stage).ok())
        .filter_map(|stage| Stage::try_from(stage).ok())
        .collect()
}

/// A stage of a graph under its lock.
#[derive(Debug, Clone)]
struct LockedStage {
    stage: Stage,
    kind: StageKind,
    waits_for: i16,
    unmet: bool,
    best_effort: bool,
    outcome: Option<StageOutcome>,
    needed_by: Vec<i16>,
    followed_by: Vec<i16>,
    not_chosen: Option<Vec<i16>>,
    failed: i64,
    skipped: i64,
    is_advanced: bool,
    has_outcomes: bool,
    is_finalize: bool,
    /// Whether its plan failed.
    is_unplannable: bool,
}

/// A stage that a retry reopens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reopened {
    stage: i16,
    waits_for: i16,
    unmet: bool,
    /// Whether its plan, or its gate's decision, is kept.
    keeps_plan: bool,
}

/// The last stage, if it is to run after its job's early end. One that was ready had its turn.
fn to_finalize(stages: &[LockedStage]) -> Option<Stage> {
    let are_closed = stages.iter().all(|stage| stage.is_advanced && stage.has_outcomes);
    let last = stages.iter().find(|stage| stage.is_finalize)?;
    (are_closed && last.outcome.is_none() && last.waits_for > 0).then_some(last.stage)
}

/// The stages that a retry of their job reopens, in order: those that failed or had not ended, and
/// those that were skipped because of one of these. `None` if a task of one of them did not succeed
/// and is not ready to run again, or if a stage is not closed.
fn reopened(stages: &[LockedStage]) -> Option<Vec<Reopened>> {
    /// What the stages before a stage mean for it.
    #[derive(Default)]
    struct Before {
        open: i16,
        violated: bool,
    }
    let mut reopened = Vec::new();
    let mut before: BTreeMap<i16, Before> = BTreeMap::new();
    for row in stages {
        if !row.is_advanced {
            return None;
        }
        let stage = row.stage.number();
        let Before { open, violated } = before.remove(&stage).unwrap_or_default();
        let runs_again = runs_again(row.outcome, row.waits_for, row.unmet, row.best_effort);
        let is_skipped = row.outcome == Some(StageOutcome::Skipped);
        let again = if runs_again {
            if row.failed + row.skipped > 0 {
                return None;
            }
            // A gate that failed because its time had passed waits again; a decision is taken again. A
            // stage that waited for another job submits it again, which runs that job again if it
            // did not complete. A plan that failed goes on where it ended.
            let keeps_plan = match row.kind {
                StageKind::Tasks => !row.is_unplannable,
                StageKind::Decision => true,
                StageKind::Job => false,
                StageKind::Gate => row.outcome.is_none(),
            };
            Some(Reopened { stage, waits_for: 0, unmet: false, keeps_plan })
        } else if open > 0 && (is_skipped || row.outcome.is_none()) {
            Some(Reopened { stage, waits_for: open, unmet: violated, keeps_plan: false })
        } else if row.outcome.is_none() {
            // Its job ended before it could be marked as skipped.
            Some(Reopened { stage, waits_for: 0, unmet: row.unmet, keeps_plan: true })
        } else {
            None
        };
        let not_chosen = row.not_chosen.as_deref().unwrap_or_default();
        for (dependent, is_needed) in (row.needed_by.iter().map(|one| (*one, true)))
            .chain(row.followed_by.iter().map(|one| (*one, false)))
        {
            let of_dependent = before.entry(dependent).or_default();
            if again.is_some() {
                of_dependent.open += 1;
            } else {
                of_dependent.violated |= not_chosen.contains(&dependent)
                    || is_needed && row.outcome != Some(StageOutcome::Completed);
            }
        }
        reopened.extend(again);
    }
    Some(reopened)
}
