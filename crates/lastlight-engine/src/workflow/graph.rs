//! The end of a stage of a graph: its outcome, what it starts, and the end of the job with the last
//! stage. A stage that is skipped and a decision end as soon as they are ready, by the caller that
//! made them ready; if it dies, `reconcile` finds them ended and not advanced.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    Controller, ControllerError,
    advance::failure,
    summary::{Folded, without_tasks},
    upstream::StoredResults,
};
use crate::{
    job::{
        PlanError,
        erased::{Decision, JobType},
    },
    model::{GateDecision, JobStatus, Stage, StageKind, StageOutcome},
    store::{EndedStage, GraphAdvance, GraphEnd, GraphStage, JsonText, StageEnd, StageKey},
};

/// How a stage ended, before that is stored.
struct Ended {
    outcome: StageOutcome,
    not_chosen: BTreeSet<Stage>,
    output: Option<String>,
    /// Its entry in the results of the job.
    result: Value,
}

impl Controller {
    /// Ends a stage of a graph and starts what waits for nothing else. Returns whether this call
    /// did, and the stages that have ended with it.
    pub(super) async fn advance_in_graph(
        &self,
        key: &StageKey,
        stage: &EndedStage,
        kind: StageKind,
    ) -> Result<(bool, Vec<StageKey>), ControllerError> {
        let Some(ended) = self.ended(key, stage, kind).await? else {
            return Ok((false, Vec::new()));
        };
        let result = ended.result.to_string();
        let end = StageEnd {
            outcome: ended.outcome,
            not_chosen: ended.not_chosen,
            output: ended.output.as_deref(),
            result: &result,
        };
        let grace = self.0.timing.send_grace.as_secs_f64();
        let stages = self.0.database.stages();
        let moved =
            stages.end_in_graph(key, stage, &end, grace, |stages| finished(stage, stages)).await?;
        let name = stage.name.as_deref().unwrap_or_default();
        match moved {
            GraphAdvance::NotOurs => Ok((false, Vec::new())),
            GraphAdvance::JobEnded(status) => {
                tracing::info!(job_id = %key.job_id, stage = key.stage.get(), name, outcome = %ended.outcome,
                    %status, "the last stage and the job ended");
                if stage.is_child == Some(true) {
                    self.child_ended(&key.job_id).await?;
                }
                Ok((true, Vec::new()))
            }
            GraphAdvance::Moved { unsent, ended: next, jobs, is_paused } => {
                tracing::info!(job_id = %key.job_id, stage = key.stage.get(), name, outcome = %ended.outcome,
                    tasks = stage.total, failed = stage.failed, started = unsent.len(), is_paused, "stage ended");
                let in_job = |stage| StageKey { job_id: key.job_id, stage };
                for next in unsent {
                    // A failure is recorded, and the message stays unsent.
                    let _ = self
                        .0
                        .send_job_message(
                            &in_job(next),
                            0,
                            &stage.job_type,
                            &stage.parameters,
                            stage.path,
                            stage.trace,
                        )
                        .await;
                }
                if !jobs.is_empty() {
                    self.submit_children(Some(&key.job_id)).await?;
                }
                Ok((true, next.into_iter().map(in_job).collect()))
            }
        }
    }

    /// How the stage ended; `None` if something that its decision needs is not there now.
    async fn ended(
        &self,
        key: &StageKey,
        stage: &EndedStage,
        kind: StageKind,
    ) -> Result<Option<Ended>, ControllerError> {
        let entry = |outcome, errors: Vec<Value>| without_tasks(key.stage, stage, outcome, errors);
        let plain = |outcome, errors| Ended {
            outcome,
            not_chosen: BTreeSet::new(),
            output: None,
            result: entry(outcome, errors),
        };
        let failed = |reason: String| {
            plain(StageOutcome::Failed, vec![json!({ "task_index": "", "error": reason })])
        };
        if stage.unmet == Some(true) {
            return Ok(Some(plain(StageOutcome::Skipped, Vec::new())));
        }
        Ok(Some(match kind {
            StageKind::Tasks if stage.total == 0 && stage.failure.is_none() => {
                match self.was_to_run(key, stage).await {
                    Ok(true) => self.folded(key, stage).await?,
                    Ok(false) => plain(StageOutcome::Skipped, Vec::new()),
                    Err(PlanError::Failed(reason)) => failed(reason),
                    Err(PlanError::Unavailable(reason)) => return Ok(waiting(key, &reason)),
                }
            }
            StageKind::Tasks => self.folded(key, stage).await?,
            StageKind::Gate | StageKind::Job => match stage.decision {
                // A stage that was to submit a job and does not run.
                Some(GateDecision::Reject) if kind == StageKind::Job => {
                    plain(StageOutcome::Skipped, Vec::new())
                }
                Some(GateDecision::Reject) => plain(StageOutcome::Rejected, Vec::new()),
                Some(GateDecision::Fail) => failed(match &stage.failure {
                    Some(failure) => failure_of_child(failure),
                    None => "nobody decided in time".to_owned(),
                }),
                Some(GateDecision::Approve) | None => plain(StageOutcome::Completed, Vec::new()),
            },
            StageKind::Decision => match self.decided(key, stage).await {
                Ok(Decision::Skipped) => plain(StageOutcome::Skipped, Vec::new()),
                Ok(Decision::Taken { output, not_chosen }) => Ended {
                    outcome: StageOutcome::Completed,
                    not_chosen,
                    output: Some(output.get().to_owned()),
                    result: entry(StageOutcome::Completed, Vec::new()),
                },
                Err(PlanError::Failed(reason)) => failed(reason),
                Err(PlanError::Unavailable(reason)) => return Ok(waiting(key, &reason)),
            },
        }))
    }

    /// The outcome of a stage by its tasks.
    async fn folded(&self, key: &StageKey, stage: &EndedStage) -> Result<Ended, ControllerError> {
        let (tolerates, Folded { mut result, problem }) = self.fold(key, stage).await?;
        let problem = match &stage.failure {
            Some(failure) => Some(failure_of_plan(failure)),
            None => problem.map(|problem| format!("its results cannot be summed up: {problem}")),
        };
        let completed = tolerates && problem.is_none();
        let outcome = if completed { StageOutcome::Completed } else { StageOutcome::Failed };
        if let Some(entry) = result.as_object_mut() {
            entry.insert("name".to_owned(), json!(stage.name));
            entry.insert("status".to_owned(), json!(outcome));
            if let (Some(Value::Array(errors)), Some(_)) = (entry.get_mut("errors"), &stage.failure)
            {
                errors.insert(0, json!({ "task_index": "", "error": problem }));
            }
            if let Some(problem) = problem {
                entry.insert("problem".to_owned(), json!(problem));
            }
        }
        Ok(Ended { outcome, not_chosen: BTreeSet::new(), output: None, result })
    }

    async fn decided(&self, key: &StageKey, stage: &EndedStage) -> Result<Decision, PlanError> {
        let Deciding { definition, parameters, upstream } = self.deciding(key, stage).await?;
        definition.decide(&key.job_id, &parameters, key.stage, upstream).await
    }

    /// Whether a stage whose plan has no tasks was to run.
    async fn was_to_run(&self, key: &StageKey, stage: &EndedStage) -> Result<bool, PlanError> {
        let Deciding { definition, parameters, upstream } = self.deciding(key, stage).await?;
        definition.runs(&key.job_id, &parameters, key.stage, upstream).await
    }

    async fn deciding(&self, key: &StageKey, stage: &EndedStage) -> Result<Deciding, PlanError> {
        let definition = self
            .job_type_by(&stage.job_type, stage.definition_id.as_deref())
            .await
            .map_err(|error| match error.is_transient() {
                true => PlanError::Unavailable(error.to_string()),
                false => PlanError::Failed(error.to_string()),
            })?;
        let parameters = serde_json::from_str(stage.parameters.get())?;
        let upstream =
            Arc::new(StoredResults { database: self.0.database.clone(), job_id: key.job_id });
        Ok(Deciding { definition, parameters, upstream })
    }
}

/// Why a stage could not be planned.
fn failure_of_plan(output: &JsonText) -> String {
    let output: Value = serde_json::from_str(output.0.get()).unwrap_or_default();
    output.get("error").and_then(Value::as_str).unwrap_or("it cannot be planned").to_owned()
}

/// Why the job that a stage waited for did not complete.
fn failure_of_child(output: &JsonText) -> String {
    let output: Value = serde_json::from_str(output.0.get()).unwrap_or_default();
    let text = |name: &str| output.get(name).and_then(Value::as_str);
    match (text("job_id"), text("status"), text("error")) {
        (Some(job_id), Some(status), error) => {
            format!("job {job_id} is {status}: {}", error.unwrap_or_default())
        }
        (_, _, error) => error.unwrap_or("its job did not complete").to_owned(),
    }
}

/// What a decision is taken with.
struct Deciding {
    definition: Arc<dyn JobType>,
    parameters: Map<String, Value>,
    upstream: Arc<StoredResults>,
}

/// A decision waits for the next sweep.
fn waiting(key: &StageKey, reason: &str) -> Option<Ended> {
    tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), reason, "a decision waits");
    None
}

/// How a job ends with the last stage of its graph.
fn finished(stage: &EndedStage, stages: &[GraphStage]) -> GraphEnd {
    let mut summaries = Map::new();
    let mut sums = [0u64; 3];
    let mut reasons = Vec::new();
    for one in stages {
        let result: Value = one
            .result
            .as_ref()
            .and_then(|result| serde_json::from_str(result.0.get()).ok())
            .unwrap_or_default();
        for (sum, name) in sums.iter_mut().zip(["total", "completed", "failed"]) {
            *sum += result.get(name).and_then(Value::as_u64).unwrap_or_default();
        }
        if one.outcome == Some(StageOutcome::Failed) && !one.best_effort {
            reasons.push(failure(&one.name, &result));
        }
        let summary = result.get("summary").cloned().unwrap_or(Value::Null);
        summaries.insert(one.name.clone(), summary);
    }
    let [total, completed, failed] = sums;
    let outcomes: Map<String, Value> =
        stages.iter().map(|one| (one.name.clone(), json!(one.outcome))).collect();
    let data = json!({
        "job_type": stage.job_type,
        "total_stages": stage.total_stages,
        "total_tasks": total,
        "completed_tasks": completed,
        "failed_tasks": failed,
        "outcomes": outcomes,
        "summaries": summaries,
    });
    if reasons.is_empty() {
        return GraphEnd {
            status: JobStatus::Completed,
            result_data: Some(data.to_string()),
            error_details: None,
        };
    }
    GraphEnd {
        status: JobStatus::Failed,
        result_data: None,
        error_details: Some(reasons.join("; ")),
    }
}
