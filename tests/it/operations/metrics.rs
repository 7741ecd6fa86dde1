//! The metrics: everything that finished is counted once, and the comparison states what it lacks.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::config::Timing;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::harness::{OfThisApp, Probe, TestApp, catalog, quick};

/// The comparison, once it contains everything that finished: a request waits only a moment for
/// measurements, and a loaded machine may need longer for one stage.
async fn comparison(app: &TestApp, query: &str) -> Value {
    for _ in 0..100 {
        let answer = first_comparison(app, query).await;
        let info = &answer["query_info"];
        if info["stages_not_counted_yet"] == 0 && info["jobs_not_counted_yet"] == 0 {
            return answer;
        }
    }
    panic!("what ended is never counted");
}

async fn first_comparison(app: &TestApp, query: &str) -> Value {
    let answer = app.request("GET", &format!("/api/metrics/comparison{query}"), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_finished_job_is_compared_and_counted_once() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    for use_service_bus in [false, true] {
        let parameters = json!({ "stages": [40, 2], "use_service_bus": use_service_bus });
        let job_id = app.submitted("probe", parameters).await;
        assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    }
    let first = comparison(&app, "").await;
    for path in ["queue_storage", "service_bus"] {
        let metrics = &first[path];
        assert_eq!(metrics["jobs_processed"], 1, "{metrics}");
        assert_eq!(metrics["tasks_processed"], 42);
        assert_eq!(metrics["run_ms"]["samples"], 42);
        assert_eq!(metrics["queue_wait_ms"]["samples"], 42);
        assert_eq!(metrics["job_ms"]["samples"], 1);
        // One message per task, and one job message per stage.
        assert_eq!(metrics["messages_per_task"], 1.048);
        assert_eq!(metrics["timeout_rate"], 0.0);
        assert!(metrics["tasks_per_second"].as_f64().unwrap() > 0.0);
        let [p50, p99] = ["p50", "p99"].map(|name| metrics["run_ms"][name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{metrics}");
    }
    // 44 messages for 42 tasks; three operations each at 0.4 per million, two at 0.8.
    assert_eq!(first["queue_storage"]["cost_per_million_tasks"]["amount"], 1.257);
    assert_eq!(first["service_bus"]["cost_per_million_tasks"]["amount"], 1.676);
    assert_eq!(first["service_bus"]["credits_per_task"], 2.095);
    assert_eq!(first["queue_storage"]["credits_per_task"], Value::Null);
    assert_eq!(first["comparison"]["note"], Value::Null);
    assert!(first["comparison"]["latency_improvement"].is_number());
    assert!(first["comparison"]["throughput_improvement"].is_number());
    app.controller.reconcile().await.unwrap();
    let again = comparison(&app, "?hours=168&job_type=probe").await;
    assert_eq!(again["queue_storage"], first["queue_storage"]);
    assert_eq!(again["service_bus"], first["service_bus"]);
}

#[tokio::test]
async fn a_path_with_too_little_data_is_not_compared() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    app.run_until_finished(&job_id).await;
    let answer = comparison(&app, "").await;
    assert_eq!(
        answer["comparison"],
        json!({
            "latency_improvement": null, "throughput_improvement": null, "timeout_reduction": null,
            "note": "not enough data: queue_storage has 3 tasks and 1 jobs, service_bus has 0 tasks and 0 jobs; a \
                     comparison takes 30 tasks and 1 job on each path",
        })
    );
    assert_eq!(answer["service_bus"]["avg_latency_ms"], Value::Null);
    assert_eq!(answer["service_bus"]["run_ms"]["p50"], Value::Null);
}

#[tokio::test]
async fn invalid_query_parameters_are_named() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    for (query, named) in
        [("?hours=0", "hours"), ("?hours=169", "168"), ("?job_type=nothing", "job_type")]
    {
        let answer = app.request("GET", &format!("/api/metrics/comparison{query}"), "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.body["message"].as_str().unwrap().contains(named), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_retried_job_counts_only_its_new_attempts() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [40], "fails": [1, 2] })).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
    let first = comparison(&app, "").await["queue_storage"].clone();
    assert_eq!((&first["tasks_processed"], &first["tasks_failed"]), (&json!(40), &json!(2)));
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::OK);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
    let second = comparison(&app, "").await["queue_storage"].clone();
    // The two retried tasks have failed once more; the others are not counted again.
    assert_eq!((&second["tasks_processed"], &second["tasks_failed"]), (&json!(42), &json!(4)));
    assert_eq!(second["jobs_processed"], 2, "it ended twice");
    assert_eq!(second["job_ms"]["samples"], 1, "and waited for a user in between");
    assert_eq!(second["run_ms"]["samples"], 40);
    let totals = attempts(&app).await;
    let audited = app.audit(&job_id).await["stages"][0]["attempts"].as_i64().unwrap();
    assert_eq!(totals, audited);
}

async fn attempts(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT sum(attempts)::bigint FROM task_rollups WHERE hour > '-infinity'")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn concurrent_measuring_counts_everything_once() {
    let url = crate::harness::new_database_url().await;
    let app = TestApp::on(&url, Probe::default().add_to(catalog()), Timing::default()).await;
    for number in 0..6 {
        let job_id = app.submitted("probe", json!({ "stages": [30, 5], "number": number })).await;
        app.run_until_finished(&job_id).await;
    }
    // Dropped midway, as by a kill, at ever later moments.
    for micros in [200, 1000, 3000, 6000, 10_000] {
        let within = Duration::from_secs(5);
        let _ = tokio::time::timeout(Duration::from_micros(micros), app.controller.measure(within))
            .await;
    }
    let results = futures_util::future::join_all(
        (0..4).map(|_| app.controller.measure(Duration::from_secs(5))),
    )
    .await;
    for result in results {
        result.unwrap();
    }
    let metrics = comparison(&app, "").await["queue_storage"].clone();
    assert_eq!(metrics["tasks_processed"], 6 * 35);
    assert_eq!(metrics["jobs_processed"], 6);
    assert_eq!(metrics["queue_wait_ms"]["samples"], 6 * 35);
    assert_eq!(attempts(&app).await, 6 * 35);
}

#[tokio::test]
async fn a_large_stage_is_reported_as_not_counted_yet() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    app.run_until_finished(&job_id).await;
    let missing = |answer: &Value| {
        ["stages_not_counted_yet", "jobs_not_counted_yet"]
            .map(|name| answer["query_info"][name].clone())
    };
    assert_eq!(missing(&comparison(&app, "").await), [json!(0), json!(0)]);
    // The stage was reopened, and now has many tasks.
    sqlx::query(
        "UPDATE stages SET total = 10001, completed = 10001, advanced_at = now() + interval '1 second'",
    )
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    for _ in 0..2 {
        assert_eq!(missing(&first_comparison(&app, "").await), [json!(1), json!(0)]);
    }
    app.controller.reconcile().await.unwrap();
    assert_eq!(missing(&first_comparison(&app, "").await), [json!(0), json!(0)]);
}

#[tokio::test]
async fn late_jobs_are_timeouts_and_give_no_samples() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [5], "time_limit_ms": 600_000 })).await;
    app.planned().await;
    // As if eleven minutes had passed.
    sqlx::query("UPDATE jobs SET deadline = deadline - interval '11 minutes', created_at = created_at - interval '11 minutes'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    app.controller.reconcile().await.unwrap();
    assert_eq!(app.status(&job_id).await["status"], "failed");
    let metrics = comparison(&app, "").await["queue_storage"].clone();
    assert_eq!(metrics["timeout_rate"], 1.0, "{metrics}");
    assert_eq!(metrics["tasks_processed"], 0);
    assert_eq!(metrics["run_ms"]["samples"], 0);
    assert_eq!(metrics["queue_wait_ms"]["samples"], 0);
    assert_eq!(metrics["cost_per_million_tasks"], Value::Null);
}

/// Totals that differ from the sums of their hours.
async fn wrong_totals(app: &TestApp) -> Vec<String> {
    let mut wrong = Vec::new();
    for (what, hours, totals) in [
        (
            "tasks",
            "SELECT processing_path, job_type, stage, sum(stages), sum(completed), sum(failed), sum(skipped), sum(attempts),
                    sum(retries), sum(messages), round(sum(busy_seconds)::numeric, 3)
             FROM task_rollups WHERE hour > '-infinity' GROUP BY 1, 2, 3",
            "SELECT processing_path, job_type, stage, stages, completed, failed, skipped, attempts, retries, messages,
                    round(busy_seconds::numeric, 3)
             FROM task_rollups WHERE hour = '-infinity'",
        ),
        (
            "jobs",
            "SELECT processing_path, job_type, sum(completed), sum(failed), sum(cancelled), sum(timed_out)
             FROM job_rollups WHERE hour > '-infinity' GROUP BY 1, 2",
            "SELECT processing_path, job_type, completed, failed, cancelled, timed_out
             FROM job_rollups WHERE hour = '-infinity'",
        ),
        (
            "latencies",
            "SELECT processing_path, job_type, stage, metric, bucket, sum(samples), round(sum(total_ms)::numeric, 3)
             FROM latency_rollups WHERE hour > '-infinity' GROUP BY 1, 2, 3, 4, 5",
            "SELECT processing_path, job_type, stage, metric, bucket, samples, round(total_ms::numeric, 3)
             FROM latency_rollups WHERE hour = '-infinity'",
        ),
    ] {
        let sql = format!(
            "WITH h AS ({hours}), t AS ({totals}), wrong AS ((TABLE h EXCEPT TABLE t) UNION ALL (TABLE t EXCEPT TABLE h))
             SELECT (SELECT count(*) FROM wrong), (SELECT count(*) FROM t)"
        );
        let (differing, all): (i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        if differing > 0 || all == 0 {
            wrong.push(format!("{what}: {differing} of {all}"));
        }
    }
    wrong
}

async fn with_two_ended_jobs() -> TestApp {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    for use_service_bus in [false, true] {
        let parameters =
            json!({ "stages": [40, 2], "fails": [3], "use_service_bus": use_service_bus });
        let job_id = app.submitted("probe", parameters).await;
        app.run_until_finished(&job_id).await;
    }
    app.controller.measure(Duration::from_secs(5)).await.unwrap();
    app
}

#[tokio::test]
async fn totals_equal_the_sums_of_all_hours() {
    let app = with_two_ended_jobs().await;
    assert_eq!(wrong_totals(&app).await, [""; 0]);
    let before = comparison(&app, "").await;
    // As a version without totals does, in any order, concurrently: no two block each other.
    let writers = (0..8_i32).map(|number| {
        let app = &app;
        async move {
            let mut connection = app.connection().await;
            for round in 0..10_i32 {
                sqlx::query(
                    "INSERT INTO job_rollups AS r
                         (hour, processing_path, job_type, completed, failed, cancelled, timed_out)
                     SELECT date_trunc('hour', now() - make_interval(days => 40, hours => $1)), 'queue_storage',
                            'type ' || n, 1, $2, 0, 0
                     FROM generate_series(1, 40) AS n
                     ORDER BY CASE WHEN $1 % 2 = 0 THEN n ELSE -n END
                     ON CONFLICT (hour, processing_path, job_type) DO UPDATE
                     SET completed = r.completed + EXCLUDED.completed, failed = r.failed + EXCLUDED.failed",
                )
                .bind(number)
                .bind(round)
                .execute(&mut connection)
                .await
                .unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    assert_eq!(wrong_totals(&app).await, [""; 0]);
    let completed: i64 = sqlx::query_scalar(
        "SELECT completed FROM job_rollups WHERE hour = '-infinity' AND job_type = 'type 7'",
    )
    .fetch_one(&mut app.connection().await)
    .await
    .unwrap();
    assert_eq!(completed, 80);
    // The comparison reads hours: it includes neither totals nor old hours.
    let after = comparison(&app, "").await;
    assert_eq!(after["queue_storage"], before["queue_storage"]);
}

#[tokio::test]
async fn the_migration_adds_existing_hours_to_totals() {
    let app = with_two_ended_jobs().await;
    let mut connection = app.connection().await;
    // The state before the migration.
    for undo in [
        "DROP FUNCTION add_to_task_totals, add_to_job_totals, add_to_latency_totals CASCADE",
        "DELETE FROM task_rollups WHERE hour = '-infinity'",
        "DELETE FROM job_rollups WHERE hour = '-infinity'",
        "DELETE FROM latency_rollups WHERE hour = '-infinity'",
        "DELETE FROM _sqlx_migrations WHERE version = 10",
    ] {
        connection.execute(undo).await.unwrap();
    }
    let app = TestApp::on(&app.url, Probe::default().add_to(catalog()), quick()).await;
    assert_eq!(wrong_totals(&app).await, [""; 0]);
    let job_id = app.submitted("probe", json!({ "stages": [40, 2], "n": 2 })).await;
    app.run_until_finished(&job_id).await;
    app.controller.measure(Duration::from_secs(5)).await.unwrap();
    assert_eq!(wrong_totals(&app).await, [""; 0]);
    // Two jobs whose first stage failed, and one that completed.
    assert_eq!(attempts(&app).await, 2 * 40 + 42);
}
