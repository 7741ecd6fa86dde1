//! Runs a job on the local cloud over both paths, and compares them.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    CloudError, CloudOptions, LocalCloud,
    api::{Api, ApiError, text},
    sample::sample,
};
use lastlight_engine::{
    job::erased::{Catalog, Fields},
    model::{ProcessingPath, timestamp},
    workflow::check_submission,
};

#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The local cloud to run it on; its data folder should be empty.
    pub cloud: CloudOptions,
    pub job: DemoJob,
    /// Whether to show progress, on standard error.
    pub shows_progress: bool,
    /// Time after which a job that is not completed counts as failed.
    pub timeout: Duration,
}

/// A job that can be submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoJob {
    pub job_type: String,
    pub parameters: Map<String, Value>,
    /// The paths that its type allows.
    pub paths: Vec<ProcessingPath>,
    /// Number of stages.
    stages: usize,
}

impl DemoJob {
    /// A job of the type `name`, or of the first type of the catalog, with these parameters and, for
    /// those that are required and not given, values from the JSON Schema.
    ///
    /// # Errors
    /// There is no such job type, or a parameter is not valid.
    pub fn new(
        catalog: &Catalog,
        name: Option<&str>,
        given: Map<String, Value>,
    ) -> Result<Self, String> {
        let names = catalog.names();
        let first = names.first().ok_or("this app has no job types")?;
        let name = name.unwrap_or(first);
        let definition = catalog.get(name).ok_or_else(|| {
            format!("there is no job type {name:?}; this app has {}", names.join(", "))
        })?;
        let check = |fields: &mut Fields| {
            check_submission(definition.as_ref(), fields);
        };
        let mut parameters = sample(&Fields::schema_of(check));
        parameters.extend(given);
        let mut fields = Fields::new(parameters.clone());
        check(&mut fields);
        if let Some(unread) = fields.unread().first() {
            return Err(format!("{name}: {unread}"));
        }
        let checked = fields.finish().map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            format!("{name}: {}; --param NAME=VALUE sets a parameter", problems.join("; "))
        })?;
        let stages = definition.stages(&checked).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self {
            job_type: definition.name().to_owned(),
            parameters,
            paths: definition
                .prescribed_path()
                .map_or(ProcessingPath::WITH_MESSAGES.into(), |path| vec![path]),
            stages: stages.len(),
        })
    }

    /// The parameters of its submission over one path.
    fn over(&self, path: ProcessingPath) -> Value {
        let mut parameters = self.parameters.clone();
        let use_service_bus = Value::Bool(path == ProcessingPath::ServiceBus);
        parameters.insert("use_service_bus".to_owned(), use_service_bus);
        Value::Object(parameters)
    }
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
    #[error("{job_type} over {path} is {status}: {detail}")]
    Job { job_type: String, path: ProcessingPath, status: String, detail: String },
}

/// The result of a demo.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    pub job_type: String,
    pub parameters: Map<String, Value>,
    /// `embedded` or `server`.
    pub database: &'static str,
    pub paths: Vec<PathReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PathReport {
    pub path: ProcessingPath,
    pub job_id: String,
    pub status: String,
    /// Completed tasks of all stages.
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

/// Runs the job over its paths, one after the other.
///
/// # Errors
/// The local cloud did not start, or a job did not complete.
pub async fn demo(options: DemoOptions) -> Result<DemoReport, DemoError> {
    let database = if options.cloud.database_url.is_some() { "server" } else { "embedded" };
    let cloud = LocalCloud::start(options.cloud.clone()).await?;
    let mut paths = Vec::new();
    let mut failure = None;
    for path in options.job.paths.iter().copied() {
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
        None => {
            let DemoJob { job_type, parameters, .. } = options.job;
            Ok(DemoReport { job_type, parameters, database, paths })
        }
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
    let job_type = &options.job.job_type;
    let job_id = api.submit(job_type, &options.job.over(path)).await?;
    let mut progress = Progress::new(path, options);
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
                let job_type = job_type.clone();
                return Err(DemoError::Job { job_type, path, status: ended.to_owned(), detail });
            }
            running if began.elapsed() > options.timeout => {
                let detail = format!("not completed after {} s", options.timeout.as_secs());
                let job_type = job_type.clone();
                return Err(DemoError::Job { job_type, path, status: running.to_owned(), detail });
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn messages_sent(cloud: &LocalCloud, path: ProcessingPath) -> u64 {
    match path {
        ProcessingPath::QueueStorage | ProcessingPath::Worker => cloud.storage.messages_put(),
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
    bars: Vec<ProgressBar>,
    shows_lines: bool,
    last_line: Instant,
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
        let bar = |stage| {
            let bar = all.add(ProgressBar::new(0).with_style(style.clone()));
            bar.set_prefix(format!("{path} stage {stage}"));
            bar
        };
        Self {
            path,
            bars: (1..=options.job.stages).map(bar).collect(),
            shows_lines: options.shows_progress && !is_terminal,
            last_line: Instant::now(),
        }
    }

    fn show(&mut self, status: &Value) {
        let stages = status.pointer("/progress").and_then(Value::as_array);
        let (mut done, mut total) = (0, 0);
        for (stage, bar) in stages.into_iter().flatten().zip(&self.bars) {
            let tasks = |name: &str| stage.get(name).and_then(Value::as_u64).unwrap_or_default();
            let ended = tasks("completed") + tasks("failed");
            bar.set_length(tasks("total"));
            bar.set_position(ended);
            done += ended;
            total += tasks("total");
        }
        if self.shows_lines && self.last_line.elapsed() > Duration::from_secs(2) {
            self.last_line = Instant::now();
            let _ =
                writeln!(std::io::stderr(), "{}: {done} of {total} tasks done so far", self.path);
        }
    }

    fn finish(&self) {
        for bar in &self.bars {
            bar.abandon();
        }
        if self.shows_lines {
            let _ = writeln!(std::io::stderr(), "{}: completed", self.path);
        }
    }
}
