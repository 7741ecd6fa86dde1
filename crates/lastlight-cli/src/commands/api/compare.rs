//! `lastlight compare`: runs the same work over both paths, one after the other, and compares what
//! the app recorded.
//!
//! The metrics are jobs, latency, timeouts and tasks per second. They are computed here from the
//! two jobs alone, with the definitions of `GET /api/metrics/comparison`, whose own answer (all
//! jobs of the last hour) is printed as well.

use std::time::{Duration, Instant};

use crate::client::{Answer, ClientError};
use clap::{Args, builder::RangedU64ValueParser};
use lastlight_api::{
    JobStatus, ProcessingPath,
    audit::JobAudit,
    comparison::{Comparison, Improvements, PathMetrics},
    jobs::JobDetails,
};
use lastlight_engine::model::TasksPerMessage;
use serde_json::{Map, Value, json};

use super::{AppArguments, CommandError, Session, Verdict, submit::parameter, watch::to_its_end};
use crate::{
    format::{Align, Table, between, plain},
    output, say,
    style::Look,
    tell,
};

/// `lastlight compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// Job type.
    #[arg(long, value_name = "JOB_TYPE", default_value = HELLO_WORLD)]
    job: String,
    /// Parameter n of the job: the amount of work. Defaults to 1000 for hello_world.
    #[arg(long)]
    n: Option<u64>,
    /// Parameter tasks_per_message of the job: the number of tasks in one message.
    #[arg(long, value_parser = RangedU64ValueParser::<u64>::new().range(1..=u64::from(TasksPerMessage::LARGEST)))]
    tasks_per_message: Option<u64>,
    /// Another parameter; see `lastlight submit --help`.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

const HELLO_WORLD: &str = "hello_world";

/// The job of one path, as the app recorded it.
struct Run {
    path: ProcessingPath,
    job: Answer<JobDetails>,
    audit: JobAudit,
}

/// The jobs of both paths, with their metrics.
struct Compared {
    runs: Vec<Run>,
    metrics: [PathMetrics; 2],
    improvements: Improvements,
}

/// The period of the app's own comparison, in hours.
const RECORDED: u16 = 1;

/// How long to wait until it includes the jobs that have just finished.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn compare(arguments: &CompareArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let mut parameters: Map<String, Value> = arguments.parameters.iter().cloned().collect();
    for (name, value) in [("n", arguments.n), ("tasks_per_message", arguments.tasks_per_message)] {
        if let Some(value) = value {
            parameters.insert(name.to_owned(), json!(value));
        }
    }
    if arguments.job == HELLO_WORLD {
        parameters.entry("n").or_insert(json!(1000));
    }
    // A job's id is derived from its parameters: a unique version_id makes these jobs new. No job
    // type reads it.
    parameters.insert(
        "version_id".to_owned(),
        json!(format!("compare-{}", uuid::Uuid::new_v4().simple())),
    );
    let mut runs = Vec::new();
    for path in ProcessingPath::WITH_MESSAGES {
        runs.push(run(&session, &arguments.job, path, &parameters).await?);
    }
    let compared = Compared::of(runs);
    let recorded = recorded(&session, &arguments.job).await?;
    if session.is_json {
        let mut document = compared.document();
        document["job_type"] = json!(arguments.job);
        document["parameters"] = json!(parameters);
        document["recorded"] = recorded.map_or(Value::Null, |answer| answer.document);
        say!("{document}");
    } else {
        say!("\n{}: the same work over both paths\n", arguments.job);
        output::text(&compared.table().text(session.paint));
        if let Some(Answer { body, .. }) = recorded {
            say!(
                "\nAll jobs of this type in the last {RECORDED} h (GET /api/metrics/comparison)\n"
            );
            let all = [body.queue_storage, body.service_bus];
            output::text(&table(&all, &body.comparison).text(session.paint));
            if let Some(note) = body.comparison.note {
                say!("{note}");
            }
            let missing = body.query_info;
            if missing.stages_not_counted_yet + missing.jobs_not_counted_yet > 0 {
                say!(
                    "{} finished stages and {} finished jobs are not included yet; reconcile adds them",
                    missing.stages_not_counted_yet,
                    missing.jobs_not_counted_yet
                );
            }
        }
    }
    Ok(Verdict::Good)
}

/// The app's comparison of all jobs of the type, including these two; `None` if the app is too old
/// to have this endpoint: the metrics of the two jobs suffice.
async fn recorded(
    session: &Session,
    job_type: &str,
) -> Result<Option<Answer<Comparison>>, CommandError> {
    let began = Instant::now();
    loop {
        let answer = match session.client.comparison(RECORDED, Some(job_type)).await {
            Ok(answer) => answer,
            Err(
                ClientError::NotTheApp { status: 404, .. }
                | ClientError::Refused { status: 404, .. },
            ) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let missing = &answer.body.query_info;
        let is_whole = missing.stages_not_counted_yet + missing.jobs_not_counted_yet == 0;
        // If jobs finish continuously, some are always missing.
        if is_whole || began.elapsed() >= COUNTED_WITHIN {
            return Ok(Some(answer));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn run(
    session: &Session,
    job_type: &str,
    path: ProcessingPath,
    parameters: &Map<String, Value>,
) -> Result<Run, CommandError> {
    let mut parameters = parameters.clone();
    parameters.insert("use_service_bus".to_owned(), json!(path == ProcessingPath::ServiceBus));
    let job_id = session.client.submit(job_type, &parameters).await?.body.job_id.to_string();
    if !session.is_json {
        tell!("{path}: {job_id}");
    }
    let followed = tokio::select! {
        followed = to_its_end(session, &job_id, |_| ()) => followed?,
        _ = tokio::signal::ctrl_c() => {
            return Err(CommandError::NoSuchJob(format!(
                "stopped before both jobs finished; {job_id} keeps running: lastlight cancel ends it"
            )));
        }
    };
    if followed.body.status != JobStatus::Completed {
        return Err(CommandError::NoSuchJob(format!(
            "the job over {path} is {}: {}; details: lastlight status {job_id}",
            followed.body.status,
            followed.body.error_details.unwrap_or_default()
        )));
    }
    Ok(Run {
        path,
        job: session.client.job(&job_id).await?,
        audit: session.client.audit(&job_id).await?.body,
    })
}

/// The metrics of one job.
fn metrics(details: &JobDetails, audit: &JobAudit) -> PathMetrics {
    let job = &details.job.job;
    let latency = job.finished_at.and_then(|end| between(job.created_at.0, end.0));
    let timed_out = job.status == JobStatus::Failed
        && matches!((job.finished_at, job.deadline), (Some(end), Some(deadline)) if end >= deadline);
    let busy: f64 = audit.stages.iter().filter_map(|stage| stage.busy_seconds).sum();
    let tasks = job.done() as f64;
    PathMetrics {
        jobs_processed: 1,
        avg_latency_ms: latency.map(|latency| latency.as_secs_f64() * 1000.0),
        timeout_rate: Some(if timed_out { 1.0 } else { 0.0 }),
        tasks_per_second: (busy > 0.0).then(|| tasks / busy),
        ..PathMetrics::default()
    }
}

/// The improvement of Service Bus over Storage Queues, in percent.
fn improvements(queue_storage: &PathMetrics, service_bus: &PathMetrics) -> Improvements {
    let less = |of: Option<f64>, to: Option<f64>| {
        Some(of?).zip(to).filter(|(of, _)| *of > 0.0).map(|(of, to)| 100.0 * (of - to) / of)
    };
    let more = |of: Option<f64>, to: Option<f64>| less(of, to).map(|less| -less);
    Improvements {
        latency_improvement: less(queue_storage.avg_latency_ms, service_bus.avg_latency_ms),
        throughput_improvement: more(queue_storage.tasks_per_second, service_bus.tasks_per_second),
        timeout_reduction: less(queue_storage.timeout_rate, service_bus.timeout_rate),
        note: None,
    }
}

impl Compared {
    fn of(runs: Vec<Run>) -> Self {
        let [queue_storage, service_bus] = ProcessingPath::WITH_MESSAGES.map(|path| {
            let of_path = runs.iter().find(|run| run.path == path);
            of_path.map(|run| metrics(&run.job.body, &run.audit)).unwrap_or_default()
        });
        Self {
            improvements: improvements(&queue_storage, &service_bus),
            metrics: [queue_storage, service_bus],
            runs,
        }
    }

    fn document(&self) -> Value {
        let runs: Vec<Value> = self
            .runs
            .iter()
            .map(|run| {
                json!({
                    "processing_path": run.path,
                    "tasks": run.tasks(),
                    "messages": run.messages(),
                    "job": run.job.document.get("job"),
                    "stages": run.job.document.get("stages"),
                })
            })
            .collect();
        json!({
            "queue_storage": document_of(&self.metrics[0]),
            "service_bus": document_of(&self.metrics[1]),
            "comparison": {
                "latency_improvement": self.improvements.latency_improvement,
                "throughput_improvement": self.improvements.throughput_improvement,
                "timeout_reduction": self.improvements.timeout_reduction,
            },
            "runs": runs,
        })
    }

    fn table(&self) -> Table {
        let mut table = table(&self.metrics, &self.improvements);
        let mut row = |name: &str, value: &dyn Fn(&Run) -> String| {
            let [queue_storage, service_bus] = ProcessingPath::WITH_MESSAGES.map(|path| {
                let of_path = self.runs.iter().find(|run| run.path == path);
                plain(of_path.map(value).unwrap_or_default())
            });
            table.row([plain(name), queue_storage, service_bus, plain("")]);
        };
        row("tasks", &|run| run.tasks().to_string());
        row("messages", &|run| run.messages().to_string());
        row("messages per task", &|run| {
            format!("{:.3}", run.messages() as f64 / run.tasks().max(1) as f64)
        });
        table
    }
}

impl Run {
    /// Tasks that ran to completion or failure.
    fn tasks(&self) -> i64 {
        self.job.body.job.job.done()
    }

    /// Messages that were sent for the job: one job message per stage, which the audit does not
    /// count, and the task messages.
    fn messages(&self) -> i64 {
        self.audit.stages.iter().map(|stage| stage.messages_sent + 1).sum()
    }
}

/// The metrics that are computed for a single job.
fn document_of(metrics: &PathMetrics) -> Value {
    json!({
        "jobs_processed": metrics.jobs_processed,
        "avg_latency_ms": metrics.avg_latency_ms,
        "timeout_rate": metrics.timeout_rate,
        "tasks_per_second": metrics.tasks_per_second,
    })
}

fn table(metrics: &[PathMetrics; 2], improvements: &Improvements) -> Table {
    let mut table = Table::new([
        ("", Align::Left),
        ("QUEUE STORAGE", Align::Right),
        ("SERVICE BUS", Align::Right),
        ("BETTER BY", Align::Right),
    ]);
    let known = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    let better = |percent: Option<f64>| match percent {
        None => plain("-"),
        Some(percent) => {
            let look = if percent < 0.0 { Look::Warning } else { Look::Good };
            (format!("{percent:+.1} %"), look)
        }
    };
    let [queue_storage, service_bus] = metrics;
    table.row([
        plain("jobs processed"),
        plain(queue_storage.jobs_processed.to_string()),
        plain(service_bus.jobs_processed.to_string()),
        plain(""),
    ]);
    table.row([
        plain("average latency ms"),
        plain(known(queue_storage.avg_latency_ms, 1)),
        plain(known(service_bus.avg_latency_ms, 1)),
        better(improvements.latency_improvement),
    ]);
    table.row([
        plain("timeout rate"),
        plain(known(queue_storage.timeout_rate, 3)),
        plain(known(service_bus.timeout_rate, 3)),
        better(improvements.timeout_reduction),
    ]);
    table.row([
        plain("tasks per second"),
        plain(known(queue_storage.tasks_per_second, 1)),
        plain(known(service_bus.tasks_per_second, 1)),
        better(improvements.throughput_improvement),
    ]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics_of(latency: f64, rate: f64, timeouts: f64) -> PathMetrics {
        PathMetrics {
            jobs_processed: 1,
            avg_latency_ms: Some(latency),
            timeout_rate: Some(timeouts),
            tasks_per_second: Some(rate),
            ..PathMetrics::default()
        }
    }

    #[test]
    fn improvements_are_percent_of_queue_storage() {
        let better = improvements(&metrics_of(1000.0, 100.0, 0.5), &metrics_of(250.0, 400.0, 0.0));
        assert_eq!(
            [better.latency_improvement, better.throughput_improvement, better.timeout_reduction],
            [Some(75.0), Some(300.0), Some(100.0)]
        );
        let worse = improvements(&metrics_of(100.0, 400.0, 0.0), &metrics_of(150.0, 100.0, 0.0));
        assert_eq!(worse.latency_improvement, Some(-50.0));
        assert_eq!(worse.throughput_improvement, Some(-75.0));
        assert_eq!(worse.timeout_reduction, None, "a timeout rate of zero cannot be reduced");
        let unknown = improvements(&PathMetrics::default(), &metrics_of(1.0, 1.0, 0.0));
        assert_eq!(unknown.latency_improvement, None);
    }

    #[test]
    fn job_metrics_come_from_its_recorded_times() {
        let details: JobDetails = serde_json::from_value(json!({
            "job": {
                "job_id": "a".repeat(64), "parameters": {}, "job_type": "hello_world", "status": "completed", "stage": 2, "total_stages": 2,
                "processing_path": "service_bus", "total": 40, "completed": 40, "failed": 0, "skipped": 0, "open": 0,
                "pause_requested": false, "updated_at": "2026-11-25T10:00:04.500000+00:00", "stage_results": {},
                "created_at": "2026-11-25T10:00:00.000000+00:00", "finished_at": "2026-11-25T10:00:04.500000+00:00",
                "deadline": "2026-11-26T10:00:00.000000+00:00",
            },
        }))
        .unwrap();
        let stage = |number: u8, busy: f64| {
            json!({
                "stage": number, "planned": 20, "completed": 20, "failed": 0, "skipped": 0, "open": 0,
                "countersAgree": true, "attempts": 20, "duplicatesAbsorbed": 0, "staleCompletionsRefused": 0,
                "messagesSent": 20, "messagesResent": 0, "busySeconds": busy,
            })
        };
        let audit: JobAudit = serde_json::from_value(json!({
            "jobId": "a".repeat(64), "status": "completed", "consistent": true, "stages": [stage(1, 2.0), stage(2, 2.0)],
        }))
        .unwrap();
        assert_eq!(metrics(&details, &audit), metrics_of(4500.0, 10.0, 0.0));
    }
}
