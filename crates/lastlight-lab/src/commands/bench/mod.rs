//! `lastlight bench`: prints measurements, each taken on a local cloud of its own.

mod workers;
mod years;

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::bench::{
    BenchError, FanoutLeg, FanoutOptions, FanoutReport, ReadReport, ReadsOptions, RunOptions,
    RunReport, SendWay, Sizes, Stop, Stored, WorkflowsOptions, bench_chain, bench_fanout,
    bench_file, bench_gates, bench_reads, bench_run,
};
use clap::{Args, Subcommand, ValueEnum};
use lastlight_engine::model::{ProcessingPath, TasksPerMessage};
use lastlight_local::{CloudError, CloudOptions, host::LogSink};
use serde_json::json;

use lastlight_cli::exit::{STOPPED, failed, stopped};
use lastlight_cli::{output, say, tell};
use lastlight_engine::server::asked_to_stop;
use lastlight_local::commands::no_cloud;
use lastlight_local::commands::{CloudArguments, log_to_stderr};

/// `lastlight bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure whole hello_world jobs, from submission to completion.
    Run(RunArguments),
    /// Measure planning and sending without running tasks: messages sent one by one compared with
    /// lastlight's own way of sending, over both paths.
    Fanout(FanoutArguments),
    /// Measure workflows: a chain of nodes, a fan-out from a file beside the same plan in Rust, and jobs
    /// that wait at gates.
    Workflows(WorkflowsArguments),
    /// Measure workers without work: how soon a worker that waits has a task, and what waiting workers
    /// cost the app. And the rate of a worker process.
    Workers(workers::WorkersArguments),
    /// Measure what years of jobs cost: how fast finished jobs are deleted, what that costs a job that
    /// runs meanwhile, and how large the tables stay. Needs --database-url.
    Years(years::YearsArguments),
    /// Measure how long each read endpoint and each first view of the dashboard take over a full
    /// database.
    Reads(ReadsArguments),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PathChoice {
    Both,
    #[value(name = "queue_storage")]
    QueueStorage,
    #[value(name = "service_bus")]
    ServiceBus,
    /// A worker in Rust claims all tasks over HTTP.
    Worker,
}

/// `lastlight bench run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Number of tasks of each job, half of them in each of its two stages.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_parser = clap::value_parser!(u64).range(2..=2_000_000))]
    n: Vec<u64>,
    /// Number of tasks per message.
    #[arg(long, value_delimiter = ',', default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=u64::from(TasksPerMessage::LARGEST)))]
    tasks_per_message: Vec<u64>,
    /// Number of messages that are processed at once. Without it, host.json decides.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    in_flight: Option<u64>,
    /// Size of each result in bytes; each task of the second stage reads one result. The job then
    /// has the job type `chaos`.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    result_bytes: Option<u64>,
    /// Size of each task's parameters in bytes. The job then has the job type `chaos`.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    parameter_bytes: Option<u64>,
    /// Processing path to use.
    #[arg(long, value_enum, default_value = "both")]
    path: PathChoice,
    /// Number of loops in which the worker claims up to 100 tasks and finishes them; for --path worker.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    worker_loops: u16,
    /// Run workflows/hello_world.yaml in place of the job type in Rust.
    #[arg(long, conflicts_with_all = ["result_bytes", "parameter_bytes"])]
    workflow: bool,
    /// Maximum duration of a job in seconds; a job that takes longer has failed.
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
}

impl RunArguments {
    fn sizes(&self) -> Option<Sizes> {
        let is_said = self.result_bytes.is_some() || self.parameter_bytes.is_some();
        is_said.then(|| Sizes {
            result_bytes: self.result_bytes.unwrap_or_default(),
            parameter_bytes: self.parameter_bytes.unwrap_or_default(),
        })
    }
}

/// `lastlight bench fanout`.
#[derive(Debug, Args)]
pub struct FanoutArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Number of tasks to plan, and of messages to send.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    n: Vec<u64>,
    /// Latency of the queue services in milliseconds per request.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    latency_ms: u64,
    /// Maximum number of messages that are sent one by one. The times of larger sizes are scaled
    /// from it and marked.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    one_by_one_at_most: u64,
    /// Maximum duration of sending in seconds; sending that takes longer has failed.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

/// `lastlight bench workflows`.
#[derive(Debug, Args)]
pub struct WorkflowsArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Number of nodes of the chain.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100))]
    nodes: u64,
    /// Number of lines of the file. Measured if the variable AZURITE_BLOB_ENDPOINT names a blob service,
    /// as `scripts/services up` sets it.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    lines: u64,
    /// Number of jobs that wait at gates. Measured on the server of --database-url.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    gates: u64,
    /// Seconds for which their cost is measured, twice.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Maximum duration of one measurement in seconds.
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
}

/// `lastlight bench reads`.
#[derive(Debug, Args)]
pub struct ReadsArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Number of tasks to store. Half of them are in one job, which has 2000000 at most.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(4..=20_000_000))]
    tasks: u64,
    /// Number of jobs to store.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    jobs: u64,
    /// Number of requests to each endpoint and view.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    requests: u32,
    /// Time limit for 19 of 20 answers in milliseconds. A slower endpoint makes the exit code 1.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    at_most_ms: u32,
    /// Maximum time for filling the database in seconds.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

/// Runs a benchmark until it is done or stopped.
pub(super) async fn bench(command: BenchCommand) -> ExitCode {
    log_to_stderr();
    if cfg!(debug_assertions) {
        tell!("this is a debug build: its measurements mean nothing; use cargo run --release");
    }
    let folder = std::env::temp_dir().join(format!("lastlight-bench-{}", uuid::Uuid::new_v4()));
    let stop = Arc::new(Stop::default());
    let asking = tokio::spawn(ask_to_stop(Arc::clone(&stop), folder.clone()));
    let result = match command {
        BenchCommand::Run(arguments) => run(arguments, &folder, &stop).await,
        BenchCommand::Fanout(arguments) => fanout(arguments, &folder, &stop).await,
        BenchCommand::Workflows(arguments) => workflows(arguments, &folder, &stop).await,
        BenchCommand::Workers(arguments) => workers::workers(arguments, &folder, &stop).await,
        BenchCommand::Years(arguments) => years::years(arguments, &folder, &stop).await,
        BenchCommand::Reads(arguments) => reads(arguments, &folder, &stop).await,
    };
    asking.abort();
    let _ = lastlight_local::remove_data(&folder);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(BenchFailure::Stopped) => stopped(&"stopped before the benchmark was done"),
        Err(BenchFailure::NoCloud(error)) => no_cloud(&error),
        Err(BenchFailure::Failed(problem)) => failed(&problem, 1),
    }
}

/// Why a benchmark did not finish.
enum BenchFailure {
    Stopped,
    NoCloud(CloudError),
    Failed(String),
}

impl BenchFailure {
    /// `figure`: a prefix of the error message that names the measurement.
    fn of(figure: &str, error: BenchError) -> Self {
        match error {
            BenchError::Stopped => Self::Stopped,
            BenchError::Cloud(error @ (CloudError::Unreachable(_) | CloudError::Config(_))) => {
                Self::NoCloud(error)
            }
            error => Self::Failed(format!("{figure}{error}")),
        }
    }
}

impl From<String> for BenchFailure {
    fn from(problem: String) -> Self {
        Self::Failed(problem)
    }
}

/// Ctrl-C and SIGTERM end the benchmark, which then removes what it created. A second signal ends
/// the process at once and prints which schema remains. A closed output ends the benchmark too.
async fn ask_to_stop(stop: Arc<Stop>, folder: PathBuf) {
    tokio::select! {
        () = asked_to_stop() => tell!("stopping"),
        () = output::lost() => {}
    }
    stop.ask();
    asked_to_stop().await;
    if let Some(schema) = stop.leaves() {
        tell!(
            "lastlight: schema {schema} stays on the server; remove it with DROP SCHEMA {schema} CASCADE"
        );
    }
    let _ = lastlight_local::remove_data(&folder);
    std::process::exit(i32::from(STOPPED));
}

/// The options of a new local cloud with a data folder of its own below `folder`.
fn fresh_cloud(arguments: &CloudArguments, folder: &Path) -> Result<CloudOptions, String> {
    let log = LogSink::new(|line| {
        if ["WARN", "ERROR"].iter().any(|level| line.contains(level)) {
            tell!("{line}");
        }
    });
    let data: PathBuf = folder.join(uuid::Uuid::new_v4().to_string());
    arguments.options(data, log)
}

async fn run(arguments: RunArguments, folder: &Path, stop: &Stop) -> Result<(), BenchFailure> {
    let paths = match arguments.path {
        PathChoice::Both => ProcessingPath::WITH_MESSAGES.to_vec(),
        PathChoice::QueueStorage => vec![ProcessingPath::QueueStorage],
        PathChoice::ServiceBus => vec![ProcessingPath::ServiceBus],
        PathChoice::Worker if arguments.workflow || arguments.sizes().is_some() => {
            return Err(BenchFailure::Failed(
                "--path worker measures hello_world: leave out --workflow and the sizes".to_owned(),
            ));
        }
        PathChoice::Worker => vec![ProcessingPath::Worker],
    };
    let is_json = arguments.cloud.json;
    let mut reports: Vec<RunReport> = Vec::new();
    if !is_json {
        say!("{RUN_HEADER}");
    }
    for path in paths {
        for tasks_per_message in &arguments.tasks_per_message {
            for n in &arguments.n {
                let options = RunOptions {
                    cloud: fresh_cloud(&arguments.cloud, folder)?,
                    tasks: *n,
                    path,
                    worker_loops: arguments.worker_loops.into(),
                    tasks_per_message: *tasks_per_message,
                    in_flight: arguments.in_flight,
                    sizes: arguments.sizes(),
                    is_workflow: arguments.workflow,
                    timeout: Duration::from_secs(arguments.timeout),
                };
                let said = Cell::new(Instant::now());
                let progress = |done| {
                    if said.get().elapsed() > Duration::from_secs(5) {
                        said.set(Instant::now());
                        tell!("{path}, {tasks_per_message} per message: {done} of {n} tasks done");
                    }
                };
                let report = bench_run(options, progress, stop)
                    .await
                    .map_err(|error| BenchFailure::of(&format!("{path}, n = {n}: "), error))?;
                if !is_json {
                    say!("{}", run_row(&report, &reports));
                }
                reports.push(report);
            }
        }
    }
    if is_json {
        say!("{}", json!({ "runs": reports }));
    }
    Ok(())
}

const RUN_HEADER: &str = "path           tasks/msg     tasks  seconds  tasks/s   time  p50 ms  p99 ms  commits/task  WAL B/task  msgs/task  peak MiB";

/// Column `time`: the duration as a multiple of the duration of the size before.
fn run_row(report: &RunReport, before: &[RunReport]) -> String {
    let smaller = before.iter().rfind(|other| {
        other.path == report.path && other.tasks_per_message == report.tasks_per_message
    });
    let time =
        smaller.map_or("-".to_owned(), |other| format!("{:.1}x", report.seconds / other.seconds));
    let known = |figure: Option<f64>, digits: usize| {
        figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    format!(
        "{:<14} {:>9} {:>9} {:>8.2} {:>8.0} {:>6} {:>7.0} {:>7.0} {:>13} {:>11} {:>10.3} {:>9}",
        report.path.as_str(),
        report.tasks_per_message,
        report.tasks,
        report.seconds,
        report.tasks_per_second,
        time,
        report.p50_ms,
        report.p99_ms,
        known(report.commits_per_task, 4),
        known(report.wal_bytes_per_task, 0),
        report.messages_per_task,
        known(report.peak_memory_mib, 0),
    )
}

async fn workflows(
    arguments: WorkflowsArguments,
    folder: &Path,
    stop: &Stop,
) -> Result<(), BenchFailure> {
    let options = || {
        let timeout = Duration::from_secs(arguments.timeout);
        let cloud = fresh_cloud(&arguments.cloud, folder)?;
        Ok::<_, String>(WorkflowsOptions { cloud, timeout })
    };
    let failed = |what: &'static str| move |error| BenchFailure::of(what, error);
    let chain =
        bench_chain(options()?, arguments.nodes, stop).await.map_err(failed("the chain: "))?;
    let is_json = arguments.cloud.json;
    if !is_json {
        say!(
            "a chain of {} nodes, a task each, on Service Bus: {:.2} s",
            chain.nodes,
            chain.seconds
        );
    }
    let mut file = None;
    if std::env::var_os("AZURITE_BLOB_ENDPOINT").is_some() {
        let report =
            bench_file(options()?, arguments.lines, stop).await.map_err(failed("the file: "))?;
        if !is_json {
            let mib =
                |memory: Option<f64>| memory.map_or("-".to_owned(), |mib| format!("{mib:.0}"));
            say!(
                "{} tasks from a file of JSON lines: planned in {:.1} s with {} MiB at most; in Rust {:.1} s with {} MiB; \
                 rate {:.2} of Rust",
                report.tasks,
                report.file_seconds,
                mib(report.file_peak_memory_mib),
                report.rust_seconds,
                mib(report.rust_peak_memory_mib),
                report.ratio
            );
        }
        file = Some(report);
    } else {
        tell!("a fan-out from a file is not measured: AZURITE_BLOB_ENDPOINT is not set");
    }
    let mut gates = None;
    match bench_gates(options()?, arguments.gates, arguments.seconds, stop).await {
        Ok(report) => {
            if !is_json {
                say!(
                    "{} jobs that wait at gates: {:.2} transactions/s, {} messages in {:.0} s; without jobs {:.2} transactions/s",
                    report.jobs,
                    report.transactions_waiting,
                    report.messages,
                    report.seconds,
                    report.transactions_without
                );
            }
            gates = Some(report);
        }
        Err(BenchError::NeedsServer) => {
            tell!("gates are not measured: {}", BenchError::NeedsServer)
        }
        Err(error) => return Err(BenchFailure::of("gates: ", error)),
    }
    if is_json {
        say!("{}", json!({ "chain": chain, "file": file, "gates": gates }));
    }
    Ok(())
}

async fn fanout(
    arguments: FanoutArguments,
    folder: &Path,
    stop: &Stop,
) -> Result<(), BenchFailure> {
    let is_json = arguments.cloud.json;
    let mut rows = Vec::new();
    if !is_json {
        say!("each request to a queue service takes at least {} ms\n", arguments.latency_ms);
        say!("path           way                  n   seconds  messages/s  against one by one");
    }
    let mut one_by_one: Vec<FanoutReport> = Vec::new();
    for n in &arguments.n {
        for leg in FanoutLeg::ALL {
            let sent = match leg.way {
                SendWay::OneByOne => (*n).min(arguments.one_by_one_at_most),
                SendWay::Pipelined => *n,
            };
            let again = one_by_one.iter().find(|report| {
                leg.way == SendWay::OneByOne && report.leg == leg && report.n == sent
            });
            let report = match again {
                Some(report) => report.clone(),
                None => {
                    let options = FanoutOptions {
                        cloud: fresh_cloud(&arguments.cloud, folder)?,
                        leg,
                        n: sent,
                        latency: Duration::from_millis(arguments.latency_ms),
                        timeout: Duration::from_secs(arguments.timeout),
                    };
                    bench_fanout(options, stop)
                        .await
                        .map_err(|error| BenchFailure::of(&format!("n = {n}: "), error))?
                }
            };
            if leg.way == SendWay::OneByOne {
                one_by_one.push(report.clone());
            }
            let base = one_by_one.iter().rfind(|other| other.leg.path == leg.path);
            let ratio = base.map(|base| report.messages_per_second / base.messages_per_second);
            let is_scaled = sent < *n;
            let seconds = report.seconds * *n as f64 / sent as f64;
            if is_json {
                rows.push(json!({
                    "path": leg.path, "way": leg.way, "n": n, "sent": sent, "is_scaled": is_scaled,
                    "seconds": seconds, "messages_per_second": report.messages_per_second, "ratio": ratio,
                }));
            } else {
                say!(
                    "{:<14} {:<12} {:>9} {:>9} {:>11.0}  {}",
                    leg.path.as_str(),
                    match leg.way {
                        SendWay::OneByOne => "one by one",
                        SendWay::Pipelined if leg.path == ProcessingPath::ServiceBus => "batched",
                        SendWay::Pipelined => "concurrent",
                    },
                    n,
                    format!("{}{seconds:.2}", if is_scaled { "~" } else { "" }),
                    report.messages_per_second,
                    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}x")),
                );
            }
        }
    }
    if is_json {
        say!("{}", json!({ "latency_ms": arguments.latency_ms, "fanout": rows }));
    } else if arguments.n.iter().any(|n| *n > arguments.one_by_one_at_most) {
        say!("\n~ scaled from {} messages", arguments.one_by_one_at_most);
    }
    Ok(())
}

async fn reads(arguments: ReadsArguments, folder: &Path, stop: &Stop) -> Result<(), BenchFailure> {
    let is_json = arguments.cloud.json;
    let options = ReadsOptions {
        cloud: fresh_cloud(&arguments.cloud, folder)?,
        tasks: arguments.tasks,
        jobs: arguments.jobs,
        requests: arguments.requests,
        timeout: Duration::from_secs(arguments.timeout),
    };
    let said = Cell::new(Instant::now());
    let progress = |done| {
        if said.get().elapsed() > Duration::from_secs(5) {
            said.set(Instant::now());
            tell!("filling: {done} of {} jobs are finished", arguments.jobs);
        }
    };
    let most = f64::from(arguments.at_most_ms);
    let each = |report: &ReadReport| {
        if !is_json {
            say!("{}", read_row(report, most));
        }
    };
    let stored = |stored: &Stored| {
        if !is_json {
            say!(
                "{} tasks of {} jobs, {} of them failed; they ran for {:.0} s\n\n{READ_HEADER}",
                stored.tasks,
                stored.jobs,
                stored.failed,
                stored.seconds
            );
        }
    };
    let (stored, reports) = bench_reads(options, progress, stored, each, stop)
        .await
        .map_err(|error| BenchFailure::of("", error))?;
    let slow = reports.iter().filter(|report| is_slow(report, most)).count();
    if is_json {
        say!(
            "{}",
            json!({ "stored": stored, "at_most_ms": arguments.at_most_ms, "too_slow": slow, "reads": reports })
        );
    } else {
        say!("\n* reads every task of the job by design: not compared with the time limit");
    }
    match slow {
        0 => Ok(()),
        slow => Err(BenchFailure::Failed(format!(
            "{slow} of {} reads took longer than {} ms in 1 of 20 answers",
            reports.len(),
            arguments.at_most_ms
        ))),
    }
}

const READ_HEADER: &str = "first ms  p50 ms  p95 ms  max ms      bytes";

fn is_slow(report: &ReadReport, most: f64) -> bool {
    report.p95_ms > most && !report.is_exhaustive
}

fn read_row(report: &ReadReport, most: f64) -> String {
    format!(
        "{:>8.1} {:>7.1} {:>7.1} {:>7.1} {:>10}  {}{}",
        report.first_ms,
        report.p50_ms,
        report.p95_ms,
        report.max_ms,
        report.bytes,
        report.read,
        match report {
            report if report.is_exhaustive => " *",
            report if is_slow(report, most) => "  <- too slow",
            _ => "",
        }
    )
}
