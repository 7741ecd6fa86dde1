//! `GET /api/metrics`: the guarantees for a Prometheus server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use lastlight_testing::{archive::archive_in, blobs::NewContainer};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt;

use crate::harness::{
    OfThisApp, Probe, TestApp, TestWorker, catalog, new_database_url, quick, until,
};

async fn scrape(app: &TestApp) -> String {
    let request = Request::get("/api/metrics").body(Body::empty()).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let format = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(format, "text/plain; version=0.0.4; charset=utf-8");
    let text = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    without_process(&String::from_utf8(text.into()).unwrap())
}

/// The metrics that are the same whichever process answers.
const SHARED: [&str; 22] = [
    "lastlight_build_info",
    "lastlight_figures_up",
    "lastlight_instances",
    "lastlight_job_seconds",
    "lastlight_jobs_",
    "lastlight_newest_sweep_",
    "lastlight_open_",
    "lastlight_owed",
    "lastlight_queue_messages",
    "lastlight_service_bus_credits_total",
    "lastlight_set_aside_messages",
    "lastlight_stage_",
    "lastlight_task_attempts_total",
    "lastlight_task_queue_wait_seconds",
    "lastlight_task_retries_total",
    "lastlight_task_run_seconds",
    "lastlight_tasks_ended_total",
    "lastlight_unarchived_",
    "lastlight_undelivered_notifications",
    "lastlight_up",
    "lastlight_worker_",
    "lastlight_workers",
];

/// The text without the name of the process, which every per-process metric must have as a label.
fn without_process(text: &str) -> String {
    let (_, name) = text.split_once("{process=\"").expect("the process has a name");
    let (name, _) = name.split_once('"').unwrap();
    assert_eq!(name.len(), 8);
    let label = format!("process=\"{name}\"");
    let own = text.lines().filter(|line| !line.starts_with('#') && !line.contains(&label));
    for line in own {
        assert!(SHARED.iter().any(|name| line.starts_with(name)), "{line}");
    }
    text.replace(&format!("{label},"), "").replace(&format!("{{{label}}}"), "")
}

/// The value of each sample, by its name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            (sample, value.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_job_is_counted_in_messages_and_answers() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.controller.reconcile().await.unwrap();
    let text = scrape(&app).await;
    let samples = samples(&text);
    // Two stages of three tasks, and one job message for each stage.
    assert_eq!(samples["lastlight_messages_sent_total{path=\"queue_storage\"}"], 8.0);
    assert_eq!(samples["lastlight_messages_sent_total{path=\"service_bus\"}"], 0.0);
    for kind in ["claims", "completions"] {
        let of = |what: &str, le: &str| {
            samples[&*format!("lastlight_group_commit_requests_{what}{{kind=\"{kind}\"{le}}}")]
        };
        assert_eq!(of("sum", ""), 6.0, "{kind}");
        assert!((2.0..=6.0).contains(&of("count", "")), "{kind}");
        assert_eq!(of("bucket", ",le=\"+Inf\""), of("count", ""), "{kind}");
        assert_eq!(of("bucket", ",le=\"128\""), of("count", ""), "{kind}");
    }
    assert_eq!(
        samples["lastlight_answers_total{route=\"/process_queue_task\",status=\"2xx\"}"],
        6.0
    );
    assert_eq!(
        samples["lastlight_answers_total{route=\"/api/jobs/submit/{job_type}\",status=\"2xx\"}"],
        1.0
    );
    assert_eq!(samples["lastlight_tasks_running"], 0.0);
    assert_eq!(samples["lastlight_sweeps_total"], 1.0);
    assert!(samples["lastlight_last_sweep_timestamp_seconds"] > 1.7e9);
    assert_eq!(samples["lastlight_up{component=\"all\"}"], 1.0);
}

#[tokio::test]
async fn an_unreachable_queue_hides_no_other_metric() {
    let app = TestApp::start().await;
    app.queue.put_aside(QueueRole::Tasks, "odd");
    app.bus.set_down(true);
    let text = scrape(&app).await;
    let samples = samples(&text);
    assert_eq!(samples["lastlight_up{component=\"all\"}"], 0.0);
    assert_eq!(samples["lastlight_up{component=\"database\"}"], 1.0);
    assert_eq!(samples["lastlight_up{component=\"queue_storage:tasks\"}"], 1.0);
    assert_eq!(samples["lastlight_up{component=\"service_bus:tasks\"}"], 0.0);
    assert_eq!(
        samples["lastlight_set_aside_messages{path=\"queue_storage\",queue=\"tasks-poison\"}"],
        1.0
    );
    assert!(!text.contains("queue=\"tasks/$DeadLetterQueue\""), "{text}");
}

#[tokio::test]
async fn failed_sends_are_counted_by_reason() {
    let app = TestApp::start().await;
    app.queue.set_down(true);
    app.submitted("hello_world", json!({ "n": 1 })).await;
    let text = scrape(&app).await;
    let failed = "lastlight_send_failures_total{path=\"queue_storage\",reason=\"unavailable\"}";
    assert_eq!(samples(&text)[failed], 1.0, "{text}");
}

#[tokio::test]
async fn unknown_paths_create_no_time_series() {
    let app = TestApp::start().await;
    for path in ["/api/a", "/api/b/c", "/api/jobs/status/x", "/api/jobs/status/y", "/nothing"] {
        app.request("GET", path, Body::empty()).await;
    }
    let text = scrape(&app).await;
    let answers: Vec<&str> =
        text.lines().filter(|line| line.starts_with("lastlight_answers_total{")).collect();
    insta::assert_snapshot!(answers.join("\n"), @r#"
    lastlight_answers_total{route="/api/jobs/status/{job_id}",status="4xx"} 2
    lastlight_answers_total{route="/{function}",status="4xx"} 1
    lastlight_answers_total{route="none",status="4xx"} 2
    "#);
}

/// The names of the metrics that a file mentions.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.starts_with("lastlight_"))
        .map(str::to_owned)
        .collect()
}

/// A scrape in which every metric has a sample.
async fn full_scrape() -> String {
    let archive = archive_in(&NewContainer::create().await);
    let catalog = Probe::default().add_to(catalog());
    let app = TestApp::archiving(&new_database_url().await, catalog, quick(), archive).await;
    for use_service_bus in [false, true] {
        let parameters = json!({ "stages": [3], "use_service_bus": use_service_bus });
        let job_id = app.submitted("probe", parameters).await;
        app.run_until_finished(&job_id).await;
    }
    let at_workers = json!({ "n": 1, "use_workers": true });
    app.submitted("hello_world", at_workers).await;
    app.run_dry().await;
    let worker = TestWorker::of(&app, &["hello_world_greeting"]);
    let greeting = worker.claim(1).await.remove(0);
    let outcome =
        json!({ "outcome": "completed", "result": { "greeting": "Hello", "task_number": 0 } });
    assert_eq!(worker.ends(&greeting, outcome).await, "counted");
    app.run_dry().await;
    app.submitted("hello_world", json!({ "n": 1 })).await;
    app.request("GET", "/api/health", Body::empty()).await;
    app.controller.reconcile().await.unwrap();
    scrape(&app).await
}

#[tokio::test]
async fn metrics_of_the_dashboard_and_alerts_exist() {
    let text = full_scrape().await;
    let samples: BTreeSet<String> = samples(&text)
        .into_keys()
        .map(|sample| sample.split('{').next().unwrap().to_owned())
        .collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana");
    let dashboard = std::fs::read_to_string(root.join("lastlight.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 20);
    for file in ["lastlight.json", "alerts.yml"] {
        let names = named(&std::fs::read_to_string(root.join(file)).unwrap());
        assert!(names.len() > 10, "{file} names {names:?}");
        for name in names {
            assert!(samples.contains(&name), "{file}: there is no {name}");
        }
    }
}

/// Each metric's type and labels, without the labels that Prometheus adds to histograms and the
/// label of per-process metrics.
fn described(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut metrics = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let kind;
            (name, kind) = rest.split_once(' ').unwrap();
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let (false, Some((_, labels))) = (line.starts_with('#'), line.split_once('{')) {
            let (labels, _) = labels.rsplit_once('}').unwrap();
            // None of these values contains a comma or a quote.
            let names = labels.split(',').map(|label| label.split_once('=').unwrap().0);
            let (_, all) = metrics.get_mut(name).unwrap();
            all.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    metrics
}

#[tokio::test]
async fn metrics_md_matches_the_exported_metrics() {
    let text = full_scrape().await;
    let page = include_str!("../../../docs/METRICS.md");
    let listed: BTreeMap<String, (String, BTreeSet<String>)> = page
        .lines()
        .filter(|line| line.starts_with("| `lastlight_"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").filter(|label| !label.is_empty());
            let labels = labels.map(str::to_owned).collect();
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        })
        .collect();
    assert_eq!(described(&text), listed);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let plain = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(listed.contains_key(plain) || listed.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn open_unsent_and_paused_work_is_exported() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let of_probe = |stage: u8, status: &str| {
        format!(
            "{{path=\"queue_storage\",job_type=\"probe\",stage=\"{stage}\",status=\"{status}\"}}"
        )
    };
    let waiting = app.submitted("probe", json!({ "stages": [7], "number": 1 })).await;
    let text = scrape(&app).await;
    let before = samples(&text);
    assert_eq!(before[&*format!("lastlight_open_jobs{}", of_probe(1, "queued"))], 1.0);
    assert_eq!(before["lastlight_queue_messages{path=\"queue_storage\",queue=\"jobs\"}"], 1.0);
    assert!(!text.contains("lastlight_newest_sweep_timestamp_seconds"));
    // Before the first sweep too, so that its findings appear as an increase.
    assert_eq!(before["lastlight_sweep_findings_total{what=\"dead_attempts_resent\"}"], 0.0);

    // The job is planned, and its messages cannot be sent.
    app.queue.set_down(true);
    for message in app.queue.take(QueueRole::Jobs) {
        app.deliver("process_queue_job", &message.body).await;
    }
    app.queue.set_down(false);
    sqlx::query("UPDATE jobs SET updated_at = updated_at - interval '2 hours'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    sqlx::query("UPDATE stages SET updated_at = updated_at - interval '1 hour'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    app.controller.report_in_background();
    let text = loop {
        let text = scrape(&app).await;
        if text.contains("lastlight_instances 1\n") {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let planned = samples(&text);
    let sample =
        |name: &str, status: &str| planned[&*format!("lastlight_{name}{}", of_probe(1, status))];
    assert_eq!(sample("open_jobs", "processing"), 1.0);
    let still = sample("open_job_still_seconds", "processing");
    assert!((3600.0..3700.0).contains(&still), "{still}");
    assert_eq!(sample("open_stage_tasks", "open"), 7.0);
    assert_eq!(sample("open_stage_tasks", "completed"), 0.0);
    assert_eq!(planned["lastlight_owed{what=\"task_batches\"}"], 1.0);
    assert_eq!(planned["lastlight_owed{what=\"job_messages\"}"], 0.0);
    assert!(planned["lastlight_owed_oldest_seconds"] > 0.0);
    assert_eq!(planned["lastlight_instances_tasks_running"], 0.0);

    // The unsent messages are sent after their grace period.
    app.time_passes(quick().send_grace * 2).await;
    app.controller.reconcile().await.unwrap();
    app.run_until_finished(&waiting).await;
    let paused = app.submitted("probe", json!({ "stages": [2, 2], "number": 2 })).await;
    assert_eq!(app.control("pause", &paused).await.status, StatusCode::OK);
    app.run_dry().await;
    let text = scrape(&app).await;
    let samples = samples(&text);
    let open: Vec<&&str> =
        samples.keys().filter(|sample| sample.starts_with("lastlight_open_jobs{")).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(open[0].contains("status=\"paused\""), "{open:?}");
    assert!(samples["lastlight_newest_sweep_timestamp_seconds"] > 1.7e9);
    assert_eq!(samples["lastlight_owed{what=\"task_batches\"}"], 0.0);
}

#[tokio::test]
async fn every_process_exports_the_same_finished_work() {
    let url = new_database_url().await;
    let catalog = || Probe::default().add_to(catalog());
    let app = TestApp::on(&url, catalog(), quick()).await;
    for use_service_bus in [false, true] {
        let parameters =
            json!({ "stages": [40, 2], "fails": [1], "use_service_bus": use_service_bus });
        let job_id = app.submitted("probe", parameters).await;
        app.run_until_finished(&job_id).await;
    }
    app.controller.reconcile().await.unwrap();
    let other = TestApp::on(&url, catalog(), quick()).await;
    let (text, elsewhere) = (scrape(&app).await, scrape(&other).await);
    let (samples, elsewhere) = (samples(&text), samples(&elsewhere));
    for path in ["queue_storage", "service_bus"] {
        let of = |name: &str, more: &str| {
            let sample = format!("lastlight_{name}{{path=\"{path}\",job_type=\"probe\"{more}}}");
            assert_eq!(samples.get(&*sample), elsewhere.get(&*sample), "{sample}");
            *samples.get(&*sample).unwrap_or_else(|| panic!("no {sample} in {text}"))
        };
        assert_eq!(of("jobs_ended_total", ",outcome=\"failed\""), 1.0);
        assert_eq!(of("jobs_ended_total", ",outcome=\"completed\""), 0.0);
        assert_eq!(of("jobs_timed_out_total", ""), 0.0);
        let first = ",stage=\"1\"";
        assert_eq!(of("tasks_ended_total", ",stage=\"1\",outcome=\"failed\""), 1.0);
        assert_eq!(of("tasks_ended_total", ",stage=\"1\",outcome=\"completed\""), 39.0);
        assert_eq!(of("stage_messages_total", first), 41.0);
        assert_eq!(of("task_attempts_total", first), 40.0);
        assert_eq!(of("task_retries_total", first), 0.0);
        assert!(of("stage_busy_seconds_total", first) > 0.0);
        for (name, count, more) in [
            ("task_run_seconds", 40.0, first),
            ("task_queue_wait_seconds", 40.0, first),
            ("job_seconds", 1.0, ""),
        ] {
            assert_eq!(of(&format!("{name}_count"), more), count, "{name}");
            assert_eq!(of(&format!("{name}_bucket"), &format!("{more},le=\"+Inf\"")), count);
            assert_eq!(of(&format!("{name}_bucket"), &format!("{more},le=\"65.536\"")), count);
            let sum = of(&format!("{name}_sum"), more);
            assert!((0.0..60.0).contains(&sum), "{name}: {sum} s");
        }
    }
    assert_eq!(
        samples["lastlight_service_bus_credits_total{job_type=\"probe\",stage=\"1\"}"],
        82.0
    );
}

/// A connection to the database that can be blocked: data that is sent then waits, and no
/// connection breaks.
struct Way {
    url: String,
    is_open: watch::Sender<bool>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let real = url::Url::parse(url).unwrap();
        let server = format!("{}:{}", real.host_str().unwrap(), real.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = real;
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (is_open, opened) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                let ((from_near, to_near), (from_far, to_far)) =
                    (near.into_split(), far.into_split());
                for (mut from, mut to) in [(from_near, to_far), (from_far, to_near)] {
                    let mut opened = opened.clone();
                    tokio::spawn(async move {
                        let mut some = [0; 8192];
                        while let Ok(length @ 1..) = from.read(&mut some).await {
                            let _ = opened.wait_for(|is_open| *is_open).await;
                            if to.write_all(&some[..length]).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        });
        Self { url: url.to_string(), is_open }
    }
}

#[tokio::test]
async fn a_scrape_survives_hanging_database_and_queues() {
    let way = Way::to(&new_database_url().await).await;
    let app = TestApp::on(&way.url, catalog(), Timing::default()).await;
    app.submitted("hello_world", json!({ "n": 1 })).await;
    app.bus.set_hangs(true);
    way.is_open.send_replace(false);
    // More requests than there are connections.
    for _ in 0..3 {
        let texts = futures_util::future::join_all((0..4).map(|_| scrape(&app))).await;
        let samples = samples(&texts[0]);
        for component in
            ["all", "database", "schema", "outbox", "service_bus:tasks", "service_bus:jobs"]
        {
            let sample = format!("lastlight_up{{component=\"{component}\"}}");
            assert_eq!(samples[&*sample], 0.0, "{component}");
        }
        assert_eq!(samples["lastlight_up{component=\"queue_storage:tasks\"}"], 1.0);
        for part in ["totals", "open_work", "set_aside"] {
            let sample = format!("lastlight_figures_up{{part=\"{part}\"}}");
            assert_eq!(samples[&*sample], 0.0, "{part}");
        }
        assert_eq!(samples["lastlight_queue_messages{path=\"queue_storage\",queue=\"jobs\"}"], 1.0);
        assert_eq!(samples["lastlight_tasks_running"], 0.0);
        for absent in ["lastlight_open_jobs{", "lastlight_jobs_ended", "queue=\"sb-poison\""] {
            assert!(!texts[0].contains(absent), "{absent}");
        }
    }
    app.bus.set_hangs(false);
    way.is_open.send_replace(true);
    until("it comes back", async || {
        let is_up = samples(&scrape(&app).await)["lastlight_up{component=\"all\"}"] == 1.0;
        is_up.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_locked_table_hides_only_its_own_metrics() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    app.run_until_finished(&job_id).await;
    app.controller.reconcile().await.unwrap();
    let mut meddler = app.connection().await;
    let mut lock = meddler.begin().await.unwrap();
    lock.execute("LOCK TABLE stages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let text = scrape(&app).await;
    let samples = samples(&text);
    assert_eq!(samples["lastlight_figures_up{part=\"open_work\"}"], 0.0);
    assert_eq!(samples["lastlight_figures_up{part=\"totals\"}"], 1.0);
    assert_eq!(samples["lastlight_up{component=\"all\"}"], 1.0);
    let completed = "lastlight_jobs_ended_total{path=\"queue_storage\",job_type=\"hello_world\",outcome=\"completed\"}";
    assert_eq!(samples[completed], 1.0);
    assert!(!text.contains("lastlight_open_jobs{"));
    let mut watcher = app.connection().await;
    until("the server has ended the cancelled statements", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut watcher)
        .await
        .unwrap();
        (waiting == 0).then_some(())
    })
    .await;
}

#[test]
fn the_runbook_covers_exactly_the_alerts() {
    let page = include_str!("../../../docs/howto/alerts.md");
    let rules = include_str!("../../../docs/grafana/alerts.yml");
    let names = |text: &'static str, before: &str| -> BTreeSet<&'static str> {
        text.lines().filter_map(|line| line.trim_start().strip_prefix(before)).collect()
    };
    let alerts = names(rules, "- alert: ");
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(names(page, "## "), alerts);
}
