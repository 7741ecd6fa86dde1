//! A scenario's world: a database of its own, a local cloud on it, as many handlers as it wants, and the means to do harm.
//! What it did it counts; at the end it has the oracle judge every job.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use super::{
    ChaosError, Run, Size,
    job::{CHAOS, Work},
    ledger::{self, JobRuns, LEDGER_SETTING},
    oracle::{Expected, Promise, Violation, judge},
    postgres::Restart,
    recorder::{JobFacts, Progress, Recorder},
    report::{Figures, Findings},
    scenarios::store_as_first_version,
};
use crate::{
    local::{
        CloudOptions, LocalCloud,
        broker::{FaultPlan, delete_all_messages, service_bus::QueueOptions},
        host::{HandlerCommand, LogSink, RunningHost},
    },
    model::TaskStatus,
};

/// How long a claim holds without a heartbeat.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// How often a sweep begins.
pub(super) const SWEEP: Duration = Duration::from_millis(500);

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
    figures: Figures,
    notes: Vec<String>,
    violations: Vec<Violation>,
    sweeps: Option<AbortOnDropHandle<()>>,
    has_poison: bool,
    /// What a rescue may take beyond lease and sweep; `None`: as long as it takes.
    pub(super) rescue_slack: Option<Duration>,
}

impl World {
    pub(super) async fn start(run: &Run, setup: Setup) -> Result<Self, ChaosError> {
        let number = run.next_world();
        let name = format!("s{:02}_{number}", run.scenario.number);
        let folder = run.shared.folder.join(&name);
        fs::create_dir_all(&folder)?;
        let url = run
            .shared
            .cluster
            .create_database(&format!("chaos_{name}"))
            .await?;
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
            handler: setup
                .handler
                .clone()
                .unwrap_or_else(|| run.shared.handler.clone()),
            settings,
            log: log_to(folder.join("handler.log"))?,
        })
        .await?;
        let mut random = fastrand::Rng::with_seed(run.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
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
            figures: Figures::default(),
            notes: Vec::new(),
            violations: Vec::new(),
            sweeps: None,
            has_poison: setup.has_poison,
            rescue_slack: None,
        };
        world.healthy(Duration::from_secs(60)).await?;
        world.recorder.install().await?;
        for _ in 1..setup.handlers.max(1) {
            world.add_handler(BTreeMap::new()).await?;
        }
        world.patient_queues();
        world.sweep_from_now_on();
        Ok(world)
    }

    /// Starts one more handler, with settings of its own; its number.
    pub(super) async fn add_handler(
        &mut self,
        settings: BTreeMap<String, String>,
    ) -> Result<HandlerNumber, ChaosError> {
        self.others.push(self.cloud.another_host(settings).await?);
        self.patient_queues();
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
        self.patient_queues();
        self.sweep_from_now_on();
        Ok(())
    }

    /// Handlers are killed here while they hold messages, more often than Azure's ten deliveries allow.
    fn patient_queues(&self) {
        if self.has_poison {
            return;
        }
        for queue in ["sb-jobs", "sb-tasks"] {
            let options = QueueOptions {
                max_delivery_count: 100_000,
                ..QueueOptions::default()
            };
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

    /// The same for what hangs on the machine's speed: measured and noted at any size, asserted at full size only.
    pub(super) fn check_timed(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if self.is_full() {
            self.check(holds, otherwise);
        } else if !holds {
            let missed = format!("(not asserted at this size) {}", otherwise());
            self.note(missed);
        }
    }

    // ---- requests

    /// The address of a handler's host.
    pub(super) fn base_url(&self, handler: HandlerNumber) -> String {
        match handler.checked_sub(1).and_then(|other| self.others.get(other)) {
            Some(other) => other.base_url(),
            None => self.cloud.base_url(),
        }
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// One request to the first handler; status and body, or why there was no answer.
    pub(super) async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        body: String,
    ) -> Result<(u16, Value), String> {
        let url = format!("{}{path}", self.cloud.base_url());
        let request = self.client.request(method, url).body(body);
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub(super) async fn get(&self, path: &str) -> Result<(u16, Value), String> {
        self.request(reqwest::Method::GET, path, String::new()).await
    }

    pub(super) async fn post(&self, path: &str) -> Result<(u16, Value), String> {
        self.request(reqwest::Method::POST, path, String::new()).await
    }

    /// Waits until the first handler says that all is well.
    pub(super) async fn healthy(&self, within: Duration) -> Result<(), ChaosError> {
        let began = Instant::now();
        loop {
            let answer = self.get("/api/health").await;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if began.elapsed() > within {
                return Err(ChaosError::Broken(format!(
                    "the handler is not healthy after {within:?}: {answer:?}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Submits a job, again and again until it is accepted: a client that got no answer asks again.
    pub(super) async fn submit(&mut self, work: Work, within: Duration) -> Result<String, ChaosError> {
        let job_id = self.submit_unexpecting(&work).await?;
        self.expect(Expected::new(job_id.clone(), work, within));
        Ok(job_id)
    }

    /// The same; the caller says later what is expected.
    pub(super) async fn submit_unexpecting(&self, work: &Work) -> Result<String, ChaosError> {
        let body = serde_json::to_string(work)?;
        let path = format!("/api/jobs/submit/{CHAOS}");
        let began = Instant::now();
        loop {
            let answer = self.request(reqwest::Method::POST, &path, body.clone()).await;
            match &answer {
                Ok((200, submission)) => {
                    let job_id = submission.pointer("/job_id").and_then(Value::as_str);
                    return job_id
                        .map(str::to_owned)
                        .ok_or_else(|| ChaosError::Broken(format!("no job_id in {submission}")));
                }
                Ok((status, answer)) if *status < 500 => {
                    return Err(ChaosError::Broken(format!(
                        "{} was refused: {status} {answer}",
                        work.tag
                    )));
                }
                _ if began.elapsed() > Duration::from_secs(60) => {
                    return Err(ChaosError::Broken(format!(
                        "{} was not accepted: {answer:?}",
                        work.tag
                    )));
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub(super) fn expect(&mut self, expected: Expected) {
        self.jobs.push(expected);
    }

    // ---- waiting

    /// How far everything is; waits for a database that is away.
    pub(super) async fn progress(&self) -> Result<Progress, ChaosError> {
        let began = Instant::now();
        loop {
            match self.recorder.progress().await {
                Ok(progress) => return Ok(progress),
                Err(error) if began.elapsed() > Duration::from_secs(60) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Returns once so many tasks have their outcome, or all jobs are over; whether there are jobs left.
    pub(super) async fn until_done(&self, tasks: u64, within: Duration) -> Result<bool, ChaosError> {
        let began = Instant::now();
        loop {
            let progress = self.progress().await?;
            if progress.done >= tasks || progress.open_jobs == 0 {
                return Ok(progress.open_jobs > 0);
            }
            if began.elapsed() > within {
                return Err(ChaosError::Broken(format!(
                    "{} of {tasks} tasks after {within:?}",
                    progress.done
                )));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns once all jobs are over and closed, or after `within`, and then the oracle has its say.
    pub(super) async fn until_over(&self, within: Duration) -> Result<(), ChaosError> {
        let began = Instant::now();
        let mut said = Instant::now();
        loop {
            let progress = self.progress().await?;
            if progress.open_jobs == 0 || began.elapsed() > within {
                return Ok(());
            }
            if said.elapsed() > Duration::from_secs(10) {
                said = Instant::now();
                self.say(&format!(
                    "{} tasks done, {} jobs open",
                    progress.done, progress.open_jobs
                ));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until a condition on the recorder's own database holds.
    pub(super) async fn until<F>(&self, what: &str, within: Duration, mut holds: F) -> Result<(), ChaosError>
    where
        F: AsyncFnMut() -> bool,
    {
        let began = Instant::now();
        while !holds().await {
            if began.elapsed() > within {
                return Err(ChaosError::Broken(format!("waited {within:?} in vain: {what}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    // ---- harm

    pub(super) fn handler_pid(&self, handler: HandlerNumber) -> Option<u32> {
        match handler.checked_sub(1).and_then(|other| self.others.get(other)) {
            Some(other) => other.handler_pid(),
            None => self.cloud.handler_pid(),
        }
    }

    /// Sends a signal to a handler's process; whether there was one.
    pub(super) fn signal(&mut self, handler: HandlerNumber, signal: Signal) -> bool {
        let pid = self
            .handler_pid(handler)
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(pid) = pid else { return false };
        if signal != Signal::CONT {
            self.fault();
        }
        let sent = kill_process(pid, signal).is_ok();
        self.figures.kills += u64::from(sent && signal != Signal::CONT);
        sent
    }

    /// Kills a handler and waits until its successor is ready.
    pub(super) async fn kill(&mut self, handler: HandlerNumber) -> Result<(), ChaosError> {
        let before = self.handler_pid(handler);
        self.signal(handler, Signal::KILL);
        self.until("a handler's successor", Duration::from_secs(60), async || {
            let now = self.handler_pid(handler);
            now.is_some() && now != before
        })
        .await
    }

    pub(super) async fn restart_database(&mut self, how: Restart) -> Result<(), ChaosError> {
        self.fault();
        self.figures.restarts += 1;
        self.run.shared.cluster.restart(how).await?;
        // Broken until now.
        self.fault();
        Ok(())
    }

    /// Ends the sessions of all handlers; how many.
    pub(super) async fn terminate_connections(&mut self) -> Result<i64, ChaosError> {
        self.fault();
        let ended = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = 'lastlight' AND datname = current_database()",
        )
        .fetch_one(self.recorder.pool())
        .await?;
        Ok(ended)
    }

    /// Something is broken now.
    pub(super) fn fault(&mut self) {
        self.fault_at(ledger::now());
    }

    /// Something was broken then, microseconds since 1970.
    pub(super) fn fault_at(&mut self, at: i64) {
        self.faults.push(at);
    }

    /// A handler ended itself, as it was told.
    pub(super) fn count_kill(&mut self) {
        self.figures.kills += 1;
    }

    /// The same plan for both queue services.
    pub(super) fn set_faults(&self, plan: FaultPlan) {
        self.cloud.storage_faults.set(plan);
        self.cloud.service_bus_faults.set(plan);
    }

    /// Empties every queue.
    pub(super) fn purge(&mut self) {
        self.fault();
        delete_all_messages(&self.cloud.storage, &self.cloud.service_bus);
    }

    // ---- the end

    /// Everything about a job.
    pub(super) async fn facts(&self, job_id: &str) -> Result<JobFacts, ChaosError> {
        let facts = self.recorder.job(job_id).await?;
        facts.ok_or_else(|| ChaosError::Broken(format!("job {job_id} has no row")))
    }

    /// What ran, by the jobs' tags.
    pub(super) fn runs(&self) -> Result<HashMap<String, JobRuns>, ChaosError> {
        Ok(ledger::read(&self.ledger)?)
    }

    /// Has every job judged and stops everything.
    pub(super) async fn finish(mut self) -> Result<Findings, ChaosError> {
        self.quiet().await?;
        let runs = self.runs()?;
        let none = JobRuns::new();
        let mut recovery = Recovery::default();
        let jobs = std::mem::take(&mut self.jobs);
        for expected in &jobs {
            let runs = runs.get(&expected.work.tag).unwrap_or(&none);
            let facts = self.facts(&expected.job_id).await?;
            let judgement = judge(expected, &facts, runs);
            self.violations.extend(judgement.violations);
            self.figures.runs += judgement.runs;
            self.figures.tasks += judgement.outcomes;
            for stage in facts.stages.values() {
                self.figures.duplicates += stage.absorbed[0].unsigned_abs();
                self.figures.stale_completions += stage.absorbed[1].unsigned_abs();
            }
            recovery.learn(&expected.work.tag, &facts, runs, &self.faults);
            self.audit(expected).await;
        }
        self.figures.jobs += jobs.len() as u64;
        let known: BTreeSet<&str> = jobs.iter().map(|job| job.work.tag.as_str()).collect();
        let strangers: Vec<&String> = runs.keys().filter(|tag| !known.contains(tag.as_str())).collect();
        self.check(strangers.is_empty(), || {
            format!("runs of jobs that nobody submitted: {strangers:?}")
        });
        if let Some((rescue, which)) = &recovery.longest_rescue {
            let (rescue, which, bound) = (*rescue, which.clone(), LEASE + SWEEP);
            if let Some(slack) = self.rescue_slack {
                self.check_timed(
                    rescue <= i64::try_from((bound + slack).as_micros()).unwrap_or(i64::MAX),
                    || format!("the rescue of {which} took {:.1} s", rescue as f64 / 1e6),
                );
            }
            self.note(format!(
                "longest rescue of an attempt that was cut off: {:.1} s (lease + sweep: {:.1} s), {which}",
                rescue as f64 / 1e6,
                bound.as_secs_f64()
            ));
        }
        self.figures.longest_recovery_ms = recovery.longest(&self.faults);
        self.figures.deliveries =
            self.cloud.storage.messages_received() + self.cloud.service_bus.messages_received();
        self.stop_sweeping();
        for host in std::mem::take(&mut self.others) {
            host.stop().await;
        }
        let findings = Findings {
            figures: self.figures,
            notes: self.notes,
            violations: self.violations,
        };
        self.recorder.pool().close().await;
        self.cloud.stop().await?;
        Ok(findings)
    }

    /// The app's own audit must come to the same.
    async fn audit(&mut self, expected: &Expected) {
        let answer = self.get(&format!("/api/jobs/audit/{}", expected.job_id)).await;
        let is_consistent = matches!(&answer, Ok((200, audit)) if audit["consistent"] == true);
        let tag = expected.work.tag.clone();
        self.check(is_consistent, || {
            format!("the audit of {tag} does not agree: {answer:?}")
        });
    }

    /// Waits until nothing runs any more: the ledger stands still.
    async fn quiet(&self) -> Result<(), ChaosError> {
        let size = || fs::metadata(&self.ledger).map_or(0, |file| file.len());
        let began = Instant::now();
        let mut before = size();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = size();
            if now == before || began.elapsed() > Duration::from_secs(30) {
                return Ok(());
            }
            before = now;
        }
    }
}

/// How long it took until things went on.
#[derive(Default)]
struct Recovery {
    /// All outcomes of all jobs.
    outcomes: Vec<i64>,
    /// From the last fault that an attempt did not survive until the task's next claim, microseconds; and which.
    longest_rescue: Option<(i64, String)>,
}

impl Recovery {
    fn learn(&mut self, tag: &str, facts: &JobFacts, runs: &JobRuns, faults: &[i64]) {
        for (key, writes) in &facts.writes {
            let is_end = |status: Option<TaskStatus>| status.is_some_and(TaskStatus::is_terminal);
            self.outcomes.extend(
                writes
                    .iter()
                    .filter(|write| is_end(write.to))
                    .map(|write| write.at),
            );
            let claims: Vec<_> = writes
                .iter()
                .filter(|write| write.to == Some(TaskStatus::Processing))
                .collect();
            let ended = |attempt: u32| {
                let runs = runs.get(key).map(Vec::as_slice).unwrap_or_default();
                runs.iter()
                    .any(|run| run.attempt == attempt && run.ended.is_some())
            };
            for pair in claims.windows(2) {
                let [first, next] = pair else { continue };
                // What was broken again meanwhile counts from then on.
                let cut_off = faults.iter().rfind(|fault| (first.at..next.at).contains(fault));
                if let (Some(cut_off), false) = (cut_off, ended(first.attempt)) {
                    let rescue = next.at - cut_off;
                    if self
                        .longest_rescue
                        .as_ref()
                        .is_none_or(|(longest, _)| *longest < rescue)
                    {
                        let (stage, number) = key;
                        let which = format!("{tag}, stage {stage}, task {number}, attempt {}", first.attempt);
                        self.longest_rescue = Some((rescue, which));
                    }
                }
            }
        }
    }

    /// From any fault until the next outcome of any task, or the next claim of one that it cut off; milliseconds.
    fn longest(mut self, faults: &[i64]) -> Option<u64> {
        self.outcomes.sort_unstable();
        let next = |fault: &i64| {
            let place = self.outcomes.partition_point(|outcome| outcome <= fault);
            self.outcomes.get(place).map(|outcome| outcome - fault)
        };
        let longest = faults
            .iter()
            .filter_map(next)
            .chain(self.longest_rescue.map(|(rescue, _)| rescue))
            .max()?;
        Some(longest.unsigned_abs() / 1000)
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
        (
            "AzureFunctionsJobHost__extensions__queues__visibilityTimeout",
            "00:00:01",
        ),
        (
            "AzureFunctionsJobHost__extensions__queues__maxPollingInterval",
            "00:00:01",
        ),
        (
            "AzureFunctionsJobHost__extensions__queues__maxDequeueCount",
            "100000",
        ),
    ];
    let patient = patient.iter().take(if setup.has_poison { 2 } else { 3 });
    let mut settings: BTreeMap<String, String> = usual
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(patient.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        .collect();
    settings.extend(
        setup
            .settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
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
