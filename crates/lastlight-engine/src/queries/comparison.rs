//! Compares the two pipelines by the hourly rollups. docs/METRICS.md says what each metric means.

use std::time::Duration;

use lastlight_api::comparison::{
    Comparison, ComparisonInfo, Cost, Improvements, PathMetrics, Percentiles,
};
use time::OffsetDateTime;

use super::Queries;
use crate::workflow::{ControllerError, measure_up_to};
use crate::{
    config::Prices,
    model::{Histogram, Metric, ProcessingPath, clock, timestamp},
    store::{JobSums, PathRollups, TaskSums},
};

/// Below this many tasks a path's metrics are not meaningful.
const FEWEST_TASKS: i64 = 30;

/// Maximum time for measuring before a response, except that a stage begun by then is completed;
/// the sweep measures the rest.
const BEFORE_ANSWER: Duration = Duration::from_millis(100);

/// Stages with more tasks than this are not measured before a response.
const LARGEST_BEFORE_ANSWER: i64 = 10_000;

/// Stages or jobs that are not in the rollups yet are counted up to this number.
const MOST_NOT_COUNTED: i64 = 1000;

/// Operations per message on a Storage Queue: put, get, delete.
const STORAGE_OPERATIONS: f64 = 3.0;

/// Operations per message on Service Bus: one to send it and one to receive it. Also the credits
/// that a namespace counts.
pub const SERVICE_BUS_OPERATIONS: f64 = 2.0;

impl Queries {
    /// Compares both paths over the last `hours` whole hours and the hour in which they begin.
    ///
    /// # Errors
    /// The database failed.
    pub async fn compare(
        &self,
        hours: u16,
        job_type: Option<&str>,
        prices: &Prices,
    ) -> Result<Comparison, ControllerError> {
        // Stages that just ended are in the response, unless they are large: the caller does not
        // wait for a million tasks to be read.
        measure_up_to(&self.0.database, LARGEST_BEFORE_ANSWER, BEFORE_ANSWER).await?;
        let until = clock::now();
        let since = whole_hour(until - time::Duration::hours(hours.into()));
        // Read before the rollups: what is added in between is reported as missing, and never the
        // reverse.
        let missing = self.0.database.rollups().unmeasured(MOST_NOT_COUNTED).await?;
        let rollups = self.0.database.rollups().since(since, job_type).await?;
        let [queue_storage, service_bus, worker] =
            ProcessingPath::ALL.map(|path| path_metrics(path, &rollups, prices));
        Ok(Comparison {
            comparison: improvements(&service_bus, &queue_storage),
            queue_storage,
            service_bus,
            worker,
            query_info: ComparisonInfo {
                hours_back: hours,
                job_type: job_type.map(str::to_owned),
                since: timestamp::write(since),
                until: timestamp::write(until),
                stages_not_counted_yet: missing.stages,
                jobs_not_counted_yet: missing.jobs,
            },
        })
    }
}

fn path_metrics(path: ProcessingPath, rollups: &PathRollups, prices: &Prices) -> PathMetrics {
    let tasks: TaskSums = of_path(path, &rollups.tasks);
    let jobs: JobSums = of_path(path, &rollups.jobs);
    let histogram = |metric: Metric| {
        let mut histogram = Histogram::default();
        for (_, row) in
            rollups.latencies.iter().filter(|(of, row)| *of == path && row.metric == metric)
        {
            histogram.push(row.bucket, row.samples, row.total_ms);
        }
        histogram
    };
    let job_ms = histogram(Metric::Job);
    let jobs_processed = jobs.completed + jobs.failed + jobs.cancelled;
    // Skipped tasks were not processed.
    let processed = tasks.completed + tasks.failed;
    let messages_per_task = ratio(tasks.messages as f64, processed as f64);
    let (operations, price) = match path {
        ProcessingPath::QueueStorage => (STORAGE_OPERATIONS, prices.storage_per_10_000 * 100.0),
        ProcessingPath::ServiceBus => (SERVICE_BUS_OPERATIONS, prices.service_bus_per_million),
        ProcessingPath::Worker => (0.0, 0.0),
    };
    PathMetrics {
        jobs_processed,
        avg_latency_ms: job_ms.mean_ms().map(rounded),
        timeout_rate: ratio(jobs.timed_out as f64, jobs_processed as f64).map(rounded),
        tasks_per_second: ratio(processed as f64, tasks.busy_seconds).map(rounded),
        tasks_processed: processed,
        tasks_failed: tasks.failed,
        retries: tasks.retries,
        messages_per_task: messages_per_task.map(rounded),
        credits_per_task: messages_per_task
            .filter(|_| path == ProcessingPath::ServiceBus)
            .map(|messages| rounded(messages * SERVICE_BUS_OPERATIONS)),
        cost_per_million_tasks: messages_per_task.map(|messages| Cost {
            currency: prices.currency.clone(),
            // Operations per task, times a million tasks, at the price of a million operations.
            amount: rounded(messages * operations * price),
            operations_per_task: rounded(messages * operations),
            price_per_million_operations: rounded(price),
        }),
        queue_wait_ms: percentiles(&histogram(Metric::QueueWait)),
        run_ms: percentiles(&histogram(Metric::Run)),
        job_ms: percentiles(&job_ms),
    }
}

/// What is missing for a comparison.
fn shortfall(metrics: &PathMetrics, path: ProcessingPath) -> Option<String> {
    (metrics.tasks_processed < FEWEST_TASKS || metrics.jobs_processed < 1).then(|| {
        format!("{path} has {} tasks and {} jobs", metrics.tasks_processed, metrics.jobs_processed)
    })
}

fn percentiles(histogram: &Histogram) -> Percentiles {
    let percentile = |share| histogram.percentile_ms(share).map(rounded);
    Percentiles {
        p50: percentile(0.5),
        p95: percentile(0.95),
        p99: percentile(0.99),
        samples: histogram.samples(),
    }
}

fn improvements(bus: &PathMetrics, storage: &PathMetrics) -> Improvements {
    let missing: Vec<String> = [
        shortfall(storage, ProcessingPath::QueueStorage),
        shortfall(bus, ProcessingPath::ServiceBus),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !missing.is_empty() {
        return Improvements {
            latency_improvement: None,
            throughput_improvement: None,
            timeout_reduction: None,
            note: Some(format!(
                "not enough data: {}; a comparison takes {FEWEST_TASKS} tasks and 1 job on each path",
                missing.join(", ")
            )),
        };
    }
    let less = |bus: Option<f64>, storage: Option<f64>| {
        let (bus, storage) = (bus?, storage?);
        ratio((storage - bus) * 100.0, storage).map(rounded)
    };
    Improvements {
        latency_improvement: less(bus.avg_latency_ms, storage.avg_latency_ms),
        // A negative reduction is an increase.
        throughput_improvement: less(bus.tasks_per_second, storage.tasks_per_second)
            .map(|less| 0.0 - less),
        timeout_reduction: less(bus.timeout_rate, storage.timeout_rate),
        note: None,
    }
}

fn of_path<T: Copy + Default>(path: ProcessingPath, sums: &[(ProcessingPath, T)]) -> T {
    sums.iter().find(|(of, _)| *of == path).map(|(_, sums)| *sums).unwrap_or_default()
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Rounds to three decimal places: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn whole_hour(time: OffsetDateTime) -> OffsetDateTime {
    let past = time.unix_timestamp().rem_euclid(3600);
    time - time::Duration::seconds(past) - time::Duration::nanoseconds(time.nanosecond().into())
}
