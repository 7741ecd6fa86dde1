//! Runs hello_world on the local cloud over both paths, and compares them.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    CloudError, CloudOptions, LocalCloud,
    api::{Api, ApiError, text},
};
use lastlight::model::{ProcessingPath, timestamp};

#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The local cloud to run it on; its data folder should be empty.
    pub cloud: CloudOptions,
    /// Number of greetings, and of replies.
    pub n: u64,
    /// Whether to show progress, on standard error.
    pub shows_progress: bool,
    /// Time after which a job that is not completed counts as failed.
    pub timeout: Duration,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The local cloud did not start.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The API gave an unexpected answer, or none.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The job did not complete.
    #[error("hello_world over {path} is {status}: {detail}")]
    Job { path: ProcessingPath, status: String, detail: String },
}

/// The result of a demo.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    /// Number of greetings, and of replies.
    pub n: u64,
    /// `embedded` or `server`.
    pub database: &'static str,
    pub paths: Vec<PathReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PathReport {
    pub path: ProcessingPath,
    pub job_id: String,
    pub status: String,
    /// Completed tasks of both stages.
    pub tasks: u64,
    /// Messages sent, including job messages.
    pub messages: u64,
    /// Time from submission to completion.
    pub seconds: f64,
    /// `tasks / seconds`.
    pub tasks_per_second: f64,
    /// Median time of a task from planned to finished, in milliseconds, per stage in order.
    pub p50_ms: Vec<f64>,
    pub p95_ms: Vec<f64>,
}

/// Runs `hello_world` over both paths, one after the other.
///
/// # Errors
/// The local cloud did not start, or a job did not complete.
pub async fn demo(options: DemoOptions) -> Result<DemoReport, DemoError> {
    let database = if options.cloud.database_url.is_some() { "server" } else { "embedded" };
    let cloud = LocalCloud::start(options.cloud.clone()).await?;
    let mut paths = Vec::new();
    let mut failure = None;
    for path in ProcessingPath::ALL {
        match run(&cloud, path, &options).await {
            Ok(report) => paths.push(report),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    cloud.stop().await?;
    match failure {
        None => Ok(DemoReport { n: options.n, database, paths }),
        Some(error) => Err(error),
    }
}

async fn run(
    cloud: &LocalCloud,
    path: ProcessingPath,
    options: &DemoOptions,
) -> Result<PathReport, DemoError> {
    let api = Api::new(cloud.base_url())?;
    let before = messages_sent(cloud, path);
    let body = json!({ "n": options.n, "use_service_bus": path == ProcessingPath::ServiceBus });
    let job_id = api.submit("hello_world", &body).await?;
    let progress = Progress::new(path, options);
    let began = Instant::now();
    loop {
        let status = api.status(&job_id).await?;
        progress.show(&status);
        match text(&status, "/status").as_str() {
            "completed" => {
                progress.finish();
                let messages = messages_sent(cloud, path) - before;
                return Ok(report(path, job_id, &status, messages));
            }
            ended @ ("failed" | "cancelled") => {
                let detail = text(&status, "/errorDetails");
                return Err(DemoError::Job { path, status: ended.to_owned(), detail });
            }
            running if began.elapsed() > options.timeout => {
                let detail = format!("not completed after {} s", options.timeout.as_secs());
                return Err(DemoError::Job { path, status: running.to_owned(), detail });
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn messages_sent(cloud: &LocalCloud, path: ProcessingPath) -> u64 {
    match path {
        ProcessingPath::QueueStorage => cloud.storage.messages_put(),
        ProcessingPath::ServiceBus => cloud.service_bus.messages_sent(),
    }
}

fn report(path: ProcessingPath, job_id: String, status: &Value, messages: u64) -> PathReport {
    let moment = |pointer: &str| timestamp::read(&text(status, pointer));
    let seconds = match (moment("/createdAt"), moment("/updatedAt")) {
        (Some(began), Some(ended)) => (ended - began).as_seconds_f64(),
        _ => 0.0,
    };
    let tasks =
        status.pointer("/resultData/completed_tasks").and_then(Value::as_u64).unwrap_or_default();
    let latencies = |name: &str| {
        let stages = status.pointer("/stageResults").and_then(Value::as_object);
        stages
            .into_iter()
            .flat_map(|stages| stages.values())
            .filter_map(|stage| stage.pointer(&format!("/latency_ms/{name}"))?.as_f64())
            .collect()
    };
    PathReport {
        path,
        job_id,
        status: text(status, "/status"),
        tasks,
        messages,
        seconds,
        tasks_per_second: if seconds > 0.0 { (tasks as f64 / seconds).round() } else { 0.0 },
        p50_ms: latencies("p50"),
        p95_ms: latencies("p95"),
    }
}

/// Progress output: one bar per stage on a terminal, elsewhere a line every few seconds.
struct Progress {
    path: ProcessingPath,
    n: u64,
    bars: Vec<ProgressBar>,
    shows_lines: bool,
    last_line: std::cell::Cell<Instant>,
}

impl Progress {
    fn new(path: ProcessingPath, options: &DemoOptions) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if options.shows_progress && is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template(
            "{prefix:28} {bar:40} {pos:>9}/{len:9} {per_sec:>12} {msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bars = [1, 2].map(|stage| {
            let bar = all.add(ProgressBar::new(options.n).with_style(style.clone()));
            bar.set_prefix(format!("{path} stage {stage}"));
            bar
        });
        Self {
            path,
            n: options.n,
            bars: bars.into(),
            shows_lines: options.shows_progress && !is_terminal,
            last_line: std::cell::Cell::new(Instant::now()),
        }
    }

    fn show(&self, status: &Value) {
        let stages = status.pointer("/progress").and_then(Value::as_array);
        let mut done = 0;
        for (stage, bar) in stages.into_iter().flatten().zip(&self.bars) {
            let ended = |name: &str| stage.get(name).and_then(Value::as_u64).unwrap_or_default();
            let count = ended("completed") + ended("failed");
            done += count;
            bar.set_position(count);
        }
        if self.shows_lines && self.last_line.get().elapsed() > Duration::from_secs(2) {
            self.last_line.set(Instant::now());
            let _ =
                writeln!(std::io::stderr(), "{}: {done} of {} tasks done", self.path, 2 * self.n);
        }
    }

    fn finish(&self) {
        for bar in &self.bars {
            bar.set_position(self.n);
            bar.abandon();
        }
        if self.shows_lines {
            let _ = writeln!(std::io::stderr(), "{}: completed", self.path);
        }
    }
}
