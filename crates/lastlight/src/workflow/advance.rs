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
        let Some(stage) = self.0.database.ended_stage(key).await? else {
            return Ok(false);
        };
        let span = tracing::info_span!(
            "advance",
            job_id = %key.job_id,
            stage = key.stage.get(),
            job_type = stage.job_type,
            trace_id = stage.trace.as_ref().map(TraceParent::trace_id),
        );
        telemetry::join(&span, stage.trace);
        self.advance_ended(key, &stage).instrument(span).await
    }

    async fn advance_ended(
        &self,
        key: &StageKey,
        stage: &EndedStage,
    ) -> Result<bool, ControllerError> {
        // Outcomes do not change while the job runs, so the fold needs no transaction, and two
        // concurrent folds have the same result. A change by a retry in the meantime is noticed
        // when the end is claimed.
        let tolerates = self.tolerates(key, stage);
        let Folded { result, problem } = self.fold(key, stage, tolerates).await?;
        let mut results: Map<String, Value> =
            serde_json::from_str(stage.stage_results.get()).unwrap_or_default();
        results.insert(key.stage.to_string(), result);
        let stored = Value::Object(results.clone()).to_string();
        failpoint!("advance.folded");

        let reason = match problem {
            _ if !tolerates => Some(failure(key, stage, &results)),
            Some(problem) => {
                Some(format!("stage {}: its results cannot be summed up: {problem}", key.stage))
            }
            None => None,
        };
        if let Some(reason) = reason {
            let ended = self
                .0
                .database
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
                let moved = self.0.database.next_stage(key, stage, &stored, grace).await?;
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
                    .end_job(key, stage, JobStatus::Completed, &stored, Some(&data), None)
                    .await?;
                if ended {
                    tracing::info!(job_id = %key.job_id, stages = stage.total_stages.get(), "job completed");
                }
                Ok(ended)
            }
        }
    }

    /// Whether the job tolerates this stage's failures. A stage with skipped tasks never gets here:
    /// its job is finished.
    fn tolerates(&self, key: &StageKey, stage: &EndedStage) -> bool {
        let parameters: Map<String, Value> =
            serde_json::from_str(stage.parameters.get()).unwrap_or_default();
        let stages = self
            .0
            .catalog
            .get(&stage.job_type)
            .and_then(|definition| definition.stages(&parameters).ok());
        let policy = stages
            .and_then(|stages| Some(stages.get(usize::from(key.stage.get()) - 1)?.failures))
            .unwrap_or_default();
        policy.tolerates(stage.failed.unsigned_abs(), stage.total.unsigned_abs())
    }

    async fn fold(
        &self,
        key: &StageKey,
        stage: &EndedStage,
        tolerates: bool,
    ) -> Result<Folded, ControllerError> {
        let definition = self.0.catalog.get(&stage.job_type);
        let mut fold = StageFold::new(definition.map(|definition| || definition.fold(key.stage)));
        let mut after = String::new();
        loop {
            let page = self.0.database.results_page(key, &after, PAGE, |result| fold.add(result));
            match page.await? {
                Some(last) => after = last,
                None => return Ok(fold.finish(key.stage, stage, tolerates)),
            }
        }
    }
}

fn failure(key: &StageKey, stage: &EndedStage, results: &Map<String, Value>) -> String {
    let first = results
        .get(&key.stage.to_string())
        .and_then(|result| result.pointer("/errors/0"))
        .map(|error| {
            format!(
                "; first: {} {}",
                error.get("task_index").and_then(Value::as_str).unwrap_or_default(),
                error.get("error").and_then(Value::as_str).unwrap_or_default()
            )
        })
        .unwrap_or_default();
    format!("stage {}: {} of {} tasks failed{first}", key.stage, stage.failed, stage.total)
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
