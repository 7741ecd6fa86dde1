//! Workers that have nothing to do: how soon they start a task that becomes ready, and what their
//! waiting costs the app. And the rate of one worker process that a command starts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    BenchError,
    bed::{Bed, Stop},
    facts::{percentile, processor_seconds},
    progress::{ready, transactions, wait},
};
use crate::worker::{GREETINGS, Worker, completed, greeting};
use lastlight_local::{
    CloudError, CloudOptions, LocalCloud, LocalWorker, api::text, host::LogSink,
};

/// A claim of a waiting worker takes this long, in seconds, if there is no task.
const WAIT_SECONDS: f64 = 20.0;

/// The parts of this benchmark share these.
#[derive(Debug, Clone)]
pub struct WorkersOptions {
    /// The local cloud to run on; its data folder must be empty.
    pub cloud: CloudOptions,
    /// The longest duration of one measurement.
    pub timeout: Duration,
}

/// Where the worker waits for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsAt {
    /// At the instance in which the task becomes ready.
    SameInstance,
    /// At another instance, which has to look.
    OtherInstance,
}

/// How soon a waiting worker has a task.
#[derive(Debug, Clone, Serialize)]
pub struct StartReport {
    pub waits_at: WaitsAt,
    pub tasks: usize,
    /// From ready, which is the beginning of the transaction that plans the task, until the worker
    /// has read the answer to its claim.
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// What waiting workers cost.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingReport {
    pub workers: usize,
    /// Seconds since the workers began to wait.
    pub after_seconds: f64,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Transactions of the app, of which each has one statement while nothing comes; unknown on
    /// the embedded database.
    pub transactions_per_second: Option<f64>,
    /// Share of one processor that the handler used.
    pub handler_cpu_percent: Option<f64>,
}

/// The rate of one worker process.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessReport {
    pub tasks: u64,
    /// From the submission until a client saw the job completed; the worker had started before.
    pub seconds: f64,
    pub tasks_per_second: f64,
}

/// Gives single tasks to a worker that waits.
///
/// # Errors
/// The local cloud did not start, a job did not complete, or the benchmark was stopped.
pub async fn bench_start(
    options: WorkersOptions,
    waits_at: WaitsAt,
    tasks: usize,
    stop: &Stop,
) -> Result<StartReport, BenchError> {
    let timeout = options.timeout;
    Bed::lend(options.cloud, stop, async |bed| match waits_at {
        WaitsAt::SameInstance => {
            start(&bed.cloud, &bed.cloud.base_url(), waits_at, tasks, timeout).await
        }
        WaitsAt::OtherInstance => {
            // It takes no messages, so that tasks become ready at the first one only.
            let off = |name: &str| (format!("AzureWebJobs.{name}.Disabled"), "true".to_owned());
            let settings = BTreeMap::from(["process_queue_job", "process_sb_job"].map(off));
            let other = bed.cloud.another_host(settings).await.map_err(CloudError::Host)?;
            let measured = start(&bed.cloud, &other.base_url(), waits_at, tasks, timeout).await;
            other.stop().await;
            measured
        }
    })
    .await
}

async fn start(
    cloud: &LocalCloud,
    worker_url: &str,
    waits_at: WaitsAt,
    tasks: usize,
    timeout: Duration,
) -> Result<StartReport, BenchError> {
    let api = ready(cloud).await?;
    let worker = Worker::new(worker_url, "bench", &GREETINGS)?;
    let mut waits = Vec::with_capacity(tasks);
    while waits.len() < tasks {
        // The claim waits before there is a job, as a worker does that has nothing to do.
        let claims = tokio::spawn({
            let worker = worker.clone();
            async move {
                let mut seen = Vec::new();
                while seen.len() < GREETINGS.len() {
                    let claimed = worker.claim(1, WAIT_SECONDS).await?;
                    let at = OffsetDateTime::now_utc();
                    if !claimed.is_empty() {
                        let outcomes = claimed.iter().map(|task| completed(task, greeting(task)));
                        worker.finish(outcomes.collect()).await?;
                    }
                    seen.extend(claimed.into_iter().map(|task| (task.task_id, at)));
                }
                Ok::<_, BenchError>(seen)
            }
        });
        // A different moment in the interval of the looks each time.
        tokio::time::sleep(Duration::from_millis(200 + (waits.len() as u64 * 37) % 250)).await;
        let parameters = json!({ "n": 1, "name": Uuid::new_v4().to_string(), "use_workers": true });
        let job_id = api.submit("hello_world", &parameters).await?;
        let seen = tokio::time::timeout(timeout, claims).await;
        let seen = seen.map_err(|_| unfinished(timeout))?.map_err(|_| BenchError::Stopped)??;
        wait(&api, &job_id, timeout, |status| text(status, "/status") == "completed").await?;
        let planned = created(&api.get(&format!("db/tasks/{job_id}")).await?.0);
        for (task_id, at) in seen {
            if let Some(created) = planned.get(task_id.as_str()) {
                waits.push((at - *created).as_seconds_f64() * 1000.0);
            }
        }
    }
    waits.sort_by(f64::total_cmp);
    Ok(StartReport {
        waits_at,
        tasks: waits.len(),
        p50_ms: percentile(&waits, 0.5),
        p99_ms: percentile(&waits, 0.99),
    })
}

/// When the tasks of a list were planned.
fn created(list: &Value) -> BTreeMap<String, OffsetDateTime> {
    let tasks = list.get("tasks").and_then(Value::as_array);
    let one = |task: &Value| {
        let created = OffsetDateTime::parse(&text(task, "/created_at"), &Rfc3339).ok()?;
        Some((text(task, "/task_id"), created))
    };
    tasks.into_iter().flatten().filter_map(one).collect()
}

fn unfinished(timeout: Duration) -> BenchError {
    BenchError::Job {
        status: "processing".to_owned(),
        seconds: timeout.as_secs_f64(),
        detail: "the worker has not received its task".to_owned(),
    }
}

/// Lets workers wait without tasks, and measures twice for `seconds` what that costs: after 30 s,
/// and after `settled`.
///
/// # Errors
/// The local cloud did not start, or the benchmark was stopped.
pub async fn bench_waiting(
    options: WorkersOptions,
    workers: usize,
    seconds: u64,
    settled: Duration,
    each: impl Fn(&WaitingReport),
    stop: &Stop,
) -> Result<Vec<WaitingReport>, BenchError> {
    Bed::lend(options.cloud, stop, async |bed| {
        ready(&bed.cloud).await?;
        let base_url = bed.cloud.base_url();
        let mut waiting = JoinSet::new();
        for number in 0..workers {
            let worker = Worker::new(&base_url, &format!("bench-{number}"), &GREETINGS)?;
            waiting.spawn(async move {
                loop {
                    if worker.claim(1, WAIT_SECONDS).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            });
        }
        let began = Instant::now();
        let mut reports = Vec::new();
        for after in [Duration::from_secs(30), settled] {
            tokio::time::sleep(after.saturating_sub(began.elapsed())).await;
            let report = waiting_cost(bed, workers, began, seconds).await?;
            each(&report);
            reports.push(report);
        }
        Ok(reports)
    })
    .await
}

async fn waiting_cost(
    bed: &mut Bed,
    workers: usize,
    began: Instant,
    seconds: u64,
) -> Result<WaitingReport, BenchError> {
    let after_seconds = began.elapsed().as_secs_f64();
    let pid = bed.cloud.handler_pid();
    let used = || pid.and_then(processor_seconds);
    let before = used();
    let transactions_per_second = match transactions(bed, seconds).await {
        Ok(transactions) => Some(transactions),
        Err(BenchError::NeedsServer) => {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            None
        }
        Err(error) => return Err(error),
    };
    let share = |before: f64, after: f64| 100.0 * (after - before) / seconds as f64;
    Ok(WaitingReport {
        workers,
        after_seconds,
        seconds: seconds as f64,
        transactions_per_second,
        handler_cpu_percent: before.zip(used()).map(|(before, after)| share(before, after)),
    })
}

/// Runs `hello_world` with a worker that this command starts, which has the handlers
/// `hello_world_greeting` and `hello_world_reply`.
///
/// # Errors
/// The local cloud did not start, the worker never asked for tasks, the job did not complete, or
/// the benchmark was stopped.
pub async fn bench_process(
    options: WorkersOptions,
    command: &str,
    tasks: u64,
    log: LogSink,
    stop: &Stop,
) -> Result<ProcessReport, BenchError> {
    let timeout = options.timeout;
    Bed::lend(options.cloud, stop, async |bed| {
        let api = ready(&bed.cloud).await?;
        let worker = LocalWorker::start(command.to_owned(), &bed.cloud.base_url(), log);
        let measured = async {
            let began = Instant::now();
            while api.get("workers").await?.0["workers"].as_array().is_none_or(Vec::is_empty) {
                if began.elapsed() > timeout {
                    return Err(BenchError::NoWorker(command.to_owned()));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let began = Instant::now();
            let parameters = json!({ "n": tasks / 2, "use_workers": true });
            let job_id = api.submit("hello_world", &parameters).await?;
            wait(&api, &job_id, timeout, |status| text(status, "/status") == "completed").await?;
            let seconds = began.elapsed().as_secs_f64();
            let tasks = tasks / 2 * 2;
            Ok(ProcessReport { tasks, seconds, tasks_per_second: tasks as f64 / seconds })
        }
        .await;
        worker.stop().await;
        measured
    })
    .await
}
