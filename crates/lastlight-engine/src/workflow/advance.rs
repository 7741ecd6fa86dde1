//! Advance: the last outcome of a stage starts the next stage, or ends the job. Exactly once: the
//! caller that claims the stage's end in the database continues, all others find it claimed.

use serde_json::{Map, Value, json};
use tracing::Instrument;

use super::{
    Controller, ControllerError,
    summary::{Folded, StageFold},
};
use crate::{
    failpoint::failpoint,
    job::{PlanError, erased::JobType},
    model::{JobStatus, TraceParent},
    store::{EndedStage, NextStage, StageKey},
    telemetry,
};

/// Outcomes read per query while a stage is folded.
const PAGE: u32 = 5000;

impl Controller {
    /// Starts the next stage or ends the job, if the stage has ended and nobody has done so yet.
    /// Returns whether this call did.
    pub(super) async fn advance(&self, key: &StageKey) -> Result<bool, ControllerError> {
        let mut advanced = None;
        let mut ended = vec![*key];
        while let Some(key) = ended.pop() {
            let (by_this_call, next) = self.advance_one(&key).await?;
            advanced.get_or_insert(by_this_call);
            ended.extend(next);
        }
        if advanced == Some(true) {
            self.notify_soon();
        }
        Ok(advanced == Some(true))
    }

    /// Advances one stage; returns whether this call did, and the stages that have ended with it.
    async fn advance_one(&self, key: &StageKey) -> Result<(bool, Vec<StageKey>), ControllerError> {
        let Some(stage) = self.0.database.stages().ended(key).await? else {
            return Ok((false, Vec::new()));
        };
        let span = tracing::info_span!(
            "advance",
            job_id = %key.job_id,
            stage = key.stage.get(),
            job_type = stage.job_type,
            trace_id = stage.trace.as_ref().map(TraceParent::trace_id),
        );
        telemetry::join(&span, stage.trace);
        async {
            match stage.kind {
                Some(kind) => self.advance_in_graph(key, &stage, kind).await,
                None => {
                    let by_this_call = self.advance_in_line(key, &stage).await?;
                    if by_this_call && stage.is_child == Some(true) {
                        self.child_ended(&key.job_id).await?;
                    }
                    Ok((by_this_call, Vec::new()))
                }
            }
        }
        .instrument(span)
        .await
    }

    async fn advance_in_line(
        &self,
        key: &StageKey,
        stage: &EndedStage,
    ) -> Result<bool, ControllerError> {
        // Outcomes do not change while the job runs, so the fold needs no transaction, and two
        // concurrent folds have the same result. A change by a retry in the meantime is noticed
        // when the end is claimed.
        let (tolerates, Folded { result, problem }) = self.fold(key, stage).await?;
        let mut results: Map<String, Value> =
            serde_json::from_str(stage.stage_results.get()).unwrap_or_default();
        results.insert(key.stage.to_string(), result);
        let stored = Value::Object(results.clone()).to_string();
        failpoint!("advance.folded");

        let reason = match problem {
            _ if !tolerates => Some(failure_in_line(key, stage, &results)),
            Some(problem) => {
                Some(format!("stage {}: its results cannot be summed up: {problem}", key.stage))
            }
            None => None,
        };
        if let Some(reason) = reason {
            let ended = self
                .0
                .database
                .stages()
                .end_job(key, stage, JobStatus::Failed, &stored, None, Some(&reason))
                .await?;
            if ended {
                tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), reason, "job failed");
            }
            return Ok(ended);
        }
        match key.stage.next().filter(|next| *next <= stage.total_stages) {
            Some(next) => {
                let grace = self.0.timing.send_grace.as_secs_f64();
                let moved = self.0.database.stages().advance(key, stage, &stored, grace).await?;
                if moved != NextStage::NotOurs {
                    tracing::info!(job_id = %key.job_id, stage = key.stage.get(), tasks = stage.total, failed = stage.failed,
                        next_stage = moved.as_str(), "stage completed");
                }
                if moved == NextStage::Unsent {
                    let next = StageKey { job_id: key.job_id, stage: next };
                    failpoint!("advance.before_send");
                    // A failure is recorded, and the message stays unsent.
                    let _ = self
                        .0
                        .send_job_message(
                            &next,
                            0,
                            &stage.job_type,
                            &stage.parameters,
                            stage.path,
                            stage.trace,
                        )
                        .await;
                }
                Ok(moved != NextStage::NotOurs)
            }
            None => {
                let data = final_result(stage, &results).to_string();
                let ended = self
                    .0
                    .database
                    .stages()
                    .end_job(key, stage, JobStatus::Completed, &stored, Some(&data), None)
                    .await?;
                if ended {
                    tracing::info!(job_id = %key.job_id, stages = stage.total_stages.get(), "job completed");
                }
                Ok(ended)
            }
        }
    }

    /// Sums up a stage by its tasks; also returns whether the job tolerates its failures.
    ///
    /// # Errors
    /// The database failed, or this version cannot read the job's definition: another process may.
    pub(super) async fn fold(
        &self,
        key: &StageKey,
        stage: &EndedStage,
    ) -> Result<(bool, Folded), ControllerError> {
        let definition =
            match self.job_type_by(&stage.job_type, stage.definition_id.as_deref()).await {
                Ok(definition) => Some(definition),
                Err(error) if error.is_transient() => return Err(error),
                // The job type is gone: no failure is tolerated, and there is no summary.
                Err(_) => None,
            };
        let tolerates = Self::tolerates(definition.as_deref(), key, stage);
        let mut fold = StageFold::new(definition.map(|definition| {
            let parameters = serde_json::from_str(stage.parameters.get()).map_err(|error| {
                PlanError::new(format!("the job's row cannot be read: {error}"))
            })?;
            definition.fold(&parameters, key.stage)
        }));
        let mut after = String::new();
        loop {
            let page =
                self.0.database.stages().results_page(key, &after, PAGE, |result| fold.add(result));
            match page.await? {
                Some(last) => after = last,
                None => return Ok((tolerates, fold.finish(key.stage, stage, tolerates))),
            }
        }
    }

    /// Whether the job tolerates this stage's failures. A stage with skipped tasks never gets here:
    /// its job is finished.
    fn tolerates(definition: Option<&dyn JobType>, key: &StageKey, stage: &EndedStage) -> bool {
        let parameters: Map<String, Value> =
            serde_json::from_str(stage.parameters.get()).unwrap_or_default();
        let stages = definition.and_then(|known| known.stages(&parameters).ok());
        let policy = stages
            .and_then(|stages| Some(stages.get(usize::from(key.stage.get()) - 1)?.options.failures))
            .unwrap_or_default();
        policy.tolerates(stage.failed.unsigned_abs(), stage.total.unsigned_abs())
    }
}

fn failure_in_line(key: &StageKey, stage: &EndedStage, results: &Map<String, Value>) -> String {
    let first = results.get(&key.stage.to_string()).and_then(first_error);
    let first = first_failed(first);
    format!("stage {}: {} of {} tasks failed{first}", key.stage, stage.failed, stage.total)
}

/// Why a stage of a graph failed, by its entry in the job's results.
pub(super) fn failure(name: &str, result: &Value) -> String {
    let first = first_error(result);
    let count = |of| result.get(of).and_then(Value::as_u64).unwrap_or_default();
    if let Some(problem) = result.get("problem").and_then(Value::as_str) {
        return format!("{name}: {problem}");
    }
    if count("total") == 0 {
        return format!("{name}: {}", first.map_or("it failed", |error| text(error, "error")));
    }
    let first = first_failed(first);
    format!("{name}: {} of {} tasks failed{first}", count("failed"), count("total"))
}

fn first_error(result: &Value) -> Option<&Value> {
    result.pointer("/errors/0")
}

fn first_failed(error: Option<&Value>) -> String {
    error
        .map(|error| format!("; first: {} {}", text(error, "task_index"), text(error, "error")))
        .unwrap_or_default()
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn final_result(stage: &EndedStage, results: &Map<String, Value>) -> Value {
    let count = |name: &str| -> u64 {
        results.values().filter_map(|result| result.get(name).and_then(Value::as_u64)).sum()
    };
    let summaries: Map<String, Value> = results
        .iter()
        .map(|(number, result)| {
            (number.clone(), result.get("summary").cloned().unwrap_or(Value::Null))
        })
        .collect();
    json!({
        "job_type": stage.job_type,
        "total_stages": stage.total_stages,
        "total_tasks": count("total"),
        "completed_tasks": count("completed"),
        "failed_tasks": count("failed"),
        "summaries": summaries,
    })
}
