//! `GET /api/metrics`: Prometheus metrics. Finished and pending work of the whole app, the counters
//! of this process, and the health of its dependencies.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};

use super::{
    AppState, app_metrics,
    openapi::{Operation, Schemas},
    prometheus_text::{Kind, PrometheusText},
    request_metrics::RequestMetrics,
};
use crate::queries::{DatabaseMetrics, Health};
use crate::workflow::{
    ARCHIVE_FAILURES, ArchiveCounts, DeadLetterReport, NotificationSends, ProcessMetrics,
    QueueTimes, Times,
};

/// Timeout for each source. Metrics of a source that does not respond in time are left out, and the
/// source is reported as down: one unavailable queue must not cost the other metrics. With the time
/// to write the response this makes two seconds, well below Prometheus' default timeout of ten.
const TIMEOUT: Duration = Duration::from_millis(1800);

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn handle(
    State(app): State<AppState>,
    Extension(request_metrics): Extension<Arc<RequestMetrics>>,
) -> Response {
    let began = Instant::now();
    let (health, dead_letters, database) = futures_util::join!(
        app.queries.health_within(TIMEOUT),
        app.controller.poison_counts(TIMEOUT),
        app.queries.database_metrics(),
    );
    let mut text = PrometheusText::default();
    text.metric(
        "lastlight_build_info",
        Kind::Gauge,
        "Always 1; the label is the version of the handler.",
    )
    .value(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    components(&mut text, &health);
    parts(&mut text, &database, &dead_letters);
    depths(&mut text, &health);
    queues(&mut text, &dead_letters);
    app_metrics::readings(&mut text, &health.readings);
    app_metrics::database(&mut text, &database);
    let metrics = app.controller.process_metrics();
    // Not "instance", which Prometheus sets itself for each target: behind the host's address there
    // are many processes.
    text.share("process", &metrics.process);
    process(&mut text, &metrics);
    let mut answers = text.metric(
        "lastlight_answers_total",
        Kind::Counter,
        "Responses of this process, by route and status class, including those to the host's invocations.",
    );
    for (route, class, count) in request_metrics.counts() {
        answers.value(&[("route", &route), ("status", class)], count);
    }
    text.metric(
        "lastlight_scrape_seconds",
        Kind::Gauge,
        "Time to collect this response, in seconds.",
    )
    .value(&[], began.elapsed().as_secs_f64());
    ([(CONTENT_TYPE, FORMAT)], text.into_text()).into_response()
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    Operation::new().answers_text(&["text/plain"])
}

fn components(text: &mut PrometheusText, health: &Health) {
    let mut up = text.metric(
        "lastlight_up",
        Kind::Gauge,
        "1 if the component is healthy, 0 if not or if it timed out; component=\"all\" is 0 if any is.",
    );
    up.value(&[("component", "all")], u8::from(health.errors.is_empty()));
    for (name, component) in &health.components {
        // A component of unknown status, since the database does not respond, is not up either.
        up.value(&[("component", name)], u8::from(component.status == "healthy"));
    }
}

/// Whether the metrics that are not components of the app's health could be read.
fn parts(text: &mut PrometheusText, database: &DatabaseMetrics, dead_letters: &[DeadLetterReport]) {
    let mut up = text.metric(
        "lastlight_figures_up",
        Kind::Gauge,
        "1 if this group of metrics is in the response, 0 if it could not be read in time and is left out.",
    );
    for (part, is_there) in [
        ("totals", database.totals.is_some()),
        ("open_work", database.open_work.is_some()),
        ("set_aside", dead_letters.iter().all(|report| report.count.is_ok())),
    ] {
        up.value(&[("part", part)], u8::from(is_there));
    }
}

fn depths(text: &mut PrometheusText, health: &Health) {
    let mut messages = text.metric(
        "lastlight_queue_messages",
        Kind::Gauge,
        "Messages in a queue that are not settled, including delayed and locked messages; approximate.",
    );
    for (name, component) in &health.components {
        if let (Some((path, queue)), Some(count)) = (name.split_once(':'), component.messages) {
            messages.value(&[("path", path), ("queue", queue)], count);
        }
    }
}

fn queues(text: &mut PrometheusText, reports: &[DeadLetterReport]) {
    let mut messages = text.metric(
        "lastlight_set_aside_messages",
        Kind::Gauge,
        "Messages in poison queues, dead-letter queues and review queues; a queue that does not respond is left out.",
    );
    for report in reports {
        if let Ok(count) = report.count {
            messages.value(&[("path", report.path.as_str()), ("queue", &report.queue)], count);
        }
    }
}

fn worker_times(text: &mut PrometheusText, queues: &BTreeMap<String, QueueTimes>) {
    type Of = fn(&QueueTimes) -> &Times;
    let metrics: [(_, _, Of); 2] = [
        (
            "lastlight_worker_task_wait_seconds",
            "Time from a task for workers being ready, again after each attempt, to its claim by this process, in seconds.",
            |queue| &queue.wait,
        ),
        (
            "lastlight_worker_task_run_seconds",
            "Time from the claim of a task to its worker's outcome, which this process recorded, in seconds.",
            |queue| &queue.run,
        ),
    ];
    for (name, help, of) in metrics {
        let mut samples = text.metric(name, Kind::Histogram, help);
        for (queue, times) in queues {
            let times = of(times);
            let labels = [("queue", queue.as_str())];
            samples.histogram(&labels, &times.at_most(), times.count(), times.sum().as_secs_f64());
        }
    }
}

fn process(text: &mut PrometheusText, metrics: &ProcessMetrics) {
    let mut sent = text.metric(
        "lastlight_messages_sent_total",
        Kind::Counter,
        "Messages of this process that a queue accepted.",
    );
    for sends in &metrics.sends {
        sent.value(&[("path", sends.path.as_str())], sends.messages);
    }
    let mut failed = text.metric(
        "lastlight_send_failures_total",
        Kind::Counter,
        "Failed sends of this process; their messages stay unsent until the sweep sends them.",
    );
    for sends in &metrics.sends {
        for (reason, count) in [
            ("throttled", sends.throttled),
            ("unavailable", sends.unavailable),
            ("refused", sends.refused),
        ] {
            failed.value(&[("path", sends.path.as_str()), ("reason", reason)], count);
        }
    }
    let mut groups = text.metric(
        "lastlight_group_commit_requests",
        Kind::Histogram,
        "Number of requests per group commit of this process: they share one statement and one commit.",
    );
    for (kind, sizes) in [("claims", &metrics.claims), ("completions", &metrics.completions)] {
        let count = sizes.at_most.last().map_or(0, |(_, count)| *count);
        groups.histogram(&[("kind", kind)], &sizes.at_most, count, sizes.requests);
    }
    worker_times(text, &metrics.worker_times);
    text.metric(
        "lastlight_tasks_running",
        Kind::Gauge,
        "Running tasks of this process: claimed and without an outcome.",
    )
    .value(&[], metrics.tasks_running);
    text.metric(
        "lastlight_tasks_running_limit",
        Kind::Gauge,
        "Maximum number of tasks that this process runs at once.",
    )
    .value(&[], metrics.tasks_at_most);
    text.metric(
        "lastlight_tasks_deferred_total",
        Kind::Counter,
        "Tasks that this process deferred because it was at its limit when their messages came.",
    )
    .value(&[], metrics.tasks_deferred);
    let mut held = text.metric(
        "lastlight_memory_held_bytes",
        Kind::Gauge,
        "Memory in bytes that tasks of this process hold for their results, and for large parameters and results of predecessors.",
    );
    held.value(&[("for", "results")], metrics.memory.results);
    held.value(&[("for", "inputs")], metrics.memory.inputs);
    text.metric(
        "lastlight_memory_limit_bytes",
        Kind::Gauge,
        "Maximum memory in bytes that may be held for either.",
    )
    .value(&[], metrics.memory.limit_of_each);
    let mut pool = text.metric(
        "lastlight_database_connections",
        Kind::Gauge,
        "Database connections of this process.",
    );
    pool.value(&[("state", "in_use")], metrics.pool.in_use);
    pool.value(&[("state", "idle")], metrics.pool.open - metrics.pool.in_use);
    text.metric(
        "lastlight_database_connections_limit",
        Kind::Gauge,
        "Maximum number of database connections of this process.",
    )
    .value(&[], metrics.pool.limit);
    notifications(text, metrics);
    if let Some(archive) = &metrics.archive {
        archived(text, archive);
    }
    sweeps(text, metrics);
}

fn archived(text: &mut PrometheusText, archive: &ArchiveCounts) {
    for (name, help, value) in [
        ("lastlight_archived_jobs_total", "Runs of jobs that this process archived.", archive.jobs),
        ("lastlight_archived_tasks_total", "Tasks of these runs.", archive.tasks),
        (
            "lastlight_archived_bytes_total",
            "Compressed size of their archives in bytes.",
            archive.bytes,
        ),
    ] {
        text.metric(name, Kind::Counter, help).value(&[], value);
    }
    let mut failures = text.metric(
        "lastlight_archive_failures_total",
        Kind::Counter,
        "Attempts of this process to archive a job that failed, by reason; the job stays until another one succeeds.",
    );
    for reason in ARCHIVE_FAILURES {
        failures.value(&[("reason", reason)], archive.failures.get(reason).copied().unwrap_or(0));
    }
}

fn notifications(text: &mut PrometheusText, metrics: &ProcessMetrics) {
    let mut attempts = text.metric(
        "lastlight_notification_attempts_total",
        Kind::Counter,
        "Attempts of this process to deliver a notification.",
    );
    let NotificationSends { delivered, failed, given_up } = metrics.notifications;
    for (outcome, count) in [("delivered", delivered), ("failed", failed)] {
        attempts.value(&[("outcome", outcome)], count);
    }
    text.metric(
        "lastlight_notifications_given_up_total",
        Kind::Counter,
        "Notifications that this process gave up.",
    )
    .value(&[], given_up);
}

fn sweeps(text: &mut PrometheusText, metrics: &ProcessMetrics) {
    let sweeps = &metrics.sweeps;
    text.metric(
        "lastlight_sweeps_total",
        Kind::Counter,
        "Sweeps of reconcile that ended in this process.",
    )
    .value(&[], sweeps.ended);
    let mut last = text.metric(
        "lastlight_last_sweep_timestamp_seconds",
        Kind::Gauge,
        "Unix time at which a sweep last ended in this process; absent if none has.",
    );
    if let Some(time) = sweeps.last {
        last.value(&[], time.unix_timestamp());
    }
    let mut found = text.metric(
        "lastlight_sweep_findings_total",
        Kind::Counter,
        "Problems that the sweeps of this process found and repaired, by kind.",
    );
    for (what, count) in &sweeps.found {
        found.value(&[("what", what)], count);
    }
}
