//! A scenario's world: a database of its own, a local cloud on it, as many handlers as it wants,
//! and the means to do harm. What it did it counts; at the end it has the oracle judge every job.

mod end;
mod harm;
mod requests;
mod waiting;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::task::AbortOnDropHandle;

use super::{
    ChaosError, Run, Size,
    first_version::store_as_first_version,
    ledger::LEDGER_SETTING,
    oracle::{Expected, Promise, Violation},
    recorder::Recorder,
    report::Metrics,
    work::Work,
};
use lastlight_local::{
    CloudOptions, LocalCloud,
    broker::service_bus::QueueOptions,
    host::{HandlerCommand, LogSink, RunningHost},
};

/// How long a claim holds without a heartbeat.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// How often a sweep begins.
pub(super) const SWEEP: Duration = Duration::from_millis(500);

/// The bus's queues that bring a handler its work.
const BUS_QUEUES: [&str; 2] = ["sb-jobs", "sb-tasks"];

/// Where messages go that a Storage Queue delivered too often.
const POISON_QUEUES: [&str; 2] = ["geospatial-jobs-poison", "geospatial-tasks-poison"];

/// Nothing happens in a stage for so long: its messages count as lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(3);

/// What a world differs in from the usual one.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    /// Handlers; 0 is 1.
    pub handlers: usize,
    /// App settings beside the usual ones; these win.
    pub settings: Vec<(&'static str, String)>,
    /// The handler is started in this way.
    pub handler: Option<HandlerCommand>,
    /// Messages become poison after as few deliveries as in Azure.
    pub has_poison: bool,
    /// How long a message of Service Bus is locked; `None`: as long as usual.
    pub lock: Option<Duration>,
    /// The schema is the first version's, with this job in it, until the handler starts.
    pub stored_before: Option<Work>,
}

/// One of a world's handlers: 0 is the local cloud's own.
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
    /// When something was broken, microseconds since 1970.
    faults: Vec<i64>,
    metrics: Metrics,
    notes: Vec<String>,
    violations: Vec<Violation>,
    sweeps: Option<AbortOnDropHandle<()>>,
    has_poison: bool,
    lock: Option<Duration>,
    /// What a rescue may take beyond lease and sweep; `None`: as long as it takes.
    pub(super) rescue_slack: Option<Duration>,
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
            faults: Vec::new(),
            metrics: Metrics::default(),
            notes: Vec::new(),
            violations: Vec::new(),
            sweeps: None,
            has_poison: setup.has_poison,
            lock: setup.lock,
            rescue_slack: None,
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

    /// Starts one more handler, with settings of its own; its number.
    pub(super) async fn add_handler(
        &mut self,
        settings: BTreeMap<String, String>,
    ) -> Result<HandlerNumber, ChaosError> {
        self.others.push(self.cloud.another_host(settings).await?);
        self.set_queues();
        Ok(self.others.len())
    }

    /// Stops the handler that was started last beside the first.
    pub(super) async fn remove_handler(&mut self) {
        if let Some(host) = self.others.pop() {
            host.stop().await;
        }
    }

    /// Puts a handler with other settings in the place of the local cloud's own.
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

    /// The rules of the bus's queues, which each host that starts sets to the usual ones.
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

    /// Starts a sweep twice a second, as the timer does every minute.
    fn sweep_from_now_on(&mut self) {
        self.stop_sweeping();
        let url = format!("{}/admin/functions/reconcile", self.cloud.base_url());
        let client = self.client.clone();
        self.sweeps = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                // A handler that is away misses a sweep, as it would miss the timer's tick.
                let _ = client.post(&url).send().await;
            }
        })));
    }

    pub(super) fn stop_sweeping(&mut self) {
        self.sweeps = None;
    }

    pub(super) fn is_full(&self) -> bool {
        self.run.shared.size == Size::Full
    }

    /// `small`, or `full` at that size.
    pub(super) fn sized<T>(&self, small: T, full: T) -> T {
        if self.is_full() { full } else { small }
    }

    /// Says on standard error what is going on.
    pub(super) fn say(&self, what: &str) {
        self.run.say(what);
    }

    /// A measurement, for the report.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Breaks the scenario's promise unless `holds`.
    pub(super) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation {
                promise: Promise::Scenario,
                job: String::new(),
                detail: otherwise(),
            });
        }
    }

    /// The same for what hangs on the machine's speed: measured and noted at any size, asserted at
    /// full size only.
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
        // A kill counts as an attempt, and a task may be unlucky many times here.
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

/// The handlers' lines, into a file that is kept if the scenario fails.
fn log_to(path: PathBuf) -> Result<LogSink, ChaosError> {
    let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    let file = Arc::new(Mutex::new(file));
    Ok(LogSink::new(move |line| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(file, "{line}");
    }))
}
