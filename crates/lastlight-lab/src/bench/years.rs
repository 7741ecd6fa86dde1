//! What years of jobs cost: how fast finished jobs are deleted, what that costs a job that runs meanwhile,
//! and how large the tables are after rounds of jobs that are run and deleted.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::{
    BenchError,
    bed::{Bed, Stop},
    facts::Ledger,
    progress::{ready, wait},
    reads::{ReadsOptions, fill, settle},
};
use lastlight_local::{
    CloudOptions,
    api::{Api, text},
};

#[derive(Debug, Clone)]
pub struct YearsOptions {
    /// The local cloud to run on, with a database server; its data folder must be empty.
    pub cloud: CloudOptions,
    /// Number of tasks that are stored and deleted, half of them while a job runs.
    pub tasks: u64,
    /// Number of jobs that have them.
    pub jobs: u64,
    /// Number of tasks of the job that runs meanwhile, and of each round.
    pub n: u64,
    /// Number of rounds.
    pub rounds: u32,
    /// Share of the time in which sweeps delete.
    pub share: f64,
    /// Maximum time that autovacuum gets between two rounds: jobs are usually deleted days after they ran.
    pub pause: Duration,
    /// The longest time that one part may take.
    pub timeout: Duration,
}

/// How fast finished jobs are deleted.
#[derive(Debug, Clone, Serialize)]
pub struct PurgeReport {
    pub jobs: u64,
    pub tasks: u64,
    pub seconds: f64,
    pub tasks_per_second: f64,
    /// A job beside it, in seconds: alone, and while jobs were deleted.
    pub job_alone_seconds: f64,
    pub job_beside_seconds: f64,
}

/// The size of the tables after rounds.
#[derive(Debug, Clone, Serialize)]
pub struct SizeReport {
    pub rounds: u32,
    pub tasks: u64,
    /// Megabytes of all tables and indexes after the first round, and after the last one.
    pub first_mb: f64,
    pub last_mb: f64,
}

/// Deletes finished jobs alone, and beside a job.
///
/// # Errors
/// The local cloud did not start, a job did not complete, the database is not a server, or the
/// benchmark was stopped.
pub async fn bench_purge(
    options: YearsOptions,
    progress: impl Fn(u64),
    stop: &Stop,
) -> Result<PurgeReport, BenchError> {
    let mut cloud = options.cloud.clone();
    cloud.settings.insert("LASTLIGHT_PURGE_SHARE".to_owned(), options.share.to_string());
    Bed::lend(cloud.clone(), stop, async |bed| {
        let api = ready(&bed.cloud).await?;
        let alone = run_job(&api, &options, "alone").await?;
        let reads = ReadsOptions {
            cloud: cloud.clone(),
            tasks: options.tasks,
            jobs: options.jobs,
            requests: 1,
            timeout: options.timeout,
        };
        let (stored, _) = fill(&api, &reads, progress).await?;
        settle(&api, options.timeout).await?;
        let ledger = bed.ledger.as_mut().ok_or(BenchError::NeedsServer)?;
        // Half of the jobs first, the other half beside a job.
        ledger.age_jobs(&bed.schema, true).await?;
        let before = ledger.jobs(&bed.schema).await?;
        let seconds = purged(&bed.cloud.base_url(), ledger, &bed.schema, &options).await?;
        let after = ledger.jobs(&bed.schema).await?;
        ledger.age_jobs(&bed.schema, false).await?;
        let base_url = bed.cloud.base_url();
        let beside = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            run_job(&api, &options, "beside").await
        };
        let (others, beside) =
            tokio::join!(purged(&base_url, ledger, &bed.schema, &options), beside);
        others?;
        let tasks = before.1 - after.1;
        Ok(PurgeReport {
            jobs: stored.jobs.min(before.0 - after.0),
            tasks,
            seconds,
            tasks_per_second: tasks as f64 / seconds,
            job_alone_seconds: alone,
            job_beside_seconds: beside?,
        })
    })
    .await
}

/// Runs a job, deletes it, and begins again; the size of the tables is what remains in the end.
///
/// # Errors
/// As for [`bench_purge`].
pub async fn bench_sizes(
    options: YearsOptions,
    stop: &Stop,
    each: impl Fn(u32, f64),
) -> Result<SizeReport, BenchError> {
    let mut cloud = options.cloud.clone();
    cloud.settings.insert("LASTLIGHT_PURGE_SHARE".to_owned(), options.share.to_string());
    Bed::lend(cloud, stop, async |bed| {
        let api = ready(&bed.cloud).await?;
        let (mut first_mb, mut last_mb) = (0.0, 0.0);
        for round in 1..=options.rounds {
            run_job(&api, &options, &format!("round {round}")).await?;
            settle(&api, options.timeout).await?;
            let ledger = bed.ledger.as_mut().ok_or(BenchError::NeedsServer)?;
            last_mb = ledger.megabytes(&bed.schema).await?;
            if round == 1 {
                first_mb = last_mb;
            }
            each(round, last_mb);
            ledger.age_jobs(&bed.schema, false).await?;
            purged(&bed.cloud.base_url(), ledger, &bed.schema, &options).await?;
            let began = Instant::now();
            let since = ledger.now().await?;
            while began.elapsed() < options.pause && !ledger.is_vacuumed(&bed.schema, since).await?
            {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Ok(SizeReport { rounds: options.rounds, tasks: options.n, first_mb, last_mb })
    })
    .await
}

/// The time after which another sweep is started.
const AGAIN: Duration = Duration::from_secs(10);

/// Seconds of a job over Service Bus, a hundred tasks per message.
async fn run_job(api: &Api, options: &YearsOptions, name: &str) -> Result<f64, BenchError> {
    let parameters = json!({
        "n": options.n / 2, "name": name, "tasks_per_message": 100, "use_service_bus": true,
    });
    let began = Instant::now();
    let job_id = api.submit("hello_world", &parameters).await?;
    wait(api, &job_id, options.timeout, |status| text(status, "/status") == "completed").await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Sweeps until no old job is left; returns the seconds.
async fn purged(
    base_url: &str,
    ledger: &mut Ledger,
    schema: &str,
    options: &YearsOptions,
) -> Result<f64, BenchError> {
    let client = reqwest::Client::new();
    let began = Instant::now();
    let mut swept: Option<Instant> = None;
    loop {
        // It is answered before the sweep ends, which takes up to 45 s.
        if swept.is_none_or(|swept| swept.elapsed() > AGAIN) {
            let sweep = client
                .post(format!("{base_url}/admin/functions/reconcile"))
                .header("content-type", "application/json")
                .body("{\"input\": \"\"}");
            sweep.send().await.map_err(|error| BenchError::Worker(error.into()))?;
            swept = Some(Instant::now());
        }
        let left = ledger.old_jobs(schema).await?;
        let seconds = began.elapsed().as_secs_f64();
        if left == 0 {
            return Ok(seconds);
        }
        if began.elapsed() > options.timeout {
            let detail = format!("{left} jobs are not deleted");
            return Err(BenchError::Job { status: "completed".to_owned(), seconds, detail });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
