//! `lastlight bench workers`.

use std::{path::Path, time::Duration};

use clap::Args;
use lastlight_cli::{say, tell};
use lastlight_local::{commands::CloudArguments, host::LogSink};
use serde_json::json;

use super::{BenchFailure, fresh_cloud};
use crate::bench::{
    Stop, WaitingReport, WaitsAt, WorkersOptions, bench_process, bench_start, bench_waiting,
};

/// `lastlight bench workers`.
#[derive(Debug, Args)]
pub struct WorkersArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Number of tasks that become ready while a worker waits, one at a time; measured twice: with the
    /// worker at the same instance, and at another one.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    tasks: u32,
    /// Number of workers that wait.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    waiting: u16,
    /// Seconds for which their cost is measured, twice: at first, and after --settled.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Seconds after which their cost is measured again. The app looks for tasks less and less often
    /// for 8 minutes.
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u64).range(30..=3600))]
    settled: u64,
    /// Measure also the rate of this worker, which needs the handlers hello_world_greeting and
    /// hello_world_reply. It gets the address of the app in LASTLIGHT_URL.
    #[arg(long, value_name = "COMMAND", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    worker: Option<String>,
    /// Number of tasks for that worker.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(2..=2_000_000))]
    n: u64,
    /// Maximum duration of one measurement in seconds.
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
}

pub(super) async fn workers(
    arguments: WorkersArguments,
    folder: &Path,
    stop: &Stop,
) -> Result<(), BenchFailure> {
    let options = || {
        let timeout = Duration::from_secs(arguments.timeout);
        let cloud = fresh_cloud(&arguments.cloud, folder)?;
        Ok::<_, String>(WorkersOptions { cloud, timeout })
    };
    let failed = |what: &'static str| move |error| BenchFailure::of(what, error);
    let is_json = arguments.cloud.json;
    let mut process = None;
    if let Some(command) = &arguments.worker {
        let log = LogSink::new(|line| tell!("{line}"));
        let report = bench_process(options()?, command, arguments.n, log, stop)
            .await
            .map_err(failed("the worker: "))?;
        if !is_json {
            say!(
                "one worker process: {} tasks in {:.2} s, {:.0} tasks/s",
                report.tasks,
                report.seconds,
                report.tasks_per_second
            );
        }
        process = Some(report);
    }
    let mut started = Vec::new();
    for waits_at in [WaitsAt::SameInstance, WaitsAt::OtherInstance] {
        let report = bench_start(options()?, waits_at, arguments.tasks as usize, stop)
            .await
            .map_err(failed("from ready to started: "))?;
        if !is_json {
            let at = match waits_at {
                WaitsAt::SameInstance => "the instance where the task becomes ready",
                WaitsAt::OtherInstance => "another instance",
            };
            say!(
                "a worker waits at {at}: from ready to started p50 {:.0} ms, p99 {:.0} ms, {} tasks",
                report.p50_ms,
                report.p99_ms,
                report.tasks
            );
        }
        started.push(report);
    }
    let each = |report: &WaitingReport| {
        let known = |figure: Option<f64>| {
            figure.map_or("unknown".to_owned(), |figure| format!("{figure:.2}"))
        };
        if !is_json {
            say!(
                "{} workers that have waited for {:.0} s: {} transactions/s, {} % of a processor in the handler",
                report.workers,
                report.after_seconds,
                known(report.transactions_per_second),
                known(report.handler_cpu_percent)
            );
        }
    };
    let settled = Duration::from_secs(arguments.settled);
    let waiting =
        bench_waiting(options()?, arguments.waiting.into(), arguments.seconds, settled, each, stop)
            .await
            .map_err(failed("waiting workers: "))?;
    if is_json {
        say!("{}", json!({ "process": process, "started": started, "waiting": waiting }));
    }
    Ok(())
}
