//! A scenario's world: a database of its own, a local cloud on it, as many handlers as needed, and
//! the means to inject faults. It counts the faults; at the end the oracle judges every job.

mod end;
mod harm;
mod requests;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::task::AbortOnDropHandle;

use super::{ChaosError, Run, Size, first_version::store_as_first_version, report::Metrics};
use lastlight_local::{
    CloudOptions, LocalCloud,
    broker::service_bus::QueueOptions,
    host::{HandlerCommand, LogSink, RunningHost},
};
use lastlight_testing::{
    ledger::LEDGER_SETTING,
    oracle::{Expected, ExpectedGraph, Promise, Violation},
    recorder::Recorder,
    work::Work,
};

/// How long a claim is valid without a heartbeat.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// The interval between sweeps.
pub(super) const SWEEP: Duration = Duration::from_millis(500);

/// The Service Bus queues of a handler.
const BUS_QUEUES: [&str; 2] = ["sb-jobs", "sb-tasks"];

/// The poison queues of the Storage Queues.
const POISON_QUEUES: [&str; 2] = ["geospatial-jobs-poison", "geospatial-tasks-poison"];

/// Time without any progress in a stage after which its messages are presumed lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(3);

/// How a world differs from the usual one.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    /// Number of handlers; 0 means 1.
    pub handlers: usize,
    /// App settings, which override the usual ones.
    pub settings: Vec<(&'static str, String)>,
    /// How to start the handler, if not as usual.
    pub handler: Option<HandlerCommand>,
    /// Messages become poison after as few deliveries as in Azure.
    pub has_poison: bool,
    /// Lock duration of a Service Bus message; `None`: the default.
    pub lock: Option<Duration>,
    /// A job that is stored under the schema of the first version before the handler starts.
    pub stored_before: Option<Work>,
}

/// The number of a world's handler: 0 is the local cloud's own.
pub(super) type HandlerNumber = usize;

pub(super) struct World {
    pub(super) run: Run,
    pub(super) random: fastrand::Rng,
    pub(super) cloud: LocalCloud,
    pub(super) recorder: Recorder,
    pub(super) url: String,
    pub(super) folder: PathBuf,
    others: Vec<RunningHost>,
    client: reqwest::Client,
    ledger: PathBuf,
    jobs: Vec<Expected>,
    graphs: Vec<ExpectedGraph>,
    /// The times of the faults, microseconds since 1970.
    faults: Vec<i64>,
    metrics: Metrics,
    notes: Vec<String>,
    violations: Vec<Violation>,
    sweeps: Option<AbortOnDropHandle<()>>,
    has_poison: bool,
    lock: Option<Duration>,
    /// The time that a recovery may take beyond lease and sweep; `None`: no limit.
    pub(super) rescue_slack: Option<Duration>,
    /// Tags of jobs that the scenario deletes, and about which the oracle can say nothing.
    pub(super) deleted: BTreeSet<String>,
}

impl World {
    pub(super) async fn start(run: &Run, setup: Setup) -> Result<Self, ChaosError> {
        let number = run.next_world();
        let name = format!("s{:02}_{number}", run.scenario.number);
        let folder = run.shared.folder.join(&name);
        fs::create_dir_all(&folder)?;
        let url = run.shared.cluster.create_database(&format!("chaos_{name}")).await?;
        if let Some(job) = &setup.stored_before {
            store_as_first_version(&url, job).await?;
        }
        let ledger = folder.join("ledger");
        let settings = settings(&setup, &ledger);
        let cloud = LocalCloud::start(CloudOptions {
            app_root: run.shared.app_root.clone(),
            data: folder.join("cloud"),
            port: 0,
            storage_port: 0,
            service_bus_port: 0,
            database_url: Some(url.clone()),
            handler: setup.handler.clone().unwrap_or_else(|| run.shared.handler.clone()),
            settings,
            log: log_to(folder.join("handler.log"))?,
        })
        .await?;
        let mut random =
            fastrand::Rng::with_seed(run.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        cloud.storage_faults.reseed(random.u64(..));
        cloud.service_bus_faults.reseed(random.u64(..));
        let mut world = Self {
            run: run.clone(),
            random,
            recorder: Recorder::new(&url)?,
            url,
            folder,
            cloud,
            others: Vec::new(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()
                .map_err(|error| ChaosError::Broken(error.to_string()))?,
            ledger,
            jobs: Vec::new(),
            graphs: Vec::new(),
            faults: Vec::new(),
            metrics: Metrics::default(),
            notes: Vec::new(),
            violations: Vec::new(),
            sweeps: None,
            has_poison: setup.has_poison,
            lock: setup.lock,
            rescue_slack: None,
            deleted: BTreeSet::new(),
        };
        world.healthy(Duration::from_secs(60)).await?;
        world.recorder.install().await?;
        for _ in 1..setup.handlers.max(1) {
            world.add_handler(BTreeMap::new()).await?;
        }
        world.set_queues();
        world.sweep_from_now_on();
        Ok(world)
    }

    /// Starts one more handler with settings of its own and returns its number.
    pub(super) async fn add_handler(
        &mut self,
        settings: BTreeMap<String, String>,
    ) -> Result<HandlerNumber, ChaosError> {
        self.others.push(self.cloud.another_host(settings).await?);
        self.set_queues();
        Ok(self.others.len())
    }

    /// Stops the handler that was added last.
    pub(super) async fn remove_handler(&mut self) {
        if let Some(host) = self.others.pop() {
            host.stop().await;
        }
    }

    /// Replaces the local cloud's own handler by one with other settings.
    pub(super) async fn replace_handler(
        &mut self,
        settings: BTreeMap<String, String>,
    ) -> Result<(), ChaosError> {
        let host = self.cloud.another_host(settings).await?;
        self.cloud.replace_host(host).await;
        self.set_queues();
        self.sweep_from_now_on();
        Ok(())
    }

    /// Sets the rules of the Service Bus queues, since each host that starts resets them to the
    /// defaults.
    fn set_queues(&self) {
        let mut options = QueueOptions::default();
        if !self.has_poison {
            // Handlers are killed here while they hold messages, more often than Azure's ten
            // deliveries allow.
            options.max_delivery_count = 100_000;
        }
        if let Some(lock) = self.lock {
            options.lock_duration = lock;
        }
        for queue in BUS_QUEUES {
            self.cloud.service_bus.create_queue(queue, options);
        }
    }

    /// Starts a sweep twice a second; the timer would start one every minute.
    fn sweep_from_now_on(&mut self) {
        self.stop_sweeping();
        let url = format!("{}/admin/functions/reconcile", self.cloud.base_url());
        let client = self.client.clone();
        self.sweeps = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                // A handler that is down misses a sweep, as it would miss the timer's tick.
                let _ = client.post(&url).send().await;
            }
        })));
    }

    pub(super) fn stop_sweeping(&mut self) {
        self.sweeps = None;
    }

    /// Opens the gate at which tasks of a job wait, by its tag.
    pub(super) fn open_gate(&self, tag: &str) -> Result<(), ChaosError> {
        Ok(fs::write(lastlight_testing::ledger::gate(&self.ledger, tag), "")?)
    }

    pub(super) fn is_full(&self) -> bool {
        self.run.shared.size == Size::Full
    }

    /// `full` at full size, otherwise `small`.
    pub(super) fn sized<T>(&self, small: T, full: T) -> T {
        if self.is_full() { full } else { small }
    }

    /// Prints a progress message on standard error.
    pub(super) fn say(&self, what: &str) {
        self.run.say(what);
    }

    /// Adds a measurement to the report.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Records a violation of the scenario's promise unless `holds`.
    pub(super) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation {
                promise: Promise::Scenario,
                job: String::new(),
                detail: otherwise(),
            });
        }
    }

    /// The same for conditions that depend on the machine's speed: noted at the small size, and
    /// asserted at full size only.
    pub(super) fn check_timed(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if self.is_full() {
            self.check(holds, otherwise);
        } else if !holds {
            let missed = format!("(not asserted at this size) {}", otherwise());
            self.note(missed);
        }
    }
}

fn settings(setup: &Setup, ledger: &std::path::Path) -> BTreeMap<String, String> {
    let seconds = |duration: Duration| duration.as_secs_f64().to_string();
    let usual = [
        (LEDGER_SETTING, ledger.display().to_string()),
        ("LASTLIGHT_LEASE_SECONDS", seconds(LEASE)),
        ("LASTLIGHT_SEND_GRACE_SECONDS", "1".to_owned()),
        ("LASTLIGHT_LOST_AFTER_SECONDS", seconds(LOST_AFTER)),
        ("LASTLIGHT_RETRY_FIRST_SECONDS", "0.2".to_owned()),
        ("LASTLIGHT_RETRY_LARGEST_SECONDS", "1".to_owned()),
        // A kill counts as an attempt, and a task may be killed many times here.
        ("MAX_RETRY_ATTEMPTS", "60".to_owned()),
        ("LASTLIGHT_DATABASE_WAIT_SECONDS", "2".to_owned()),
        ("LASTLIGHT_LOCAL_MOST_CRASHES", "1000000".to_owned()),
        ("LOG_LEVEL", "warn".to_owned()),
    ];
    let patient = [
        ("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:01"),
        ("AzureFunctionsJobHost__extensions__queues__maxPollingInterval", "00:00:01"),
        ("AzureFunctionsJobHost__extensions__queues__maxDequeueCount", "100000"),
    ];
    let patient = patient.iter().take(if setup.has_poison { 2 } else { 3 });
    let mut settings: BTreeMap<String, String> = usual
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(patient.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        .collect();
    settings.extend(setup.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    settings
}

/// Writes the handlers' log lines to a file, which is kept if the scenario fails.
fn log_to(path: PathBuf) -> Result<LogSink, ChaosError> {
    let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    let file = Arc::new(Mutex::new(file));
    Ok(LogSink::new(move |line| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(file, "{line}");
    }))
}
