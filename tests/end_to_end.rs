//! The real binary as the child of the local Functions host, over both paths, on a PostgreSQL
//! server of the local cloud and on a real PostgreSQL, and the commands as users run them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use lastlight_local::{
    CloudOptions, LocalCloud,
    broker::{FaultPlan, service_bus::NewMessage},
    host::{HandlerCommand, LogSink},
};
use lastlight_testing::database::{new_database_url, service};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_lastlight");

/// The time after which an event counts as never happening, however slow the machine is.
const LIMIT: Duration = Duration::from_secs(400);

fn options(data: &Path, database_url: Option<String>) -> CloudOptions {
    CloudOptions {
        app_root: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        data: data.to_owned(),
        port: 0,
        storage_port: 0,
        service_bus_port: 0,
        database_url,
        handler: HandlerCommand::Program {
            program: BINARY.into(),
            arguments: vec!["serve".into()],
        },
        // Short leases and grace periods, so that recovery is fast.
        settings: [
            ("LASTLIGHT_LEASE_SECONDS", "2"),
            ("LASTLIGHT_SEND_GRACE_SECONDS", "1"),
            ("LASTLIGHT_LOST_AFTER_SECONDS", "3"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        log: LogSink::new(|line| eprintln!("{line}")),
    }
}

async fn submit(cloud: &LocalCloud, parameters: Value) -> Value {
    let url = format!("{}/api/jobs/submit/hello_world", cloud.base_url());
    let client = reqwest::Client::new();
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        let answer = client.post(&url).body(parameters.to_string()).send().await.unwrap();
        if answer.status() == 200 {
            return serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        }
        // The database may still be starting.
        assert_eq!(answer.status(), 503);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the handler did not become ready");
}

async fn status(cloud: &LocalCloud, job_id: &str) -> Option<Value> {
    let url = format!("{}/api/jobs/status/{job_id}", cloud.base_url());
    let answer = reqwest::get(&url).await.ok().filter(|answer| answer.status() == 200)?;
    serde_json::from_str(&answer.text().await.ok()?).ok()
}

/// Waits for a job. The sweep, which the timer starts every minute, is started every second.
async fn completed(cloud: &LocalCloud, job_id: &str) -> Value {
    let began = Instant::now();
    let mut last = Value::Null;
    let mut swept = Instant::now();
    while began.elapsed() < LIMIT {
        if let Some(status) = status(cloud, job_id).await {
            if status["status"] == "completed" {
                return status;
            }
            assert_ne!(status["status"], "failed", "{status}");
            last = status;
        }
        if swept.elapsed() > Duration::from_secs(1) {
            swept = Instant::now();
            let url = format!("{}/admin/functions/reconcile", cloud.base_url());
            let _ = reqwest::Client::new().post(url).send().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not completed within {LIMIT:?}: {last}");
}

async fn both_paths_run(database_url: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(options(folder.path(), database_url)).await.unwrap();
    for (use_service_bus, job_id) in [
        (true, "5d980689e58d4ec832c1e8d6ad81aefe2a2df1cdf9cb8def939dfeb3ec38c347"),
        (false, "83b3132f96c4a33d568f94fbc9db66f7870f8ca7a8294b3cbc9326190d8e0f5d"),
    ] {
        let submitted =
            submit(&cloud, json!({ "n": 10, "use_service_bus": use_service_bus })).await;
        assert_eq!(submitted["job_id"], job_id);
        let status = completed(&cloud, job_id).await;
        assert_eq!(status["totalStages"], 2);
        assert_eq!(status["stageResults"]["1"]["summary"]["greetings"], 10);
        assert_eq!(status["stageResults"]["2"]["summary"]["replies"], 10);
        let sent = cloud.storage.messages_put() + cloud.service_bus.messages_sent();
        let again = submit(&cloud, json!({ "n": 10, "use_service_bus": use_service_bus })).await;
        assert_eq!(
            (&again["status"], &again["queue_info"]["queued"]),
            (&json!("completed"), &json!(false))
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            sent,
            cloud.storage.messages_put() + cloud.service_bus.messages_sent(),
            "something ran again"
        );
    }
    let health = reqwest::get(format!("{}/api/health", cloud.base_url())).await.unwrap();
    assert_eq!(health.status(), 200, "{}", health.text().await.unwrap());
    cloud.stop().await.unwrap();
}

#[tokio::test]
async fn both_paths_run_on_a_server_of_its_own() {
    both_paths_run(None).await;
}

#[tokio::test]
async fn both_paths_run_on_a_real_postgresql() {
    both_paths_run(Some(new_database_url().await)).await;
}

#[tokio::test]
async fn a_job_completes_after_its_handler_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let cloud =
        LocalCloud::start(options(folder.path(), Some(new_database_url().await))).await.unwrap();
    let submitted = submit(&cloud, json!({ "n": 3000, "use_service_bus": true })).await;
    let job_id = submitted["job_id"].as_str().unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let pid = cloud.handler_pid().expect("the handler runs");
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let status = completed(&cloud, job_id).await;
    assert_eq!(status["resultData"]["completed_tasks"], 6000);
    assert_ne!(cloud.handler_pid(), Some(pid));
    cloud.stop().await.unwrap();
}

#[tokio::test]
async fn deleting_all_queue_messages_only_delays_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let cloud =
        LocalCloud::start(options(folder.path(), Some(new_database_url().await))).await.unwrap();
    let client = reqwest::Client::new();
    let mut jobs = Vec::new();
    for use_service_bus in [true, false] {
        let job = submit(&cloud, json!({ "n": 1000, "use_service_bus": use_service_bus })).await;
        jobs.push(job["job_id"].as_str().unwrap().to_owned());
    }
    let url = format!("{}/admin/local/messages", cloud.base_url());
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let answer = client.delete(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let queues = answer["deleted_all_messages_of"].as_array().unwrap();
        assert!(queues.contains(&json!("geospatial-tasks")) && queues.contains(&json!("sb-tasks")));
    }
    for job_id in &jobs {
        let status = completed(&cloud, job_id).await;
        assert_eq!(status["resultData"]["completed_tasks"], 2000, "{status}");
    }
    cloud.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_runs_after_a_service_bus_outage() {
    let folder = tempfile::tempdir().unwrap();
    let cloud =
        LocalCloud::start(options(folder.path(), Some(new_database_url().await))).await.unwrap();
    submit(&cloud, json!({ "n": 1 })).await;
    cloud.service_bus_faults.set(FaultPlan { down: true, ..FaultPlan::default() });
    let url = format!("{}/api/jobs/submit/hello_world", cloud.base_url());
    let body = json!({ "n": 10, "use_service_bus": true }).to_string();
    // The answer waits for the service as long as retries may help; a client that does not wait
    // finds the job nevertheless.
    let job_id = "5d980689e58d4ec832c1e8d6ad81aefe2a2df1cdf9cb8def939dfeb3ec38c347";
    let request = reqwest::Client::new().post(&url).body(body).send();
    let is_stored = async {
        while status(&cloud, job_id).await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = request => {}
        () = is_stored => {}
    }
    assert_eq!(cloud.service_bus.messages_sent(), 0);
    cloud.service_bus_faults.set(FaultPlan::default());
    let status = completed(&cloud, job_id).await;
    assert_eq!(status["resultData"]["completed_tasks"], 20);
    cloud.stop().await.unwrap();
}

#[tokio::test]
async fn jobs_survive_a_restart_of_the_local_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(options(folder.path(), None)).await.unwrap();
    let first = submit(&cloud, json!({ "n": 5 })).await;
    completed(&cloud, first["job_id"].as_str().unwrap()).await;
    let second = submit(&cloud, json!({ "n": 2000 })).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    cloud.stop().await.unwrap();
    let in_use = LocalCloud::start(options(folder.path(), None)).await.unwrap();
    let other = LocalCloud::start(options(folder.path(), None)).await;
    assert!(other.err().unwrap().to_string().contains("another local cloud uses"));
    completed(&in_use, second["job_id"].as_str().unwrap()).await;
    let kept = status(&in_use, first["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(kept["status"], "completed");
    in_use.stop().await.unwrap();
}

async fn poison(cloud: &LocalCloud, body: Option<Value>) -> (u16, Value) {
    let url = format!("{}/api/monitor/poison?peek=32", cloud.base_url());
    let client = reqwest::Client::new();
    let request = match body {
        None => client.get(&url),
        Some(body) => client.post(&url).body(body.to_string()),
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// Waits until a dead-letter queue has this number of messages, and returns them.
async fn dead_letters(cloud: &LocalCloud, queue: &str, count: usize) -> Vec<Value> {
    let mut last = Value::Null;
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        let (status, seen) = poison(cloud, None).await;
        assert_eq!(status, 200, "{seen}");
        let details = &seen["queue_details"][queue];
        let shown = details["messages"].as_array().cloned().unwrap_or_default();
        if details["poison_messages"] == count && shown.len() == count {
            return shown;
        }
        last = seen;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{queue} does not come to {count} messages: {last}");
}

#[tokio::test]
async fn bad_messages_are_kept_for_review() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Some(new_database_url().await));
    // As many deliveries as host.json says, without the pauses.
    let setting = "AzureFunctionsJobHost__extensions__queues__visibilityTimeout";
    options.settings.insert(setting.to_owned(), "00:00:00".to_owned());
    let cloud = LocalCloud::start(options).await.unwrap();
    let early = submit(&cloud, json!({ "n": 20, "use_service_bus": false })).await;
    // A task of a job that is not submitted yet.
    let job_id = "5d980689e58d4ec832c1e8d6ad81aefe2a2df1cdf9cb8def939dfeb3ec38c347";
    let unknown = |number: u32| {
        json!({
            "task_id": format!("5d980689-s1-greet-{number}"), "parent_job_id": job_id, "job_type": "hello_world",
            "task_type": "hello_world_greeting", "stage": 1, "task_index": format!("greet-{number}"), "parameters": {},
        })
        .to_string()
    };
    // Different messages in the two queues: the same one twice at once would be counted once.
    let (in_storage, in_bus) = (unknown(3), unknown(4));
    for text in ["this is not JSON", &in_storage] {
        let text = BASE64_STANDARD.encode(text);
        cloud.storage.put("geospatial-tasks", text, Duration::ZERO, None).unwrap();
    }
    for queue in ["sb-tasks", "sb-jobs"] {
        let texts = ["this is not JSON", &in_bus].map(NewMessage::new);
        cloud.service_bus.send(queue, texts.into()).unwrap();
    }
    completed(&cloud, early["job_id"].as_str().unwrap()).await;

    let storage = dead_letters(&cloud, "geospatial-poison", 2).await;
    let bus = dead_letters(&cloud, "sb-poison", 4).await;
    let reason = |message: &Value| message["reason"].as_str().unwrap().to_owned();
    let is_unknown = |message: &&Value| message["message"] == in_storage.as_str();
    for shown in [&storage, &bus] {
        let not_json =
            shown.iter().find(|message| message["message"] == "this is not JSON").unwrap();
        assert!(reason(not_json).contains("not JSON"), "{not_json}");
    }
    let kept = storage.iter().find(is_unknown).unwrap();
    assert!(reason(kept).contains("there is no job"), "{kept}");
    let (_, seen) = poison(&cloud, None).await;
    assert_eq!(
        (&seen["status"], &seen["poison_messages_found"]),
        (&json!("attention_needed"), &json!(6))
    );
    for queue in
        ["geospatial-tasks-poison", "sb-tasks/$DeadLetterQueue", "sb-jobs/$DeadLetterQueue"]
    {
        assert_eq!(seen["queue_details"][queue]["poison_messages"], 0, "{queue}");
    }
    let (status, run) = poison(&cloud, Some(json!({}))).await;
    assert_eq!(
        (status, &run["success"], &run["messages"]),
        (200, &json!(true), &json!([])),
        "{run}"
    );

    // The job is submitted after its message: the redelivered message finds its task done.
    submit(&cloud, json!({ "n": 10, "use_service_bus": true })).await;
    completed(&cloud, job_id).await;
    let redrive = |queue: &str, message: &Value| json!({ "action": "redrive", "queue": queue, "message_id": message["message_id"] });
    let (status, answer) = poison(&cloud, Some(redrive("geospatial-poison", kept))).await;
    assert_eq!((status, &answer["sent_to"]), (200, &json!("geospatial-tasks")), "{answer}");
    let left = dead_letters(&cloud, "geospatial-poison", 1).await;
    assert_eq!(left[0]["message"], "this is not JSON");
    let (status, answer) = poison(&cloud, Some(redrive("geospatial-poison", &left[0]))).await;
    assert_eq!(status, 409, "{answer}");

    let discard = async |queue: &str, message: &Value| {
        let body =
            json!({ "action": "discard", "queue": queue, "message_id": message["message_id"] });
        poison(&cloud, Some(body)).await
    };
    let (status, answer) = discard("geospatial-poison", &left[0]).await;
    assert_eq!((status, &answer["message"]), (200, &left[0]["message"]), "{answer}");
    for left in (1..=4).rev() {
        // Every read and every discard delivers the messages that stay, and a message that was
        // delivered five times gets another id.
        let mut tries = 0;
        loop {
            let message = dead_letters(&cloud, "sb-poison", left).await.remove(0);
            let (status, answer) = discard("sb-poison", &message).await;
            tries += 1;
            if status == 404 && tries < 20 {
                continue;
            }
            assert_eq!((status, &answer["message"]), (200, &message["message"]), "{answer}");
            break;
        }
    }
    let (_, seen) = poison(&cloud, None).await;
    assert_eq!(
        (&seen["status"], &seen["poison_messages_found"]),
        (&json!("healthy"), &json!(0)),
        "{seen}"
    );
    assert_eq!(cloud.storage.counts("geospatial-tasks").unwrap(), 0);
    cloud.stop().await.unwrap();
}

#[tokio::test]
async fn dead_letters_of_unrun_tasks_are_redelivered() {
    const TASKS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let database_url = new_database_url().await;
    let mut without_tasks = options(folder.path(), Some(database_url.clone()));
    for (setting, value) in [
        ("AzureWebJobs.process_sb_task.Disabled", "true"),
        // Unprocessed messages must not be presumed lost meanwhile.
        ("LASTLIGHT_LOST_AFTER_SECONDS", "600"),
    ] {
        without_tasks.settings.insert(setting.to_owned(), value.to_owned());
    }
    let cloud = LocalCloud::start(without_tasks).await.unwrap();
    let submitted = submit(&cloud, json!({ "n": TASKS, "use_service_bus": true })).await;
    let job_id = submitted["job_id"].as_str().unwrap().to_owned();
    let all_active = async || {
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            let counts = cloud.service_bus.counts("sb-tasks").unwrap();
            if (counts.active, counts.dead_letter) == (TASKS, 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?}", cloud.service_bus.counts("sb-tasks"));
    };
    all_active().await;
    for message in cloud.service_bus.receive("sb-tasks", usize::MAX).unwrap() {
        cloud
            .service_bus
            .dead_letter("sb-tasks", &message.lock_token, "MaxDeliveryCountExceeded", "")
            .unwrap();
    }
    all_active().await;
    let (_, seen) = poison(&cloud, None).await;
    assert_eq!(seen["status"], "healthy", "{seen}");
    cloud.stop().await.unwrap();
    let cloud = LocalCloud::start(options(folder.path(), Some(database_url))).await.unwrap();
    let status = completed(&cloud, &job_id).await;
    assert_eq!(status["resultData"]["completed_tasks"], 2 * TASKS);
    cloud.stop().await.unwrap();
}

#[test]
fn the_demo_runs_both_paths_and_prints_json() {
    let output = Command::new(BINARY)
        .args(["demo", "--n", "50", "--json", "--app-root", env!("CARGO_MANIFEST_DIR")])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths: Vec<_> =
        report["paths"].as_array().unwrap().iter().map(|path| path["path"].clone()).collect();
    assert_eq!(paths, ["queue_storage", "service_bus"]);
    for path in report["paths"].as_array().unwrap() {
        assert_eq!(
            (&path["status"], &path["tasks"], &path["messages"]),
            (&json!("completed"), &json!(100), &json!(102))
        );
    }
}

#[test]
fn benchmarks_print_measurements_of_real_work() {
    let bench = |arguments: &[&str]| -> Value {
        let output = Command::new(BINARY)
            .arg("bench")
            .args(arguments)
            .args(["--json", "--app-root", env!("CARGO_MANIFEST_DIR")])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let server = service("LASTLIGHT_TEST_DATABASE_URL");
    let report = bench(&[
        "run",
        "--n",
        "400",
        "--tasks-per-message",
        "1,100",
        "--in-flight",
        "16",
        "--database-url",
        &server,
    ]);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4, "two paths, two numbers of tasks a message");
    for run in runs {
        let figure = |name: &str| run[name].as_f64().unwrap_or_else(|| panic!("{name} in {run}"));
        assert_eq!(run["tasks"], 400);
        let messages = 2.0 + if run["tasks_per_message"] == 1 { 400.0 } else { 4.0 };
        assert_eq!((figure("messages_per_task") * 400.0).round(), messages);
        assert!(figure("commits_per_task") > 0.0 && figure("wal_bytes_per_task") > 100.0);
        assert!(figure("tasks_per_second") > 0.0 && figure("peak_memory_mib") > 1.0);
    }
    let report =
        bench(&["fanout", "--n", "150", "--latency-ms", "2", "--one-by-one-at-most", "20"]);
    let legs = report["fanout"].as_array().unwrap();
    assert_eq!(legs.len(), 4);
    for leg in legs {
        let sent = if leg["way"] == "one_by_one" { 20 } else { 150 };
        assert_eq!((&leg["sent"], &leg["is_scaled"]), (&json!(sent), &json!(sent < 150)));
    }
}

#[test]
fn invalid_arguments_are_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [&[&str]; 9] = [
        &["chaos", "--scenario", "no-such-scenario"],
        &["chaos", "--soak", "--scenario", "1"],
        &["chaos", "--app-root", env!("CARGO_MANIFEST_DIR"), "--postgres-bin", "."],
        &["chaos"],
        &["demo", "--n", "0"],
        &["demo", "--n", "ten"],
        &["local"],
        &["bench", "run", "--tasks-per-message", "1001"],
        &["bench", "fanout", "--n", "1", "--latency-ms", "-1"],
    ];
    for arguments in cases {
        let output =
            Command::new(BINARY).args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn chaos_runs_a_scenario_by_its_seed() {
    let postgres = service("LASTLIGHT_TEST_POSTGRES_BIN");
    let output = Command::new(BINARY)
        .args(["chaos", "--app-root", env!("CARGO_MANIFEST_DIR"), "--postgres-bin", &postgres])
        .args(["--seed", "1", "--scenario", "same,11", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["seed"], &report["passed"]), (&json!(1), &json!(true)));
    let scenarios = report["scenarios"].as_array().unwrap();
    let names: Vec<&Value> = scenarios.iter().map(|scenario| &scenario["name"]).collect();
    assert_eq!(names, ["same", "payload"]);
    assert_eq!((&scenarios[0]["jobs"], &scenarios[0]["runs"]), (&json!(4), &json!(48)));
    let list = Command::new(BINARY).args(["chaos", "--list"]).output().unwrap();
    assert_eq!(String::from_utf8(list.stdout).unwrap().lines().count(), 24);
}
