//! `lastlight chaos`: every reliability scenario as one command. Jobs run over both paths on a real
//! PostgreSQL while handlers are killed and stopped, messages are lost, duplicated, delayed and
//! reordered, the queue services throttle and lose answers, and the database restarts and crashes.
//! Then the [`oracle`](lastlight_testing::oracle) checks that no work was lost, done twice or is
//! stuck.
//!
//! **What a seed replays.** Each scenario has a random generator of its own, derived from the seed
//! and its number, so leaving out one scenario changes no other. The generator is used in a fixed
//! order: which handler is killed after how many outcomes, which of the jobs' tasks fail, how the
//! database is restarted. The faults of the queue services have generators of their own: the n-th
//! message that a service accepts has the same fate in every run, and so has the n-th send. Timing
//! still varies: which message is the n-th, since many are sent at once; what exactly a handler
//! does at the n-th outcome; how far two handlers are when they race. Fail points (scenario 2)
//! replay exactly: the k-th passage of a fail point.
//!
//! This module knows the local cloud, the job type `chaos` and the tables. The handlers under test
//! are the real ones: the same binary, as child processes.

mod first_version;
mod postgres;
mod report;
mod scenarios;
mod world;

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use postgres::{Cluster, PostgresError};
pub use report::{ChaosReport, Findings, HEADER, Metrics, ScenarioReport};
pub use scenarios::{SCENARIOS, Scenario};

use lastlight_local::{
    CloudError,
    host::{HandlerCommand, HostError},
    postgres::PostgresPrograms,
};

/// The amount of work of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All scenarios within minutes on two cores. Bounds that depend on the machine's speed are
    /// measured, not asserted.
    Small,
    /// The sizes of the reliability table, with every bound asserted.
    Full,
}

impl Size {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
        }
    }
}

#[derive(Debug, Clone)]
pub struct ChaosOptions {
    /// The same seed repeats the same faults.
    pub seed: u64,
    /// The scenarios to run, in this order.
    pub scenarios: Vec<&'static Scenario>,
    pub size: Size,
    /// The folder with `host.json` and the function folders.
    pub app_root: PathBuf,
    /// The handler that the hosts start.
    pub handler: HandlerCommand,
    /// The folder of all files; it may be removed if all scenarios passed.
    pub folder: PathBuf,
    /// The folder of PostgreSQL's programs; `None`: search the usual folders.
    pub postgres: Option<PathBuf>,
    /// The number of messages that scenario 18 delivers before it ends.
    pub soak: Option<u64>,
}

/// Why a scenario did not finish, or none started.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// There is no database server.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The local cloud did not start or stop.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// A host did not start.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The recorder could not read the database.
    #[error("the recorder: {0}")]
    Database(#[from] sqlx::Error),
    /// The folder or the ledger could not be read or written.
    #[error("a file: {0}")]
    Io(#[from] io::Error),
    /// A worker could not be made, or a request of it failed.
    #[error(transparent)]
    Worker(#[from] crate::worker::WorkerError),
    /// A report or a request could not be serialized.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something did not happen in time, or the app gave an answer that it must never give.
    #[error("{0}")]
    Broken(String),
}

/// What all scenarios of a run share.
#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    folder: PathBuf,
    app_root: PathBuf,
    handler: HandlerCommand,
    size: Size,
    soak: Option<u64>,
}

#[derive(Debug, Clone)]
struct Run {
    shared: Arc<Shared>,
    scenario: &'static Scenario,
    seed: u64,
    worlds: Arc<AtomicU64>,
}

impl Run {
    fn next_world(&self) -> u64 {
        self.worlds.fetch_add(1, Ordering::Relaxed)
    }

    fn say(&self, what: &str) {
        let Scenario { number, name, .. } = self.scenario;
        let _ = writeln!(io::stderr(), "{number:>2} {name}: {what}");
    }
}

/// Runs scenarios one after the other and passes each report to `done`.
///
/// # Errors
/// There is no PostgreSQL, or it did not start. Errors of a scenario are in its report.
pub async fn chaos(
    options: ChaosOptions,
    done: impl Fn(&ScenarioReport),
) -> Result<ChaosReport, ChaosError> {
    let began = Instant::now();
    let programs =
        PostgresPrograms::find(options.postgres.as_deref()).map_err(PostgresError::from)?;
    std::fs::create_dir_all(&options.folder)?;
    let shared = Arc::new(Shared {
        cluster: Cluster::start(programs, &options.folder).await?,
        folder: options.folder,
        app_root: options.app_root,
        handler: options.handler,
        size: options.size,
        soak: options.soak,
    });
    let mut reports = Vec::new();
    for scenario in options.scenarios {
        let run = Run {
            shared: Arc::clone(&shared),
            scenario,
            seed: seed_of(options.seed, scenario.number),
            worlds: Arc::default(),
        };
        let report = report(&run).await;
        done(&report);
        reports.push(report);
    }
    Ok(ChaosReport::new(
        options.seed,
        options.size.as_str(),
        reports,
        began.elapsed().as_secs_f64(),
    ))
}

async fn report(run: &Run) -> ScenarioReport {
    let began = Instant::now();
    run.say(run.scenario.what);
    let longest = match run.shared.size {
        _ if run.shared.soak.is_some() => Duration::from_secs(7 * 24 * 60 * 60),
        Size::Small => Duration::from_secs(5 * 60),
        Size::Full => Duration::from_secs(3 * 60 * 60),
    };
    let (findings, error) = match tokio::time::timeout(longest, scenarios::run(run)).await {
        Ok(Ok(findings)) => (findings, None),
        Ok(Err(error)) => (Findings::default(), Some(error.to_string())),
        Err(_) => (
            Findings::default(),
            Some(format!("the scenario did not finish within {} s", longest.as_secs())),
        ),
    };
    ScenarioReport {
        number: run.scenario.number,
        name: run.scenario.name,
        passed: error.is_none() && findings.violations.is_empty(),
        metrics: findings.metrics,
        seconds: began.elapsed().as_secs_f64(),
        notes: findings.notes,
        violations: findings.violations,
        error,
    }
}

/// A scenario's own seed, which does not depend on the other scenarios of the run.
fn seed_of(seed: u64, scenario: u8) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..=scenario).map(|_| random.u64(..)).last().unwrap_or(seed)
}
