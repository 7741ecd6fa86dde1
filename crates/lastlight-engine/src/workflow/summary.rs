//! The entry of a stage in `stage_results`: counts, times, the job type's summary, and at most 100
//! samples. It does not grow with the stage; all results are in the tasks' rows.

use serde_json::{Value, json, value::RawValue};

use crate::{
    job::{PlanError, erased::Fold, panics::caught},
    model::{DEEPEST_NESTING, Stage, StageOutcome, TaskStatus, nesting, timestamp},
    store::{EndedStage, JsonText, TaskResult},
};

const SAMPLES: i32 = 100;
/// Maximum size of a result in a sample, in bytes; of a larger one only the size is kept.
const LARGEST_SAMPLE: usize = 8 * 1024;
const ERRORS: usize = 10;
/// Errors in a summary are cut at this many characters.
const LONGEST_ERROR: usize = 500;

/// Folds a stage's outcomes while they are read.
pub(super) struct StageFold {
    fold: Option<Box<dyn Fold>>,
    /// Why there is no summary although the job type has one.
    problem: Option<String>,
    samples: Vec<(i32, Value)>,
    errors: Vec<Value>,
    /// Microseconds from planned to finished; 4 bytes per task, so that percentiles are exact.
    latencies: Vec<u32>,
}

/// The result of folding a stage.
pub(super) struct Folded {
    /// For `stage_results`.
    pub result: Value,
    /// Why the job type's summary failed: then the job cannot continue.
    pub problem: Option<String>,
}

impl StageFold {
    /// `fold` creates the job type's fold; `None` if this version does not know the job type.
    pub(super) fn new(fold: Option<Result<Box<dyn Fold>, PlanError>>) -> Self {
        let (fold, problem) = match fold {
            None => (None, None),
            Some(Ok(fold)) => (Some(fold), None),
            Some(Err(problem)) => (None, Some(problem.to_string())),
        };
        Self { fold, problem, samples: Vec::new(), errors: Vec::new(), latencies: Vec::new() }
    }

    pub(super) fn add(&mut self, task: TaskResult) {
        if let Some(latency) = task.latency_us {
            self.latencies.push(u32::try_from(latency.max(0)).unwrap_or(u32::MAX));
        }
        match (task.status, task.result) {
            (TaskStatus::Completed, Some(JsonText(result))) => {
                if let Some(fold) = &mut self.fold
                    && let Err(problem) = caught(|| fold.add(&result)).flatten()
                {
                    // Its state is no longer usable, so it is not called again.
                    self.fold = None;
                    self.problem = Some(problem);
                }
                // Ordinals begin at 0, so these are the first tasks of the plan.
                if task.ordinal < SAMPLES {
                    self.samples.push((task.ordinal, sample(&task.task_index, &result)));
                }
            }
            (TaskStatus::Failed, _) if self.errors.len() < ERRORS => {
                let error: String =
                    task.error.unwrap_or_default().chars().take(LONGEST_ERROR).collect();
                self.errors.push(json!({ "task_index": task.task_index, "error": error }));
            }
            _ => {}
        }
    }

    /// `tolerates`: the job tolerates the failures.
    pub(super) fn finish(mut self, number: Stage, stage: &EndedStage, tolerates: bool) -> Folded {
        let finished = self.fold.take().map(|fold| caught(|| fold.finish()).flatten());
        let summary = finished.map(|text| text.and_then(|text| value(&text))).transpose();
        let summary = summary.unwrap_or_else(|problem| {
            self.problem = Some(problem);
            None
        });
        self.samples.sort_by_key(|(ordinal, _)| *ordinal);
        let samples: Vec<Value> = self.samples.into_iter().map(|(_, sample)| sample).collect();
        let seconds = (stage.updated_at - stage.created_at).as_seconds_f64();
        self.latencies.sort_unstable();
        let result = json!({
            "stage": number,
            "status": if tolerates && self.problem.is_none() { "completed" } else { "failed" },
            "total": stage.total,
            "completed": stage.completed,
            "failed": stage.failed,
            "skipped": stage.skipped,
            "started_at": timestamp::write(stage.created_at),
            "finished_at": timestamp::write(stage.updated_at),
            "seconds": round(seconds),
            "latency_ms": {
                "p50": percentile(&self.latencies, 50),
                "p95": percentile(&self.latencies, 95),
                "p99": percentile(&self.latencies, 99),
            },
            "summary": summary,
            "samples": samples,
            "errors": self.errors,
        });
        Folded { result, problem: self.problem }
    }
}

/// The entry of a stage of a graph that ended without tasks.
pub(super) fn without_tasks(
    number: Stage,
    stage: &EndedStage,
    outcome: StageOutcome,
    errors: Vec<Value>,
) -> Value {
    let seconds = (stage.updated_at - stage.created_at).as_seconds_f64();
    json!({
        "stage": number,
        "name": stage.name,
        "status": outcome,
        "total": 0,
        "completed": 0,
        "failed": 0,
        "skipped": 0,
        "started_at": timestamp::write(stage.created_at),
        "finished_at": timestamp::write(stage.updated_at),
        "seconds": round(seconds),
        "summary": null,
        "samples": [],
        "errors": errors,
    })
}

/// The value of a summary.
fn value(summary: &RawValue) -> Result<Value, String> {
    let deep = nesting(summary.get());
    if deep > DEEPEST_NESTING {
        // If it were stored, nobody could read it, nor the results of other stages.
        return Err(format!(
            "the summary is nested {deep} deep; at most {DEEPEST_NESTING} are kept"
        ));
    }
    serde_json::from_str(summary.get()).map_err(|error| error.to_string())
}

fn sample(index: &str, result: &RawValue) -> Value {
    let bytes = result.get().len();
    if bytes > LARGEST_SAMPLE {
        return json!({ "task_index": index, "result": null, "result_bytes": bytes });
    }
    json!({ "task_index": index, "result": result })
}

/// The nearest-rank percentile in milliseconds; null if there are no values.
fn percentile(sorted_us: &[u32], percent: usize) -> Value {
    let rank = (sorted_us.len() * percent).div_ceil(100).saturating_sub(1);
    sorted_us.get(rank).map_or(Value::Null, |us| Value::from(round(f64::from(*us) / 1000.0)))
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_use_the_nearest_rank() {
        let latencies: Vec<u32> = (1..=100).map(|ms| ms * 1000).collect();
        assert_eq!(percentile(&latencies, 50), 50.0);
        assert_eq!(percentile(&latencies, 95), 95.0);
        assert_eq!(percentile(&latencies[..1], 99), 1.0);
        assert!(percentile(&[], 50).is_null());
    }
}
