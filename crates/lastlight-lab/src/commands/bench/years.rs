//! `lastlight bench years`.

use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use lastlight_cli::{say, tell};
use lastlight_local::commands::CloudArguments;
use serde_json::json;

use super::{BenchFailure, fresh_cloud};
use crate::bench::{Stop, YearsOptions, bench_purge, bench_sizes};

/// `lastlight bench years`.
#[derive(Debug, Args)]
pub struct YearsArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Number of tasks that are stored and deleted.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1000..=20_000_000))]
    tasks: u64,
    /// Number of jobs that have them.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    jobs: u64,
    /// Number of tasks of the job that runs meanwhile, and of each round.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(2..=2_000_000))]
    n: u64,
    /// Number of rounds in which a job is run and deleted.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Share of the time in which sweeps delete, 0.01 to 0.7: LASTLIGHT_PURGE_SHARE.
    #[arg(long, default_value_t = 0.2)]
    share: f64,
    /// Maximum time in seconds that autovacuum gets after each deletion, before the next round.
    #[arg(long, default_value_t = 120)]
    pause: u64,
    /// Maximum time of one part in seconds.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

pub(super) async fn years(
    arguments: YearsArguments,
    folder: &Path,
    stop: &Stop,
) -> Result<(), BenchFailure> {
    let options = || {
        Ok::<_, String>(YearsOptions {
            cloud: fresh_cloud(&arguments.cloud, folder)?,
            tasks: arguments.tasks,
            jobs: arguments.jobs,
            n: arguments.n,
            rounds: arguments.rounds,
            share: arguments.share,
            pause: Duration::from_secs(arguments.pause),
            timeout: Duration::from_secs(arguments.timeout),
        })
    };
    let failed = |what: &'static str| move |error| BenchFailure::of(what, error);
    let is_json = arguments.cloud.json;
    let said = Cell::new(Instant::now());
    let progress = |done| {
        if said.get().elapsed() > Duration::from_secs(5) {
            said.set(Instant::now());
            tell!("filling: {done} of {} jobs are finished", arguments.jobs);
        }
    };
    let purge = bench_purge(options()?, progress, stop).await.map_err(failed("deleting: "))?;
    if !is_json {
        say!(
            "{} jobs with {} tasks deleted in {:.1} s: {:.0} tasks/s",
            purge.jobs,
            purge.tasks,
            purge.seconds,
            purge.tasks_per_second
        );
        say!(
            "a job of {} tasks: {:.2} s alone, {:.2} s while jobs are deleted, {:.2} of its rate",
            arguments.n,
            purge.job_alone_seconds,
            purge.job_beside_seconds,
            purge.job_alone_seconds / purge.job_beside_seconds
        );
    }
    let each = |round: u32, megabytes: f64| {
        if !is_json {
            say!("round {round}: {megabytes:.0} MB");
        }
    };
    let sizes = bench_sizes(options()?, stop, each).await.map_err(failed("sizes: "))?;
    if is_json {
        say!("{}", json!({ "purge": purge, "sizes": sizes }));
    } else {
        say!(
            "after {} rounds of {} tasks: {:.2} times the size after the first",
            sizes.rounds,
            sizes.tasks,
            sizes.last_mb / sizes.first_mb
        );
    }
    Ok(())
}
