//! Writes the metrics of the whole app in Prometheus' text format. They are the same whichever
//! process responds, so no sample has a process label. Does not depend on where they come from.

use lastlight_api::workers::WorkerQueue;

use super::prometheus_text::{Kind, PrometheusText};
use crate::{
    model::{Metric, ProcessingPath},
    queries::{
        DatabaseMetrics, OctaveRow, OpenWork, PoolUse, QueueMetrics, RollupKey, RollupTotals,
        SERVICE_BUS_OPERATIONS, TaskSums,
    },
};

/// Bucket bounds of the histograms, as exponents of two, in milliseconds, up to three days: samples
/// are stored by powers of two. The middle range has every power, the ends only some.
const OCTAVES: [i16; 18] = [3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28];

/// Totals since the first measurement, and open work.
pub(super) fn database(text: &mut PrometheusText, metrics: &DatabaseMetrics) {
    if let Some(totals) = &metrics.totals {
        jobs(text, totals);
        tasks(text, &totals.tasks);
        histograms(text, totals);
    }
    if let Some(work) = &metrics.open_work {
        open(text, work);
    }
}

fn jobs(text: &mut PrometheusText, totals: &RollupTotals) {
    let mut ended = text.metric(
        "lastlight_jobs_ended_total",
        Kind::Counter,
        "Jobs that ended; a retried job is counted again when it ends again.",
    );
    for (key, sums) in &totals.jobs {
        for (outcome, count) in
            [("completed", sums.completed), ("failed", sums.failed), ("cancelled", sums.cancelled)]
        {
            let labels =
                [("path", key.path.as_str()), ("job_type", &key.job_type), ("outcome", outcome)];
            ended.value(&labels, count);
        }
    }
    let mut late = text.metric(
        "lastlight_jobs_timed_out_total",
        Kind::Counter,
        "Jobs that failed at or after their deadline; included in the failed jobs.",
    );
    for (key, sums) in &totals.jobs {
        late.value(&[("path", key.path.as_str()), ("job_type", &key.job_type)], sums.timed_out);
    }
}

fn tasks(text: &mut PrometheusText, totals: &[(RollupKey, TaskSums)]) {
    let mut ended = text.metric(
        "lastlight_tasks_ended_total",
        Kind::Counter,
        "Tasks with an outcome, in finished stages.",
    );
    for (key, sums) in totals {
        let stage = key.stage.to_string();
        for (outcome, count) in
            [("completed", sums.completed), ("failed", sums.failed), ("skipped", sums.skipped)]
        {
            let labels = [
                ("path", key.path.as_str()),
                ("job_type", &key.job_type),
                ("stage", &stage),
                ("outcome", outcome),
            ];
            ended.value(&labels, count);
        }
    }
    by_stage(
        text,
        totals,
        "lastlight_task_attempts_total",
        "Attempts started, in finished stages.",
        |sums| sums.attempts as f64,
    );
    by_stage(
        text,
        totals,
        "lastlight_task_retries_total",
        "Attempts that failed or died and were to be retried, in finished stages.",
        |sums| sums.retries as f64,
    );
    by_stage(
        text,
        totals,
        "lastlight_stage_messages_total",
        "Messages sent for tasks, including resends and one job message per stage, in finished stages.",
        |sums| sums.messages as f64,
    );
    by_stage(
        text,
        totals,
        "lastlight_stage_busy_seconds_total",
        "Sum over finished stages of the time from the first batch to the last outcome, in seconds.",
        |sums| sums.busy_seconds,
    );
    let mut credits = text.metric(
        "lastlight_service_bus_credits_total",
        Kind::Counter,
        "Service Bus credits for these messages: one to send and one to receive each message.",
    );
    for (key, sums) in totals {
        if key.path == ProcessingPath::ServiceBus {
            let stage = key.stage.to_string();
            credits.value(
                &[("job_type", &key.job_type), ("stage", &stage)],
                sums.messages as f64 * SERVICE_BUS_OPERATIONS,
            );
        }
    }
}

fn by_stage(
    text: &mut PrometheusText,
    totals: &[(RollupKey, TaskSums)],
    name: &'static str,
    help: &'static str,
    of: impl Fn(&TaskSums) -> f64,
) {
    let mut samples = text.metric(name, Kind::Counter, help);
    for (key, sums) in totals {
        let stage = key.stage.to_string();
        samples.value(&of_key(key, &stage), of(sums));
    }
}

fn of_key<'a>(key: &'a RollupKey, stage: &'a str) -> [(&'static str, &'a str); 3] {
    [("path", key.path.as_str()), ("job_type", &key.job_type), ("stage", stage)]
}

fn histograms(text: &mut PrometheusText, totals: &RollupTotals) {
    for (metric, name, help) in [
        (
            Metric::QueueWait,
            "lastlight_task_queue_wait_seconds",
            "Time from the sending of a task's message to its first claim, in seconds.",
        ),
        (
            Metric::Run,
            "lastlight_task_run_seconds",
            "Time from a task's first claim to its outcome, including retries and the pauses between them, in seconds.",
        ),
        (
            Metric::Job,
            "lastlight_job_seconds",
            "Time from a job's submission to its first end, in seconds.",
        ),
    ] {
        let mut samples = text.metric(name, Kind::Histogram, help);
        for (key, _, octaves) in totals.latencies.iter().filter(|(_, of, _)| *of == metric) {
            let stage = key.stage.to_string();
            let labels = of_key(key, &stage);
            // A job has no stage.
            let labels = if metric == Metric::Job { &labels[..2] } else { &labels };
            let (at_most, count, seconds) = cumulated(octaves);
            samples.histogram(labels, &at_most, count, seconds);
        }
    }
}

/// For each bound in seconds, the number of samples up to it; the number of all samples; and their
/// sum in seconds.
fn cumulated(octaves: &[OctaveRow]) -> (Vec<(f64, u64)>, u64, f64) {
    let up_to = |octave: i16| {
        octaves
            .iter()
            .take_while(|row| row.octave <= octave)
            .map(|row| row.samples.unsigned_abs())
            .sum()
    };
    let bounds = OCTAVES.map(|octave| (f64::exp2(octave.into()) / 1000.0, up_to(octave)));
    let ms: f64 = octaves.iter().map(|row| row.total_ms).sum();
    (bounds.to_vec(), up_to(i16::MAX), ms / 1000.0)
}

fn open(text: &mut PrometheusText, work: &[OpenWork]) {
    let mut jobs = text.metric(
        "lastlight_open_jobs",
        Kind::Gauge,
        "Unfinished jobs, by their current stage; at most the 10,000 oldest that are queued or paused, and \
         the 10,000 oldest that are processing.",
    );
    for group in work {
        let stage = group.stage.to_string();
        jobs.value(&of_jobs(group, &stage), group.jobs);
    }
    let mut still = text.metric(
        "lastlight_open_job_still_seconds",
        Kind::Gauge,
        "Longest time in seconds in which one of these jobs made no progress: no outcome, and no batch planned.",
    );
    for group in work {
        let stage = group.stage.to_string();
        still.value(&of_jobs(group, &stage), group.longest_paused.as_secs_f64());
    }
    let mut tasks = text.metric(
        "lastlight_open_stage_tasks",
        Kind::Gauge,
        "Planned tasks of the current stages of these jobs; open: without an outcome.",
    );
    // Tasks of paused and of other jobs are added up: they belong to the same stage.
    let mut sums = std::collections::BTreeMap::<_, [i64; 4]>::new();
    for group in work {
        let key = (group.path.as_str(), &group.job_type, group.stage.to_string());
        let counts = [group.open_tasks, group.completed, group.failed, group.skipped];
        for (sum, count) in sums.entry(key).or_default().iter_mut().zip(counts) {
            *sum += count;
        }
    }
    for ((path, job_type, stage), counts) in &sums {
        for (status, count) in ["open", "completed", "failed", "skipped"].into_iter().zip(counts) {
            let labels = [
                ("path", *path),
                ("job_type", job_type.as_str()),
                ("stage", stage),
                ("status", status),
            ];
            tasks.value(&labels, count);
        }
    }
}

fn of_jobs<'a>(group: &'a OpenWork, stage: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("path", group.path.as_str()),
        ("job_type", &group.job_type),
        ("stage", stage),
        ("status", &group.status),
    ]
}

fn workers(text: &mut PrometheusText, queues: &[WorkerQueue]) {
    let handlers = || {
        queues.iter().flat_map(|queue| {
            queue.handlers.iter().map(move |handler| (queue.queue.as_str(), handler))
        })
    };
    let mut tasks = text.metric(
        "lastlight_worker_tasks",
        Kind::Gauge,
        "Tasks for workers; waiting: a worker may claim them, exact up to 10,000; open: without an outcome.",
    );
    for (queue, handler) in handlers() {
        for (state, count) in [("waiting", handler.depth), ("open", handler.open)] {
            let labels = [("queue", queue), ("handler", &*handler.name), ("state", state)];
            tasks.value(&labels, count);
        }
    }
    let mut waits = text.metric(
        "lastlight_worker_oldest_wait_seconds",
        Kind::Gauge,
        "Time in seconds that the oldest waiting task of a handler has waited; 0 if none waits.",
    );
    for (queue, handler) in handlers() {
        let labels = [("queue", queue), ("handler", &*handler.name)];
        waits.value(&labels, handler.oldest_wait_seconds.unwrap_or_default());
    }
    let mut alive = text.metric(
        "lastlight_workers",
        Kind::Gauge,
        "Workers of a handler that were seen in the last 90 seconds.",
    );
    for (queue, handler) in handlers() {
        alive.value(&[("queue", queue), ("handler", &*handler.name)], handler.workers);
    }
}

/// Unsent messages, the last sweep, the queues of workers, and the live processes.
pub(super) fn readings(text: &mut PrometheusText, readings: &QueueMetrics) {
    if let Some(backlog) = &readings.backlog {
        let mut unsent = text.metric(
            "lastlight_owed",
            Kind::Gauge,
            "Unsent task batches of processing jobs, and unsent job messages; counted up to 10,000 of each.",
        );
        unsent.value(&[("what", "task_batches")], backlog.batches);
        unsent.value(&[("what", "job_messages")], backlog.job_messages);
        text.metric(
            "lastlight_owed_oldest_seconds",
            Kind::Gauge,
            "Seconds since the oldest of them was written or last sent without success; 0 if there is none.",
        )
        .value(&[], backlog.oldest.unwrap_or_default().as_secs_f64());
    }
    if let Some(Some(sweep)) = &readings.sweep {
        text.metric(
            "lastlight_newest_sweep_timestamp_seconds",
            Kind::Gauge,
            "Unix time at which a sweep last ended in any process; absent if none ever has.",
        )
        .value(&[], sweep.finished_at.unix_timestamp());
        text.metric(
            "lastlight_newest_sweep_duration_seconds",
            Kind::Gauge,
            "Duration of that sweep, in seconds.",
        )
        .value(&[], sweep.took.as_secs_f64());
        let mut found = text.metric(
            "lastlight_newest_sweep_findings",
            Kind::Gauge,
            "Problems that that sweep found and repaired, by kind.",
        );
        for (what, count) in sweep.found.as_object().into_iter().flatten() {
            if let Some(count) = count.as_u64() {
                found.value(&[("what", what)], count);
            }
        }
    }
    if let Some(counts) = &readings.notifications {
        let mut undelivered = text.metric(
            "lastlight_undelivered_notifications",
            Kind::Gauge,
            "Notifications that wait to be delivered (pending) or were given up in the last 30 days; counted up to 10,000 of each.",
        );
        undelivered.value(&[("state", "pending")], counts.pending);
        undelivered.value(&[("state", "given_up")], counts.given_up);
    }
    if let Some(backlog) = &readings.archive {
        text.metric(
            "lastlight_unarchived_jobs",
            Kind::Gauge,
            "Jobs that are to be deleted, or to run again, once they are archived; counted up to 10,000.",
        )
        .value(&[], backlog.jobs);
        text.metric(
            "lastlight_unarchived_oldest_seconds",
            Kind::Gauge,
            "Time for which the first of them has waited, in seconds; 0 without any.",
        )
        .value(&[], backlog.oldest.unwrap_or_default().as_secs_f64());
    }
    if let Some(queues) = &readings.worker_queues {
        workers(text, queues);
    }
    if let Some(alive) = &readings.instances {
        text.metric(
            "lastlight_instances",
            Kind::Gauge,
            "Processes that reported in the last 75 seconds.",
        )
        .value(&[], alive.len());
        text.metric(
            "lastlight_instances_tasks_running",
            Kind::Gauge,
            "Tasks running in these processes at their last report, in total.",
        )
        .value(&[], alive.iter().map(|instance| instance.running).sum::<i64>());
        let mut pool = text.metric(
            "lastlight_instances_database_connections",
            Kind::Gauge,
            "Database connections of these processes at their last report, in total.",
        );
        let sum = |of: fn(&PoolUse) -> u32| {
            alive.iter().map(|instance| u64::from(of(&instance.pool))).sum::<u64>()
        };
        pool.value(&[("state", "in_use")], sum(|pool| pool.in_use));
        pool.value(&[("state", "idle")], sum(|pool| pool.open.saturating_sub(pool.in_use)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(octave: i16, samples: i64, total_ms: f64) -> OctaveRow {
        OctaveRow { octave, samples, total_ms }
    }

    #[test]
    fn buckets_are_cumulative_and_the_count_has_all() {
        let (at_most, count, seconds) = cumulated(&[
            row(1, 5, 5.0),
            row(3, 1, 7.0),
            row(17, 2, 200_000.0),
            row(29, 1, 500_000_000.0),
        ]);
        let of = |bound: f64| at_most.iter().find(|(of, _)| *of == bound).unwrap().1;
        assert_eq!(of(0.008), 6);
        assert_eq!(of(65.536), 6);
        assert_eq!(of(262.144), 8);
        assert_eq!(of(268_435.456), 8);
        assert_eq!(count, 9);
        assert!((seconds - 500_200.012).abs() < 1e-6);
        assert!(at_most.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1));
    }
}
