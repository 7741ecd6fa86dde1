//! Response times of every read endpoint and of the dashboard's first views, over a database full
//! of finished work. The work is real: jobs that ran here, one large job and many small ones.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    BenchError,
    bed::{Bed, Stop},
    facts::percentile,
};
use lastlight_local::{
    CloudOptions,
    api::{Api, text},
};

/// Tasks per message of these jobs: the database must be filled, and queues are not measured.
const TASKS_PER_MESSAGE: u64 = 100;

/// Maximum number of concurrent submissions.
const SUBMITTING: usize = 16;

/// Number of different values of the parameter `dataset_id` of the small jobs.
const DATASETS: u64 = 1000;

/// Number of pages that are read before a page deep in a list is measured.
const PAGES_TURNED: usize = 20;

/// The largest `n` of `hello_world`.
const LARGEST_STAGE: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub struct ReadsOptions {
    /// The local cloud to run on; its data folder must be empty.
    pub cloud: CloudOptions,
    /// Number of tasks to store: half of them in one job, as far as a job can have that many, the
    /// rest in the others.
    pub tasks: u64,
    pub jobs: u64,
    /// Number of requests to each endpoint and view.
    pub requests: u32,
    /// The longest time that filling the database may take.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    /// Number of jobs, all of them finished.
    pub jobs: u64,
    pub tasks: u64,
    /// Number of tasks that were set to failed; 0 on the embedded database, which has no second
    /// session to do so.
    pub failed: u64,
    /// How long the jobs ran, in seconds.
    pub seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct ReadReport {
    /// The endpoint or view.
    pub read: String,
    /// The first answer, without caches filled by earlier ones.
    pub first_ms: f64,
    /// Half of the answers took no longer.
    pub p50_ms: f64,
    /// 19 of 20 answers took no longer.
    pub p95_ms: f64,
    pub max_ms: f64,
    /// Size of the answer; of a view, the total of its answers.
    pub bytes: usize,
    /// The endpoint reads every task of a job, as documented.
    pub is_exhaustive: bool,
}

/// Fills a local cloud of its own and measures its reads. `progress` is called with the number of
/// finished jobs during filling, `filled` with what is stored then, and `each` with the report on
/// each endpoint.
///
/// # Errors
/// The local cloud did not start, a job did not complete, an endpoint did not answer with 200, or
/// the benchmark was stopped.
pub async fn bench_reads(
    options: ReadsOptions,
    progress: impl Fn(u64),
    filled: impl FnOnce(&Stored),
    mut each: impl FnMut(&ReadReport),
    stop: &Stop,
) -> Result<(Stored, Vec<ReadReport>), BenchError> {
    Bed::lend(options.cloud.clone(), stop, async |bed| {
        let api = Api::new(bed.cloud.base_url())?;
        api.ready().await?;
        let (mut stored, large) = fill(&api, &options, progress).await?;
        if let Some(ledger) = &mut bed.ledger {
            stored.failed = ledger.fail_some(&bed.schema).await?;
        }
        settle(&api, options.timeout).await?;
        filled(&stored);
        let mut reports = Vec::new();
        for read in reads(&api, &large).await? {
            let report = measure(&api, &read, options.requests).await?;
            each(&report);
            reports.push(report);
        }
        Ok((stored, reports))
    })
    .await
}

/// Runs the jobs; returns what is stored then, and the large job's id.
pub(super) async fn fill(
    api: &Api,
    options: &ReadsOptions,
    progress: impl Fn(u64),
) -> Result<(Stored, String), BenchError> {
    let began = Instant::now();
    // Each job has two stages with the same number of tasks.
    let others = options.jobs.saturating_sub(1);
    let stage = options.tasks / 2;
    let (large, small) = match others {
        0 => (stage.clamp(1, LARGEST_STAGE), 0),
        others => {
            let large = (stage / 2).clamp(1, LARGEST_STAGE);
            (large, (stage.saturating_sub(large) / others).max(1))
        }
    };
    let parameters = |n: u64, name: String, over_bus: bool| json!({ "n": n, "name": name, "tasks_per_message": TASKS_PER_MESSAGE, "use_service_bus": over_bus });
    let large_id =
        api.submit("hello_world", &parameters(large, "everyone".to_owned(), false)).await?;
    stream::iter(0..others)
        .map(|number| {
            let mut parameters = parameters(small, format!("team {number}"), number % 2 == 0);
            parameters["labels"] = labels(number);
            parameters["dataset_id"] = json!(format!("d{}", number % DATASETS));
            async move { api.submit("hello_world", &parameters).await }
        })
        .buffer_unordered(SUBMITTING)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    while let Some(open) = open_jobs(api, began, options.timeout).await? {
        progress(options.jobs.saturating_sub(open));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let failed = count(api, "db/jobs?status=failed&limit=100").await?;
    if failed > 0 {
        return Err(BenchError::Job {
            status: "failed".to_owned(),
            seconds: began.elapsed().as_secs_f64(),
            detail: format!("{failed} jobs failed"),
        });
    }
    let stored = Stored {
        jobs: others + 1,
        tasks: 2 * (large + small * others),
        failed: 0,
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok((stored, large_id))
}

/// Labels as uneven as those of users: half of the jobs belong to one team, a quarter to the next one,
/// and so on; two regions of which one has no job of the first team; and one label that is different
/// for each job.
fn labels(number: u64) -> Value {
    // From 1 on, so that the last team has one job.
    let team = (number + 1).trailing_zeros();
    let region = if team == 0 { "north" } else { "south" };
    json!({ "team": format!("team-{team}"), "region": region, "run": format!("run-{number}") })
}

/// Number of jobs that are not finished; `None` once all are.
async fn open_jobs(
    api: &Api,
    began: Instant,
    timeout: Duration,
) -> Result<Option<u64>, BenchError> {
    let mut open = 0;
    for status in ["queued", "processing"] {
        open += count(api, &format!("db/jobs?status={status}&limit=100")).await?;
    }
    if open > 0 && began.elapsed() > timeout {
        return Err(BenchError::Job {
            status: "not finished".to_owned(),
            seconds: began.elapsed().as_secs_f64(),
            detail: format!("{open} jobs are open"),
        });
    }
    Ok((open > 0).then_some(open))
}

/// Number of rows on all pages of a list.
async fn count(api: &Api, list: &str) -> Result<u64, BenchError> {
    let mut found = 0;
    let mut page = api.get(list).await?.0;
    loop {
        found += page.pointer("/query_info/returned").and_then(Value::as_u64).unwrap_or_default();
        match next(&page) {
            Some(cursor) => page = api.get(&format!("{list}&cursor={cursor}")).await?.0,
            None => return Ok(found),
        }
    }
}

fn next(page: &Value) -> Option<&str> {
    page.pointer("/query_info/next_cursor")?.as_str()
}

/// Waits until all finished stages and jobs are in the rollups: the sweep does this in the
/// background, and it is not part of a read.
pub(super) async fn settle(api: &Api, timeout: Duration) -> Result<(), BenchError> {
    let began = Instant::now();
    loop {
        let (comparison, _) = api.get("metrics/comparison").await?;
        let left = |name| comparison["query_info"][name].as_u64();
        if [left("stages_not_counted_yet"), left("jobs_not_counted_yet")] == [Some(0), Some(0)] {
            return Ok(());
        }
        if began.elapsed() > timeout {
            return Err(BenchError::Job {
                status: "completed".to_owned(),
                seconds: began.elapsed().as_secs_f64(),
                detail: "the comparison does not include all stages yet".to_owned(),
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Requests that are measured together: a browser sends the requests of a view at once.
#[derive(Debug)]
struct Read {
    name: String,
    /// In order; each round starts when the one before is complete.
    rounds: Vec<Vec<String>>,
    is_exhaustive: bool,
}

impl Read {
    fn one(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { name: format!("GET /api/{path}"), rounds: vec![vec![path]], is_exhaustive: false }
    }

    fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

/// Every read endpoint, with its filters and deep in its pages, and the dashboard's views.
async fn reads(api: &Api, large: &str) -> Result<Vec<Read>, BenchError> {
    let (newest, _) = api.get("db/jobs?limit=1").await?;
    let small = text(&newest, "/jobs/0/job_id");
    let job = |path: &str, id: &str| Read::one(format!("{path}/{id}"));
    let mut all: Vec<Read> = [
        "jobs/types",
        "db/jobs",
        "db/jobs?limit=100&hours=168",
        "db/jobs?status=completed&limit=100",
        "db/jobs?status=failed",
        "db/jobs?processing_path=service_bus&limit=100",
        "db/jobs?job_type=sb_hello_world&limit=100",
        "db/tasks",
        "db/tasks?limit=100",
        "db/tasks?status=failed&limit=100",
        "db/tasks?status=queued&limit=100",
        "db/tasks?stage=2&limit=100",
        "db/tasks?job_type=sb_hello_world&limit=100",
        "db/stats",
        "db/enums/diagnostic",
        "db/functions/test",
        "db/debug/all?limit=20",
        "metrics/comparison",
        "metrics/comparison?hours=168",
        "metrics/comparison?hours=168&job_type=hello_world",
        "metrics",
        "health",
        "live",
        "openapi.json",
        "monitor/poison?peek=32",
    ]
    .into_iter()
    .map(Read::one)
    .collect();
    all.extend([
        deep(api, "db/jobs?limit=100").await?,
        deep(api, "db/tasks?limit=100").await?,
        deep(api, &format!("db/tasks/{large}?limit=100"))
            .await?
            .named("GET /api/db/tasks/{largest job}?limit=100, deep"),
        job("db/jobs", large).named("GET /api/db/jobs/{largest job}"),
        job("jobs/status", large).named("GET /api/jobs/status/{largest job}"),
        job("jobs/status", &small).named("GET /api/jobs/status/{small job}"),
        job("jobs/audit", &small).named("GET /api/jobs/audit/{small job}"),
        Read {
            is_exhaustive: true,
            ..job("jobs/audit", large).named("GET /api/jobs/audit/{largest job}")
        },
    ]);
    for filter in
        ["limit=100", "status=failed&limit=100", "status=queued&limit=100", "stage=2&limit=100"]
    {
        let name = format!("GET /api/db/tasks/{{largest job}}?{filter}");
        all.push(Read::one(format!("db/tasks/{large}?{filter}")).named(&name));
    }
    all.extend(searches(api, &small).await?);
    let page = page_files(api).await?;
    let views = [
        ("jobs", vec!["jobs/types".to_owned(), "db/jobs?hours=168&limit=50".to_owned()]),
        (
            "largest job",
            vec![
                format!("jobs/status/{large}"),
                format!("db/tasks/{large}?status=failed&limit=50"),
                format!("db/tasks/{large}?limit=50"),
            ],
        ),
        ("compare", vec!["jobs/types".to_owned(), "metrics/comparison?hours=24".to_owned()]),
        ("poison", vec!["monitor/poison?peek=32".to_owned()]),
        ("health", vec!["health".to_owned()]),
    ];
    for (view, asks) in views {
        let mut rounds = page.clone();
        rounds.push(asks);
        all.push(Read {
            name: format!("dashboard, first view: {view}"),
            rounds,
            is_exhaustive: false,
        });
    }
    Ok(all)
}

/// Searches for jobs: for what half of all jobs have and for what few have, for both, for what never
/// occurs together, and for the beginning of a word that few or all jobs have.
async fn searches(api: &Api, small: &str) -> Result<Vec<Read>, BenchError> {
    let mut all: Vec<Read> = [
        "label.team=team-0&limit=100",
        "label.team=team-7&limit=100",
        "label.team=nobody",
        "param.dataset_id=d7&limit=100",
        "label.team=team-0&param.dataset_id=d8&limit=100",
        "label.team=team-1&param.use_service_bus=false&limit=100",
        "label.team=team-0&label.region=south&limit=100",
        "label.team=team-0&label.region=south&param.use_service_bus=true&job_type=hello_world&limit=100",
        "label.team=team-0&status=failed&limit=100",
        "label.team=team-3&status=completed&processing_path=service_bus&limit=100",
        "label.region=south&q=team-0&limit=100",
        "q=run-12&limit=100",
        "q=run-&status=failed&limit=100",
        "q=team-9&limit=100",
        "q=hello&limit=100",
        "q=nothing-like-it",
        "label.team=team-0&from=2000-01-01&to=9999-12-31&limit=100",
        "from=2000-01-01&limit=100",
        "q=team&to=2000-01-01",
    ]
    .into_iter()
    .map(|search| Read::one(format!("db/jobs?{search}")))
    .collect();
    let id: String = small.chars().take(12).collect();
    all.push(Read::one(format!("db/jobs?q={id}")).named("GET /api/db/jobs?q={12 digits of an id}"));
    for search in [
        "label.team=team-0&limit=100",
        "label.team=team-0&label.region=south&limit=100",
        "q=run-&limit=100",
    ] {
        all.push(deep(api, &format!("db/jobs?{search}")).await?);
    }
    Ok(all)
}

/// A page deep in a list.
async fn deep(api: &Api, list: &str) -> Result<Read, BenchError> {
    let mut path = list.to_owned();
    for _ in 0..PAGES_TURNED {
        let (page, _) = api.get(&path).await?;
        let Some(cursor) = next(&page) else { break };
        path = format!("{list}&cursor={cursor}");
    }
    Ok(Read::one(path).named(&format!("GET /api/{list}, deep")))
}

/// The dashboard's page, the files that it names, and the files that those name, in the rounds in
/// which a browser finds them.
async fn page_files(api: &Api) -> Result<Vec<Vec<String>>, BenchError> {
    let mut rounds = vec![vec!["dashboard".to_owned()]];
    let mut known: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut found = BTreeSet::new();
        for path in rounds.iter().rev().take(1).flatten() {
            let body = api.text(path).await?;
            // Addresses in the page, and modules that import one another.
            let named = body
                .split(['"', '\''])
                .filter_map(|word| {
                    word.strip_prefix("dashboard/").or_else(|| word.strip_prefix("./"))
                })
                .filter(|name| [".js", ".css", ".svg"].iter().any(|kind| name.ends_with(kind)))
                .map(|name| format!("dashboard/{name}"));
            found.extend(named.filter(|path| !known.contains(path)));
        }
        if found.is_empty() {
            return Ok(rounds);
        }
        known.extend(found.iter().cloned());
        rounds.push(found.into_iter().collect());
    }
}

async fn measure(api: &Api, read: &Read, requests: u32) -> Result<ReadReport, BenchError> {
    let mut took = Vec::new();
    let mut bytes = 0;
    for _ in 0..requests.max(1) {
        let began = Instant::now();
        bytes = 0;
        for round in &read.rounds {
            let answers = round.iter().map(|path| api.text(path));
            let answers = futures_util::future::try_join_all(answers).await?;
            bytes += answers.iter().map(String::len).sum::<usize>();
        }
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let first_ms = took.first().copied().unwrap_or_default();
    took.sort_by(f64::total_cmp);
    let at = |share| percentile(&took, share);
    Ok(ReadReport {
        read: read.name.clone(),
        first_ms,
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        max_ms: at(1.0),
        bytes,
        is_exhaustive: read.is_exhaustive,
    })
}
