//! The figures of the whole app, as Prometheus' text: the same whichever process answers, so no
//! sample names one. It must not know where they come from.

use super::prometheus_text::{Kind, PrometheusText};
use crate::{
    model::{Metric, ProcessingPath},
    store::{OctaveRow, OpenWork, RollupKey, RollupTotals, TaskSums},
    workflow::{DatabaseMetrics, QueueMetrics, SERVICE_BUS_OPERATIONS},
};

/// The bounds of the histograms: powers of two ms, since the samples are kept by these, up to three
/// days. In the middle each; where a factor of two says little, every other.
const OCTAVES: [i16; 18] = [3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28];

/// What was ever measured, and what is open.
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
        "Jobs that ended; one that was retried ends once more.",
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
        "Jobs that failed at or after their deadline; these are among the failed.",
    );
    for (key, sums) in &totals.jobs {
        late.value(&[("path", key.path.as_str()), ("job_type", &key.job_type)], sums.timed_out);
    }
}

fn tasks(text: &mut PrometheusText, totals: &[(RollupKey, TaskSums)]) {
    let mut ended = text.metric(
        "lastlight_tasks_ended_total",
        Kind::Counter,
        "Tasks with an outcome, of stages that ended.",
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
        "Attempts that began, of stages that ended.",
        |sums| sums.attempts as f64,
    );
    by_stage(
        text,
        totals,
        "lastlight_task_retries_total",
        "Attempts that failed or died and were to be repeated, of stages that ended.",
        |sums| sums.retries as f64,
    );
    by_stage(
        text,
        totals,
        "lastlight_stage_messages_total",
        "Messages sent for tasks, resends and one job message a stage included, of stages that ended.",
        |sums| sums.messages as f64,
    );
    by_stage(
        text,
        totals,
        "lastlight_stage_busy_seconds_total",
        "Time from a stage's first batch to its last outcome, over all stages that ended.",
        |sums| sums.busy_seconds,
    );
    let mut credits = text.metric(
        "lastlight_service_bus_credits_total",
        Kind::Counter,
        "Service Bus credits for these messages: one to send and one to receive each.",
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
            "A task, from when its message was sent to its first claim.",
        ),
        (
            Metric::Run,
            "lastlight_task_run_seconds",
            "A task, from its first claim to its outcome, with its retries and their pauses.",
        ),
        (Metric::Job, "lastlight_job_seconds", "A job, from its submission to its first end."),
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

/// For each bound in seconds how many were at most as large; how many there are, and their sum in
/// seconds.
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
        "Jobs that are not over, by the stage that they are in; at most the 10,000 oldest that are queued or paused, and \
         the 10,000 oldest that are processing.",
    );
    for group in work {
        let stage = group.stage.to_string();
        jobs.value(&of_jobs(group, &stage), group.jobs);
    }
    let mut still = text.metric(
        "lastlight_open_job_still_seconds",
        Kind::Gauge,
        "How long nothing happened to that one of these jobs which has not moved for longest: no outcome, no batch planned.",
    );
    for group in work {
        let stage = group.stage.to_string();
        still.value(&of_jobs(group, &stage), group.longest_still.as_secs_f64());
    }
    let mut tasks = text.metric(
        "lastlight_open_stage_tasks",
        Kind::Gauge,
        "Planned tasks of the stages that these jobs are in; open: without an outcome.",
    );
    // Paused or not, they are tasks of the same stage.
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

/// What is owed, the last sweep, and the processes that are alive.
pub(super) fn readings(text: &mut PrometheusText, readings: &QueueMetrics) {
    if let Some(backlog) = &readings.backlog {
        let mut unsent = text.metric(
            "lastlight_owed",
            Kind::Gauge,
            "What jobs that run are owed and no queue has taken yet; from 10,000 of a kind on nobody counts.",
        );
        unsent.value(&[("what", "task_batches")], backlog.batches);
        unsent.value(&[("what", "job_messages")], backlog.job_messages);
        text.metric(
            "lastlight_owed_oldest_seconds",
            Kind::Gauge,
            "How long ago the oldest of it was written, or sent in vain; 0 where nothing is owed.",
        )
        .value(&[], backlog.oldest.unwrap_or_default().as_secs_f64());
    }
    if let Some(Some(sweep)) = &readings.sweep {
        text.metric(
            "lastlight_newest_sweep_timestamp_seconds",
            Kind::Gauge,
            "When any process last ended a sweep; absent: none ever did.",
        )
        .value(&[], sweep.finished_at.unix_timestamp());
        text.metric(
            "lastlight_newest_sweep_duration_seconds",
            Kind::Gauge,
            "How long that sweep took.",
        )
        .value(&[], sweep.took.as_secs_f64());
        let mut found = text.metric(
            "lastlight_newest_sweep_findings",
            Kind::Gauge,
            "What that sweep found and mended, by kind.",
        );
        for (what, count) in sweep.found.as_object().into_iter().flatten() {
            if let Some(count) = count.as_u64() {
                found.value(&[("what", what)], count);
            }
        }
    }
    if let Some(alive) = &readings.instances {
        text.metric(
            "lastlight_instances",
            Kind::Gauge,
            "Processes that were heard of in the last 75 seconds.",
        )
        .value(&[], alive.len());
        text.metric(
            "lastlight_instances_tasks_running",
            Kind::Gauge,
            "Tasks that ran in them when they were last heard of, together.",
        )
        .value(&[], alive.iter().map(|instance| instance.running).sum::<i64>());
        let mut pool = text.metric(
            "lastlight_instances_database_connections",
            Kind::Gauge,
            "Their connections to the database, then, together.",
        );
        let sum = |of: fn(&crate::store::PoolUse) -> u32| {
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
    fn a_bound_holds_all_that_is_below_and_what_is_above_the_last_is_counted_too() {
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
