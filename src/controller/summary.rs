//! What `stage_results` keeps of a stage: counts, times, the job type's summary, and at most 100 samples. It does not
//! grow with the stage; all results are in the tasks' rows.

use serde_json::{Value, json, value::RawValue};

use crate::{
    jobs::Fold,
    model::{Stage, TaskStatus, timestamp},
    repositories::postgres::{EndedStage, TaskResult},
};

const SAMPLES: i32 = 100;
/// A larger result is named in its sample and not repeated. Bytes.
const LARGEST_SAMPLE: usize = 8 * 1024;
const ERRORS: usize = 10;
/// An error in a summary is cut at this many characters.
const LONGEST_ERROR: usize = 500;

/// Folds a stage's outcomes while they stream by.
pub(super) struct StageFold {
    fold: Option<Box<dyn Fold>>,
    samples: Vec<(i32, Value)>,
    errors: Vec<Value>,
    /// Microseconds from planned to finished; 4 bytes a task, so that percentiles are exact.
    latencies: Vec<u32>,
}

impl StageFold {
    pub(super) fn new(fold: Option<Box<dyn Fold>>) -> Self {
        Self {
            fold,
            samples: Vec::new(),
            errors: Vec::new(),
            latencies: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, task: TaskResult) {
        if let Some(latency) = task.latency_us {
            self.latencies
                .push(u32::try_from(latency.max(0)).unwrap_or(u32::MAX));
        }
        match (task.status, task.result) {
            (TaskStatus::Completed, Some(result)) => {
                if let Some(fold) = &mut self.fold {
                    fold.add(&result);
                }
                // Places in the plan begin at 0, so these are its first tasks.
                if task.ordinal < SAMPLES {
                    self.samples
                        .push((task.ordinal, sample(&task.task_index, &result)));
                }
            }
            (TaskStatus::Failed, _) if self.errors.len() < ERRORS => {
                let error: String = task
                    .error
                    .unwrap_or_default()
                    .chars()
                    .take(LONGEST_ERROR)
                    .collect();
                self.errors
                    .push(json!({ "task_index": task.task_index, "error": error }));
            }
            _ => {}
        }
    }

    /// `bears`: the job goes on after what failed.
    pub(super) fn finish(mut self, number: Stage, stage: &EndedStage, bears: bool) -> Value {
        self.samples.sort_by_key(|(ordinal, _)| *ordinal);
        let samples: Vec<Value> = self.samples.into_iter().map(|(_, sample)| sample).collect();
        let seconds = (stage.updated_at - stage.created_at).as_seconds_f64();
        self.latencies.sort_unstable();
        json!({
            "stage": number,
            "status": if bears { "completed" } else { "failed" },
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
            "summary": self.fold.map_or(Value::Null, Fold::finish),
            "samples": samples,
            "errors": self.errors,
        })
    }
}

fn sample(index: &str, result: &RawValue) -> Value {
    let bytes = result.get().len();
    if bytes > LARGEST_SAMPLE {
        return json!({ "task_index": index, "result": null, "result_bytes": bytes });
    }
    json!({ "task_index": index, "result": result })
}

/// Nearest rank, in milliseconds; null where there is nothing to rank.
fn percentile(sorted_us: &[u32], percent: usize) -> Value {
    let rank = (sorted_us.len() * percent).div_ceil(100).saturating_sub(1);
    sorted_us
        .get(rank)
        .map_or(Value::Null, |us| Value::from(round(f64::from(*us) / 1000.0)))
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latencies: Vec<u32> = (1..=100).map(|ms| ms * 1000).collect();
        assert_eq!(percentile(&latencies, 50), 50.0);
        assert_eq!(percentile(&latencies, 95), 95.0);
        assert_eq!(percentile(&latencies[..1], 99), 1.0);
        assert!(percentile(&[], 50).is_null());
    }
}
