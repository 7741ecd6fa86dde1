//! The lists: jobs newest first, one job in full, tasks by stage and status, page by page, and fast
//! at any size.

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, Probe, TestApp, quick};

async fn get(app: &TestApp, path: &str) -> Value {
    let answer = app.request("GET", path, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

fn texts<'a>(rows: &'a Value, field: &str) -> Vec<&'a str> {
    let rows = rows.as_array().unwrap();
    rows.iter().map(|row| row[field].as_str().unwrap()).collect()
}

/// All rows of a list, page by page; fails if a page has more rows than requested.
async fn all(app: &TestApp, path: &str, rows: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..100 {
        let page = get(app, &format!("{path}{cursor}")).await;
        let of_page = page[rows].as_array().unwrap();
        assert!(of_page.len() as u64 <= page["query_info"]["limit"].as_u64().unwrap());
        assert_eq!(page["query_info"]["returned"], of_page.len());
        found.extend(of_page.iter().cloned());
        match page["query_info"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
    panic!("the list never ends");
}

#[tokio::test]
async fn jobs_are_listed_newest_first_with_filters() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let bus =
            json!({ "n": 1, "name": format!("job {number}"), "use_service_bus": number % 2 == 0 });
        ids.push(app.submitted("hello_world", bus).await);
    }
    ids.push(app.submitted("probe", json!({ "stages": [3], "fails": [1] })).await);
    app.run_dry().await;
    ids.reverse();

    let listed = all(&app, "/api/db/jobs?limit=3", "jobs").await;
    assert_eq!(texts(&Value::from(listed.clone()), "job_id"), ids);
    let failed = &listed[0];
    assert_eq!((&failed["status"], &failed["total"]), (&json!("failed"), &json!(3)));
    assert_eq!((&failed["completed"], &failed["failed"]), (&json!(2), &json!(1)));
    assert!(failed["error_details"].as_str().unwrap().contains("1 of 3"), "{failed}");
    assert!(failed["finished_at"].is_string());

    for (filter, count) in [
        ("status=failed", 1),
        ("status=completed", 7),
        ("job_type=probe", 1),
        ("processing_path=service_bus", 4),
        ("processing_path=queue_storage&job_type=hello_world", 3),
        ("status=queued", 0),
        ("hours=1", 8),
    ] {
        let listed = all(&app, &format!("/api/db/jobs?limit=2&{filter}"), "jobs").await;
        assert_eq!(listed.len(), count, "{filter}");
    }
    sqlx::query("UPDATE jobs SET created_at = created_at - interval '2 hours' WHERE job_id = $1")
        .bind(&ids[7])
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    assert_eq!(all(&app, "/api/db/jobs?hours=1", "jobs").await.len(), 7);
}

#[tokio::test]
async fn the_status_filter_finds_paused_jobs() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let body = json!({ "n": 1, "name": format!("N{number}") });
        ids.push(app.submitted("hello_world", body).await);
    }
    for id in [&ids[1], &ids[3], &ids[4]] {
        assert_eq!(app.control("pause", id).await.body["paused"], true);
    }
    let of = async |filter: &str| -> Vec<String> {
        let listed = all(&app, &format!("/api/db/jobs?limit=2&{filter}"), "jobs").await;
        let id = |job: &Value| job["job_id"].as_str().unwrap().to_owned();
        listed.iter().map(id).collect()
    };
    assert_eq!(of("status=paused").await, [&*ids[4], &*ids[3], &*ids[1]], "page by page");
    assert_eq!(of("status=queued").await.len(), 5);
    assert_eq!(app.control("cancel", &ids[3]).await.status, StatusCode::OK);
    assert_eq!(
        of("status=paused").await,
        [&*ids[4], &*ids[1]],
        "a finished job is no longer paused"
    );
}

#[tokio::test]
async fn a_job_is_shown_with_all_of_its_stages() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    app.run_dry().await;
    let shown = get(&app, &format!("/api/db/jobs/{job_id}")).await;
    assert_eq!(shown["job"]["status"], "completed");
    assert_eq!(shown["job"]["total"], 6);
    assert_eq!(shown["job"]["stage_results"]["2"]["summary"]["replies"], 3);
    assert_eq!(shown["job"]["result_data"]["completed_tasks"], 6);
    assert_eq!(shown["stages"][1]["completed"], 3);
    let unknown =
        app.request("GET", &format!("/api/db/jobs/{}", "0".repeat(64)), Body::empty()).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tasks_are_listed_by_stage_and_status() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let parameters = json!({ "stages": [120, 4], "fails": [7, 70], "tolerates": 5 });
    let job_id = app.submitted("probe", parameters).await;
    let path = format!("/api/db/tasks/{job_id}");
    app.planned().await;
    let open = all(&app, &format!("{path}?limit=50&status=queued"), "tasks").await;
    assert_eq!(open.len(), 120, "planned and sent");
    assert!(all(&app, &format!("{path}?status=completed"), "tasks").await.is_empty());
    app.time_passes(std::time::Duration::from_secs(3600)).await;
    app.deliver("reconcile", "{}").await;
    app.run_until_finished(&job_id).await;

    let tasks = all(&app, &format!("{path}?limit=50"), "tasks").await;
    assert_eq!(tasks.len(), 124);
    let keys: Vec<(u64, &str)> = tasks
        .iter()
        .map(|task| (task["stage"].as_u64().unwrap(), task["task_id"].as_str().unwrap()))
        .collect();
    assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]));

    let failed = get(&app, &format!("{path}?status=failed&stage=1")).await;
    assert_eq!(texts(&failed["tasks"], "task_index"), ["t-7", "t-70"]);
    assert_eq!(failed["query_info"]["next_cursor"], Value::Null);
    let task = &failed["tasks"][0];
    assert!(task["error_details"].as_str().unwrap().contains("told to fail"), "{task}");
    assert_eq!((&task["attempt"], &task["status"]), (&json!(1), &json!("failed")));
    assert_eq!(all(&app, &format!("{path}?limit=1&status=failed"), "tasks").await.len(), 2);
    assert_eq!(all(&app, &format!("{path}?stage=2&status=completed"), "tasks").await.len(), 4);

    let everywhere = all(&app, "/api/db/tasks?limit=100", "tasks").await;
    assert_eq!(everywhere.len(), 124);
    assert_eq!(all(&app, "/api/db/tasks?status=failed", "tasks").await.len(), 2);
    assert_eq!(all(&app, "/api/db/tasks?job_type=hello_world", "tasks").await.len(), 0);
}

#[tokio::test]
async fn a_task_of_an_unsent_batch_is_pending_queue() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    app.planned().await;
    sqlx::query("UPDATE task_batches SET status = 'pending_queue'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    for (status, count) in [("pending_queue", 3), ("queued", 0)] {
        let path = format!("/api/db/tasks/{job_id}?status={status}");
        assert_eq!(all(&app, &path, "tasks").await.len(), count, "{status}");
    }
}

#[tokio::test]
async fn invalid_list_parameters_are_refused() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 1 })).await;
    for (path, said) in [
        ("/api/db/jobs?limit=0", "limit must be a whole number from 1 to 100, not \"0\""),
        ("/api/db/jobs?limit=1,2", "limit must be a whole number from 1 to 100"),
        ("/api/db/jobs?hours=169", "hours must be a whole number from 1 to 168"),
        (
            "/api/db/jobs?status=done",
            "status must be one of queued, paused, processing, completed, failed, cancelled",
        ),
        ("/api/db/jobs?job_type=nope", "job_type must be one of hello_world, sb_hello_world"),
        (
            "/api/db/jobs?processing_path=bus",
            "processing_path must be one of queue_storage, service_bus",
        ),
        ("/api/db/jobs?cursor=zzz", "cursor must be a next_cursor"),
        ("/api/db/tasks?stage=0", "stage must be a whole number from 1 to 100"),
        (&format!("/api/db/tasks/{job_id}?status=lost"), "status must be one of pending_queue"),
        ("/api/db/tasks/xyz", "job_id must be 64 hexadecimal digits"),
    ] {
        let answer = app.request("GET", path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(said), "{path}: {message}");
    }
    let unknown = format!("/api/db/tasks/{}", "0".repeat(64));
    let answer = app.request("GET", &unknown, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_scans_a_bounded_number_of_rows() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 1 })).await;
    app.planned().await;
    let mut connection = app.connection().await;
    for statement in [
        "INSERT INTO tasks (parent_job_id, stage, task_id, ordinal, status, job_type, task_type, task_index, batch_id, parameters)
         SELECT job_id, 1, 'many-' || lpad(n::text, 6, '0'), n, (CASE n WHEN 44000 THEN 'retrying' ELSE 'queued' END)::task_status,
                'hello_world', 'hello_world_greeting', 'many-' || n, job_id || '-s1-b0', '{}'
         FROM jobs, generate_series(1, 45000) n",
        "UPDATE stages SET total = 45001 WHERE stage = 1",
        "ANALYZE tasks",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let mut path = format!("/api/db/tasks/{job_id}?status=retrying");
    let mut looks = Vec::new();
    let mut found = 0;
    while let page = get(&app, &path).await
        && looks.len() < 10
    {
        looks.push(page["query_info"]["scanned"].as_u64().unwrap());
        found += page["tasks"].as_array().unwrap().len();
        let Some(next) = page["query_info"]["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/db/tasks/{job_id}?status=retrying&cursor={next}");
    }
    assert_eq!(found, 1);
    assert!(looks.len() == 3 && looks.iter().all(|look| *look <= 20_000), "{looks:?}");
}

/// Runs a job of 100 tasks and returns the number of heap-only updates of its tasks and the number
/// of all updates. The tasks run one after the other, so that their page always has room: an update
/// that is not heap-only is so because of an index.
async fn heap_only_updates(app: &TestApp) -> (i64, i64) {
    let parameters = json!({ "stages": [100], "fails": [3], "tolerates": 1 });
    let job_id = app.submitted("probe", parameters).await;
    for task in app.planned().await {
        app.deliver("process_queue_task", &task.body).await;
    }
    let mut connection = app.connection().await;
    // A session reports its statistics at the end of a transaction, and at most once a second.
    for _ in 0..50 {
        futures_util::future::join_all((0..8).map(|_| app.status(&job_id))).await;
        let (hot, updated): (i64, i64) = sqlx::query_as(
            "SELECT n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables WHERE schemaname = 'app' AND relname = 'tasks'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if updated >= 200 {
            return (hot, updated);
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("the server never reported the number of updated rows");
}

#[tokio::test]
async fn claims_and_completions_are_heap_only_updates() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let (hot, updated) = heap_only_updates(&app).await;
    // An index on a column that changes at a claim or at a completion would cost half of the updates.
    assert!(hot >= updated * 3 / 4 && hot < updated, "{hot} of {updated} updates were heap-only");
    // An index on the status would cost one entry per update: the test would notice it.
    let other = TestApp::with_probe(Probe::default(), quick()).await;
    sqlx::query("CREATE INDEX ON tasks (status)")
        .execute(&mut other.connection().await)
        .await
        .unwrap();
    let (hot, updated) = heap_only_updates(&other).await;
    assert!(hot * 10 < updated, "{hot} of {updated} updates were heap-only");
}
