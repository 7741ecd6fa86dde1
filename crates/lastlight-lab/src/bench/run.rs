//! `hello_world` from submission to completion: one measurement for each size, path and number of
//! tasks per message.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    BenchError,
    bed::{Bed, Stop},
    facts::{Cost, Ledger, Reading, peak_memory_mib},
    workflows::with_workflow,
};
use crate::worker::{GREETINGS, Worker, greeting};
use lastlight_engine::model::ProcessingPath;
use lastlight_local::{
    CloudOptions, LocalCloud,
    api::{Api, text},
};
use lastlight_testing::{ledger::LEDGER_SETTING, work::CHAOS};

/// Makes the parameters of a greeting about 200 bytes, a usual size of a task.
const NAME: &str = "a team of geospatial engineers with many tiles to render";

#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The local cloud to run on; its data folder must be empty.
    pub cloud: CloudOptions,
    /// Number of tasks of the whole job: half of them greetings, half of them replies, which read
    /// the greetings' results.
    pub tasks: u64,
    /// The path to use.
    pub path: ProcessingPath,
    /// Number of tasks per message.
    pub tasks_per_message: u64,
    /// Number of messages processed at once; `None`: as host.json says.
    pub in_flight: Option<u64>,
    /// Sizes of results and parameters, if they differ from those of `hello_world`.
    pub sizes: Option<Sizes>,
    /// Number of loops in which the worker claims and finishes tasks, on the path `worker`.
    pub worker_loops: usize,
    /// Whether the job is `workflows/hello_world.yaml` in place of the job type in Rust.
    pub is_workflow: bool,
    /// The longest duration of the job.
    pub timeout: Duration,
}

/// The workflow that does the work of `hello_world`.
const WORKFLOW: &str = include_str!("../../../../workflows/hello_world.yaml");

/// Bytes of each task's result and parameters. With these a run has two stages of the job type
/// `chaos`, and each task of the second stage reads the result of one task of the first.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sizes {
    /// Bytes of each result.
    pub result_bytes: u64,
    /// Bytes added to each task's parameters.
    pub parameter_bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub path: ProcessingPath,
    /// Number of tasks that were requested.
    pub n: u64,
    pub tasks: u64,
    /// Number of tasks per message.
    pub tasks_per_message: u64,
    /// Number of messages processed at once, if it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// Sizes of results and parameters, if they were set.
    #[serde(flatten)]
    pub sizes: Option<Sizes>,
    /// From the submission until a client saw the job completed.
    pub seconds: f64,
    /// `tasks / seconds`.
    pub tasks_per_second: f64,
    /// From planned to finished, per task, in milliseconds; of the slower stage.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Number of transactions that wrote; unknown on the embedded database, which has no second
    /// session.
    pub commits_per_task: Option<f64>,
    pub wal_bytes_per_task: Option<f64>,
    /// Number of messages sent, including job messages.
    pub messages_per_task: f64,
    /// Peak memory of the handler, MiB.
    pub peak_memory_mib: Option<f64>,
}

/// Runs one job on a local cloud of its own. `progress` is called with the number of tasks done so
/// far.
///
/// # Errors
/// The local cloud did not start, the job did not complete, or the benchmark was stopped.
pub async fn bench_run(
    options: RunOptions,
    progress: impl Fn(u64),
    stop: &Stop,
) -> Result<RunReport, BenchError> {
    let mut cloud = options.cloud.clone();
    if let Some(in_flight) = options.in_flight {
        cloud.settings.extend(concurrency(in_flight));
    }
    if options.is_workflow {
        let per_message = format!("tasks_per_message: {}", options.tasks_per_message);
        with_workflow(&mut cloud, &WORKFLOW.replace("tasks_per_message: 100", &per_message))?;
    }
    if options.sizes.is_some() {
        let ledger = cloud.data.join("ledger");
        cloud.settings.insert(LEDGER_SETTING.to_owned(), ledger.display().to_string());
    }
    Bed::lend(cloud, stop, async |bed| {
        measure(&bed.cloud, &options, bed.ledger.as_mut(), progress).await
    })
    .await
}

async fn measure(
    cloud: &LocalCloud,
    options: &RunOptions,
    mut ledger: Option<&mut Ledger>,
    progress: impl Fn(u64),
) -> Result<RunReport, BenchError> {
    let api = Api::new(cloud.base_url())?;
    api.ready().await?;
    let mut before = None;
    if let Some(ledger) = &mut ledger {
        ledger.checkpoint().await;
        before = Some(ledger.read().await?);
    }
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    if options.path == ProcessingPath::Worker {
        let worker = Worker::new(&cloud.base_url(), "bench", &GREETINGS)?;
        let loops = options.worker_loops;
        tokio::spawn(async move { worker.serve(loops, greeting, stop).await });
    }
    let began = Instant::now();
    let (job_type, parameters) = job(options);
    let job_id = api.submit(job_type, &parameters).await?;
    let status = loop {
        let status = api.status(&job_id).await?;
        progress(done(&status));
        match text(&status, "/status").as_str() {
            "completed" => break status,
            "failed" | "cancelled" => return Err(not_completed(&status, began)),
            _ if began.elapsed() > options.timeout => return Err(not_completed(&status, began)),
            // Polling costs what is measured: an interval of a hundredth of the elapsed time limits
            // both the load and the error.
            _ => tokio::time::sleep((began.elapsed() / 100).max(Duration::from_millis(10))).await,
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let mut cost = None;
    if let (Some(ledger), Some(before)) = (ledger, before) {
        let after: Reading = ledger.read().await?;
        cost = Some(after.since(before));
    }
    let messages = match options.path {
        ProcessingPath::QueueStorage | ProcessingPath::Worker => cloud.storage.messages_put(),
        ProcessingPath::ServiceBus => cloud.service_bus.messages_sent(),
    };
    Ok(report(options, &status, seconds, cost, messages, cloud.handler_pid()))
}

fn job(options: &RunOptions) -> (&'static str, Value) {
    let use_service_bus = options.path == ProcessingPath::ServiceBus;
    if options.is_workflow {
        let parameters = json!({
            "n": options.tasks / 2,
            "name": NAME,
            "use_service_bus": use_service_bus,
        });
        return ("hello_world_workflow", parameters);
    }
    let Some(sizes) = options.sizes else {
        let parameters = json!({
            "n": options.tasks / 2,
            "name": NAME,
            "tasks_per_message": options.tasks_per_message,
            "use_service_bus": use_service_bus,
            "use_workers": options.path == ProcessingPath::Worker,
        });
        return ("hello_world", parameters);
    };
    let stage = json!({
        "tasks": options.tasks / 2,
        "padding": sizes.parameter_bytes,
        "rules": [{ "every": 1, "at": 0, "act": "result", "bytes": sizes.result_bytes }],
    });
    let parameters = json!({
        "tag": "bench",
        "stages": [stage, stage],
        "tasks_per_message": options.tasks_per_message,
        "use_service_bus": use_service_bus,
    });
    (CHAOS, parameters)
}

fn report(
    options: &RunOptions,
    status: &Value,
    seconds: f64,
    cost: Option<Cost>,
    messages: u64,
    handler: Option<u32>,
) -> RunReport {
    let completed = status.pointer("/resultData/completed_tasks");
    let tasks = completed.and_then(Value::as_u64).unwrap_or_default();
    let a_task = |total: f64| if tasks > 0 { total / tasks as f64 } else { 0.0 };
    RunReport {
        path: options.path,
        n: options.tasks,
        tasks,
        tasks_per_message: options.tasks_per_message,
        in_flight: options.in_flight,
        sizes: options.sizes,
        seconds,
        tasks_per_second: tasks as f64 / seconds,
        p50_ms: slowest_stage(status, "p50"),
        p99_ms: slowest_stage(status, "p99"),
        commits_per_task: cost.map(|cost| a_task(cost.commits)),
        wal_bytes_per_task: cost.map(|cost| a_task(cost.wal_bytes)),
        messages_per_task: a_task(messages as f64),
        peak_memory_mib: handler.and_then(peak_memory_mib),
    }
}

fn slowest_stage(status: &Value, percentile: &str) -> f64 {
    let stages = status.pointer("/stageResults").and_then(Value::as_object);
    stages
        .into_iter()
        .flat_map(|stages| stages.values())
        .filter_map(|stage| stage.pointer(&format!("/latency_ms/{percentile}"))?.as_f64())
        .fold(0.0, f64::max)
}

fn done(status: &Value) -> u64 {
    let stages = status.pointer("/progress").and_then(Value::as_array);
    let ended =
        |stage: &Value, name: &str| stage.get(name).and_then(Value::as_u64).unwrap_or_default();
    stages
        .into_iter()
        .flatten()
        .map(|stage| ended(stage, "completed") + ended(stage, "failed"))
        .sum()
}

fn not_completed(status: &Value, began: Instant) -> BenchError {
    let reason = text(status, "/errorDetails");
    BenchError::Job {
        status: text(status, "/status"),
        seconds: began.elapsed().as_secs_f64(),
        detail: if reason.is_empty() { format!("{} tasks done", done(status)) } else { reason },
    }
}

/// The maximum of `maxMessageBatchSize` of the extension.
const LARGEST_BATCH: u64 = 1000;

/// The host.json settings for this number of messages processed at once, as app settings, which
/// override the file. A Storage Queue trigger fetches at most 32 messages; a Service Bus trigger
/// runs one batch at a time.
fn concurrency(in_flight: u64) -> [(String, String); 4] {
    let fetched = in_flight.clamp(1, 32);
    let batch = in_flight.clamp(1, LARGEST_BATCH);
    let setting = |name: &str, value: u64| {
        let name = format!("AzureFunctionsJobHost__extensions__{name}");
        (name, value.to_string())
    };
    [
        setting("queues__batchSize", fetched),
        setting("queues__newBatchThreshold", in_flight.saturating_sub(fetched)),
        setting("serviceBus__maxMessageBatchSize", batch),
        setting("serviceBus__maxConcurrentCalls", in_flight),
    ]
}
