//! Workflows of shapes that `hello_world` does not have: a long chain of nodes, a fan-out from a file
//! of JSON lines beside the same plan in Rust, and jobs that wait at gates.

use std::{
    fmt::Write,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    BenchError,
    bed::{Bed, Stop},
    facts::peak_memory_mib,
    progress::{ready, transactions, wait},
};
use lastlight_engine::config::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY};
use lastlight_local::{CloudOptions, LocalCloud, api::text};
use lastlight_testing::{
    blobs::{NewContainer, connection_string},
    ledger::LEDGER_SETTING,
    work::CHAOS,
};

/// The options of all three measurements.
#[derive(Debug, Clone)]
pub struct WorkflowsOptions {
    /// The local cloud to run on; its data folder must be empty.
    pub cloud: CloudOptions,
    /// The longest duration of one measurement.
    pub timeout: Duration,
}

/// A chain of nodes with a task each.
#[derive(Debug, Clone, Serialize)]
pub struct ChainReport {
    pub nodes: u64,
    /// From the submission until a client saw the job completed.
    pub seconds: f64,
}

/// Planning many tasks from a file, and as many in Rust.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    pub tasks: u64,
    /// From the beginning of the stage until its last task was planned, in seconds.
    pub file_seconds: f64,
    pub rust_seconds: f64,
    /// The rate of the file's plan divided by that of the Rust plan.
    pub ratio: f64,
    /// Peak memory of the handler that planned the file's tasks, MiB.
    pub file_peak_memory_mib: Option<f64>,
    pub rust_peak_memory_mib: Option<f64>,
}

/// Jobs that wait at gates.
#[derive(Debug, Clone, Serialize)]
pub struct GatesReport {
    pub jobs: u64,
    /// How long was measured.
    pub seconds: f64,
    /// Transactions of all sessions of the app's database, per second: without jobs, and while they
    /// wait.
    pub transactions_without: f64,
    pub transactions_waiting: f64,
    /// Messages that were sent while they waited.
    pub messages: u64,
}

/// Puts a workflow into a folder of its own, which the cloud then reads.
pub(super) fn with_workflow(cloud: &mut CloudOptions, text: &str) -> Result<(), BenchError> {
    let folder = workflow_folder(&cloud.data);
    let written =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("workflow.yaml"), text));
    written.map_err(BenchError::Folder)?;
    cloud.settings.insert("LASTLIGHT_WORKFLOWS".to_owned(), folder.display().to_string());
    Ok(())
}

/// Beside the data folder, which must be empty.
fn workflow_folder(data: &Path) -> PathBuf {
    data.with_extension("workflows")
}

/// Runs a chain of nodes on Service Bus.
///
/// # Errors
/// The local cloud did not start, the job did not complete, or the benchmark was stopped.
pub async fn bench_chain(
    mut options: WorkflowsOptions,
    nodes: u64,
    stop: &Stop,
) -> Result<ChainReport, BenchError> {
    let mut workflow = "workflow: chain\nnodes:\n".to_owned();
    for number in 0..nodes {
        let _ = writeln!(
            workflow,
            "  n{number}: {{type: task, handler: echo, constants: {{n: {number}}}{}}}",
            {
                match number {
                    0 => String::new(),
                    number => format!(", depends_on: [n{}]", number - 1),
                }
            }
        );
    }
    with_workflow(&mut options.cloud, &workflow)?;
    let timeout = options.timeout;
    Bed::lend(options.cloud, stop, async |bed| {
        let api = ready(&bed.cloud).await?;
        let began = Instant::now();
        let job_id = api.submit("chain", &json!({ "use_service_bus": true })).await?;
        wait(&api, &job_id, timeout, |status| text(status, "/status") == "completed").await?;
        Ok(ChainReport { nodes, seconds: began.elapsed().as_secs_f64() })
    })
    .await
}

/// Plans tasks from a blob of JSON lines in Azurite, and as many tasks of a job type in Rust. The
/// tasks are not waited for.
///
/// # Errors
/// As for [`bench_chain`].
pub async fn bench_file(
    options: WorkflowsOptions,
    tasks: u64,
    stop: &Stop,
) -> Result<FileReport, BenchError> {
    let workflow = "
workflow: from_file
parameters: {lines: {type: str, required: true}}
nodes:
  each:
    type: fan_out
    source_file: params.lines
    max_fan_out: 1000000
    tasks_per_message: 100
    task: {handler: echo, params: {tile: \"{{ item.tile }}\", zoom: \"{{ item.zoom }}\"}}
";
    let timeout = options.timeout;
    let container = NewContainer::create().await;
    let mut lines = String::new();
    for number in 0..tasks {
        let _ = writeln!(
            lines,
            "{{\"tile\": \"x{}_y{}\", \"zoom\": {}}}",
            number % 1000,
            number / 1000,
            number % 20
        );
    }
    container.write("lines.jsonl", lines).await;
    let blob = format!("{}/lines.jsonl", container.name);
    let mut cloud = options.cloud.clone();
    with_workflow(&mut cloud, workflow)?;
    // The local cloud has no blobs: they are Azurite's, beside its own queues.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    cloud.storage_port = port.map_err(BenchError::Folder)?.port();
    let storage = format!(
        "{};DefaultEndpointsProtocol=http;QueueEndpoint=http://127.0.0.1:{}/{DEVELOPMENT_ACCOUNT}",
        connection_string(DEVELOPMENT_KEY),
        cloud.storage_port
    );
    cloud.settings.insert("AzureWebJobsStorage".to_owned(), storage);
    let (file_seconds, file_peak_memory_mib) = Bed::lend(cloud, stop, async |bed| {
        let parameters = json!({ "lines": blob, "use_service_bus": true });
        planned(&bed.cloud, "from_file", &parameters, timeout).await
    })
    .await?;
    let mut cloud = options.cloud;
    cloud.data.set_extension("rust");
    let ledger = cloud.data.with_extension("ledger");
    cloud.settings.insert(LEDGER_SETTING.to_owned(), ledger.display().to_string());
    let (rust_seconds, rust_peak_memory_mib) = Bed::lend(cloud, stop, async |bed| {
        let parameters = json!({
            "tag": "bench",
            "stages": [{ "tasks": tasks, "padding": 0, "rules": [] }],
            "tasks_per_message": 100,
            "use_service_bus": true,
        });
        planned(&bed.cloud, CHAOS, &parameters, timeout).await
    })
    .await?;
    Ok(FileReport {
        tasks,
        file_seconds,
        rust_seconds,
        ratio: rust_seconds / file_seconds,
        file_peak_memory_mib,
        rust_peak_memory_mib,
    })
}

/// How long the first stage of a job was planned, in seconds, and the handler's peak memory.
async fn planned(
    cloud: &LocalCloud,
    job_type: &str,
    parameters: &Value,
    timeout: Duration,
) -> Result<(f64, Option<f64>), BenchError> {
    let api = ready(cloud).await?;
    let began = Instant::now();
    let job_id = api.submit(job_type, parameters).await?;
    let is_planned =
        |status: &Value| status.pointer("/progress/0/planned") == Some(&Value::Bool(true));
    wait(&api, &job_id, timeout, is_planned).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((seconds, cloud.handler_pid().and_then(peak_memory_mib)))
}

/// Lets jobs wait at gates and measures what that costs.
///
/// # Errors
/// As for [`bench_chain`]; or the database is not a server.
pub async fn bench_gates(
    mut options: WorkflowsOptions,
    jobs: u64,
    seconds: u64,
    stop: &Stop,
) -> Result<GatesReport, BenchError> {
    let workflow = "
workflow: waits
parameters: {n: {type: int, required: true}}
nodes:
  first: {type: task, handler: echo, params: [n]}
  gate: {type: gate, gate_type: approval, depends_on: [first]}
  last: {type: task, handler: echo, params: [n], depends_on: [gate]}
";
    with_workflow(&mut options.cloud, workflow)?;
    let timeout = options.timeout;
    Bed::lend(options.cloud, stop, async |bed| {
        let api = ready(&bed.cloud).await?;
        let quiet = transactions(bed, seconds).await?;
        let mut last = String::new();
        for n in 0..jobs {
            last = api.submit("waits", &json!({ "n": n, "use_service_bus": n % 2 == 0 })).await?;
        }
        let waits = |status: &Value| {
            status.pointer("/progress/1/node/waitsForDecision") == Some(&Value::Bool(true))
        };
        wait(&api, &last, timeout, waits).await?;
        // The other jobs began earlier; all have reached their gates when nothing is open. The sweep
        // then measures each first node once.
        tokio::time::sleep(Duration::from_secs(10)).await;
        while api.get("metrics/comparison").await?.0["query_info"]["stages_not_counted_yet"] != 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let sent =
            |bed: &Bed| bed.cloud.storage.messages_put() + bed.cloud.service_bus.messages_sent();
        let before = sent(bed);
        let waiting = transactions(bed, seconds).await?;
        Ok(GatesReport {
            jobs,
            seconds: seconds as f64,
            transactions_without: quiet,
            transactions_waiting: waiting,
            messages: sent(bed) - before,
        })
    })
    .await
}
