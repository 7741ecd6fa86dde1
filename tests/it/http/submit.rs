//! Submitting a job: accepted and refused submissions, and that identical submissions are one job.

use axum::{body::Body, http::StatusCode};
use lastlight_engine::{
    config::Timing,
    model::ProcessingPath,
    store::Database,
    transport::sender::QueueRole,
    workflow::{Controller, Senders},
};
use serde_json::{Value, json};

use crate::harness::{Mailbox, OfThisApp, Probe, TestApp, catalog, database_settings, quick};

const JOB_10: &str = "83b3132f96c4a33d568f94fbc9db66f7870f8ca7a8294b3cbc9326190d8e0f5d";
const JOB_10_OVER_BUS: &str = "5d980689e58d4ec832c1e8d6ad81aefe2a2df1cdf9cb8def939dfeb3ec38c347";

/// Removes the fields that differ between runs.
fn without_request(mut body: Value) -> Value {
    for field in ["request_id", "timestamp"] {
        let value = body.as_object_mut().unwrap().remove(field);
        assert!(value.is_some_and(|value| value.is_string()), "{field} is missing");
    }
    // The id of a message has a part of the trace, which is new for each run of a job.
    if let Some(Value::String(id)) = body.pointer_mut("/queue_info/message_id") {
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!((parts.len(), parts[2].len()), (4, 8), "{id}");
        *id = format!("{}-{}-TRACE-{}", parts[0], parts[1], parts[3]);
    }
    body
}

#[tokio::test]
async fn submit_answers_with_id_defaults_and_queue() {
    let app = TestApp::start().await;
    let answer = app.submit("hello_world", json!({ "n": 10 })).await;
    assert_eq!(answer.status, StatusCode::OK);
    insta::assert_json_snapshot!(without_request(answer.body), @r#"
    {
      "job_id": "83b3132f96c4a33d568f94fbc9db66f7870f8ca7a8294b3cbc9326190d8e0f5d",
      "job_type": "hello_world",
      "message": "The job was created and queued.",
      "parameters": {
        "n": 10,
        "name": "World",
        "use_service_bus": false
      },
      "queue_info": {
        "job_id": "83b3132f96c4a33d568f94fbc9db66f7870f8ca7a8294b3cbc9326190d8e0f5d",
        "message_id": "83b3132f96c4a33d568f94fbc9db66f7870f8ca7a8294b3cbc9326190d8e0f5d-s1-TRACE-0",
        "processing_path": "queue_storage",
        "queue_name": "jobs",
        "queued": true,
        "stage": 1
      },
      "status": "created"
    }
    "#);
}

#[tokio::test]
async fn use_service_bus_selects_path_and_job_id() {
    let app = TestApp::start().await;
    assert_eq!(
        app.submitted("hello_world", json!({ "n": 10, "use_service_bus": true })).await,
        JOB_10_OVER_BUS
    );
    assert_eq!((app.queue.count(QueueRole::Jobs), app.bus.count(QueueRole::Jobs)), (0, 1));
    assert_eq!(
        app.submitted("hello_world", json!({ "n": 10, "use_service_bus": false })).await,
        JOB_10
    );
    assert_eq!((app.queue.count(QueueRole::Jobs), app.bus.count(QueueRole::Jobs)), (1, 1));
}

#[tokio::test]
async fn sb_hello_world_always_uses_service_bus() {
    let app = TestApp::start().await;
    app.submitted("sb_hello_world", json!({ "n": 1 })).await;
    assert_eq!(app.bus.count(QueueRole::Jobs), 1);
    let answer = app.submit("sb_hello_world", json!({ "n": 1, "use_service_bus": false })).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.body["message"].as_str().unwrap().contains("use_service_bus"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn concurrent_identical_submissions_make_one_job() {
    let app = TestApp::start().await;
    let answers = futures_util::future::join_all(
        (0..100).map(|_| app.submit("hello_world", json!({ "n": 3 }))),
    )
    .await;
    let created = answers.iter().filter(|answer| answer.body["status"] == "created").count();
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!((created, app.queue.count(QueueRole::Jobs)), (1, 1));
}

#[tokio::test]
async fn a_repeated_submission_runs_nothing() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    app.run_dry().await;
    let before = app.status(&job_id).await;
    let again =
        app.submit("hello_world", json!({ "name": "World", "n": 3, "dataset_id": null })).await;
    assert_eq!(again.body["job_id"], job_id.as_str());
    assert_eq!(again.body["status"], "completed");
    assert_eq!(again.body["queue_info"]["queued"], false);
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["updatedAt"], before["updatedAt"]);
}

#[tokio::test]
async fn an_invalid_n_is_refused_with_its_range() {
    let app = TestApp::start().await;
    for bad in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("ten"),
        json!(10_000_000),
        json!(null),
        json!([1]),
        json!(true),
    ] {
        let answer = app.submit("hello_world", json!({ "n": bad })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "n = {bad}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains("a whole number from 1 to 1000000"), "n = {bad}: {message}");
        assert_eq!(answer.body["problems"][0]["field"], "n");
        assert!(answer.body["request_id"].is_string() && answer.body["timestamp"].is_string());
    }
    let missing = app.submit("hello_world", json!({})).await;
    assert_eq!(missing.body["message"], "n is missing: a whole number from 1 to 1000000");
}

#[tokio::test]
async fn all_invalid_fields_are_named_at_once() {
    let app = TestApp::start().await;
    let bad = json!({ "n": 0, "name": "", "use_service_bus": "yes", "dataset_id": 7 });
    let answer = app.submit("hello_world", bad).await;
    let fields: Vec<_> =
        answer.body["problems"].as_array().unwrap().iter().map(|p| p["field"].clone()).collect();
    assert_eq!(fields, ["dataset_id", "use_service_bus", "n", "name"]);
}

#[tokio::test]
async fn an_invalid_body_is_refused_with_a_reason() {
    let app = TestApp::start().await;
    let cases: [(&[u8], &str); 7] = [
        (b"", "the body is empty"),
        (b"  \n", "the body is empty"),
        (b"{\"n\": ", "not JSON"),
        (b"[1, 2]", "not an object"),
        (b"\"n\"", "not an object"),
        (b"\xff{}", "not UTF-8"),
        (b"{\"n\": 1, \"big\": 99999999999999999999}", "out of range"),
    ];
    for (body, words) in cases {
        let answer = app.request("POST", "/api/jobs/submit/hello_world", body.to_vec()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{words}");
        assert!(
            answer.body["message"].as_str().unwrap().contains(words),
            "{words}: {}",
            answer.body
        );
    }
    let large = format!("{{\"n\": 1, \"name\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let answer = app.request("POST", "/api/jobs/submit/hello_world", large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body["message"].as_str().unwrap().contains("1048576 bytes"), "{}", answer.body);
}

#[tokio::test]
async fn an_unknown_job_type_is_refused_with_a_list() {
    let app = TestApp::start().await;
    let answer = app.submit("hello_wrold", json!({ "n": 1 })).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["known_job_types"], json!(["hello_world", "sb_hello_world"]));
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths_are_distinct() {
    let app = TestApp::start().await;
    let wrong = app.request("GET", "/api/jobs/submit/hello_world", Body::empty()).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        wrong.body["message"].as_str().unwrap().contains("GET is not allowed"),
        "{}",
        wrong.body
    );
    let wrong = app.request("POST", "/api/health", Body::empty()).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    let unknown = app.request("GET", "/api/jobs", Body::empty()).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_malformed_job_id_is_refused_before_a_lookup() {
    let app = TestApp::start().await;
    for bad in ["1234", &"g".repeat(64), &"a".repeat(65)] {
        let answer = app.request("GET", &format!("/api/jobs/status/{bad}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(answer.body["message"].as_str().unwrap().contains("64 hexadecimal digits"));
    }
    let unknown =
        app.request("GET", &format!("/api/jobs/status/{}", "a".repeat(64)), Body::empty()).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let job_id = app.submitted("hello_world", json!({ "n": 1 })).await;
    assert_eq!(app.status(&job_id.to_uppercase()).await["jobId"], job_id.as_str());
}

#[tokio::test]
async fn submitting_to_a_disabled_path_answers_409() {
    let url = crate::harness::new_database_url().await;
    let database = Database::new(&database_settings(&url));
    database.migrate().await.unwrap();
    let senders = Senders::new(Mailbox::new(ProcessingPath::QueueStorage), None);
    let controller = Controller::new(catalog(), database, senders, Timing::default());
    let app = TestApp {
        router: crate::harness::router_of(&controller, false),
        controller,
        queue: Mailbox::new(ProcessingPath::QueueStorage),
        bus: Mailbox::new(ProcessingPath::ServiceBus),
        url,
    };
    let answer = app.submit("hello_world", json!({ "n": 1, "use_service_bus": true })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(
        answer.body["message"].as_str().unwrap().contains("ENABLE_SERVICE_BUS=true"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn reconcile_sends_jobs_of_a_queue_that_was_down() {
    let app = TestApp::with(catalog(), quick()).await;
    app.bus.set_down(true);
    let answer = app.submit("hello_world", json!({ "n": 2, "use_service_bus": true })).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["queue_info"]["queued"], false);
    assert!(answer.body["message"].as_str().unwrap().contains("is pending"), "{}", answer.body);
    let health = app.request("GET", "/api/health", Body::empty()).await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);

    app.bus.set_down(false);
    app.time_passes(quick().send_grace * 2).await;
    assert_eq!(app.deliver("reconcile", "{}").await.status, StatusCode::OK);
    app.run_dry().await;
    let job_id = answer.body["job_id"].as_str().unwrap();
    assert_eq!(app.status(job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_database_that_is_down_answers_503() {
    let settings = database_settings("postgresql://postgres@127.0.0.1:1/none");
    let settings = lastlight_engine::config::DatabaseSettings {
        acquire_timeout: std::time::Duration::from_millis(200),
        ..settings
    };
    let database = Database::new(&settings);
    database.migrate_in_background();
    let queue = Mailbox::new(ProcessingPath::QueueStorage);
    let controller =
        Controller::new(catalog(), database, Senders::new(queue.clone(), None), Timing::default());
    let app = TestApp {
        router: crate::harness::router_of(&controller, false),
        controller,
        queue,
        bus: Mailbox::new(ProcessingPath::ServiceBus),
        url: String::new(),
    };
    let submitted = app.submit("hello_world", json!({ "n": 1 })).await;
    assert_eq!(submitted.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(submitted.body["error"], "database unavailable");
    // A failure makes the host redeliver the message.
    let message = json!({ "job_id": JOB_10, "job_type": "hello_world", "stage": 1 }).to_string();
    assert_eq!(
        app.deliver("process_queue_job", &message).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let alive = app.request("GET", "/", Body::empty()).await;
    assert_eq!(alive.status, StatusCode::OK);
}

#[tokio::test]
async fn unknown_parameters_get_suggestions() {
    let app = TestApp::start().await;
    let answer = app
        .submit(
            "hello_world",
            json!({ "n": 2, "tasks_per_mesage": 100, "batch": "b-7", "version_id": "1" }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        answer.body["warnings"],
        json!([
            "unknown field \"batch\": it is part of the job's identity and has no effect",
            "unknown field \"tasks_per_mesage\" (did you mean tasks_per_message?): it is part of the job's identity and \
             has no effect",
        ])
    );
    assert_eq!(answer.body["parameters"]["tasks_per_mesage"], 100);
    let answer = app.submit("hello_world", json!({ "n": 2, "x".repeat(3000): 1 })).await;
    assert!(answer.body["warnings"][0].as_str().unwrap().len() < 200);
    let mut many: serde_json::Map<_, _> =
        (0..50).map(|number| (format!("field-{number:02}"), json!(1))).collect();
    many.insert("n".to_owned(), json!(2));
    let answer = app.submit("hello_world", json!(many)).await;
    let warnings = answer.body["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 21);
    assert_eq!(warnings[20], "30 more unknown fields");
    let plain = app.submit("hello_world", json!({ "n": 3 })).await;
    assert!(plain.body.get("warnings").is_none(), "{}", plain.body);
}

#[tokio::test]
async fn a_job_has_1_to_100_stages() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    for (stages, allowed) in [(0, false), (1, true), (100, true), (101, false)] {
        let answer = app.submit("probe", json!({ "stages": vec![0; stages] })).await;
        if allowed {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        } else {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
            let words = format!("probe has {stages} stages with these parameters; 1 to 100");
            assert!(
                answer.body["message"].as_str().unwrap().starts_with(&words),
                "{}",
                answer.body
            );
        }
    }
}
