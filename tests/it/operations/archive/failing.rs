//! A container that is missing, read-only, full or away: nothing is deleted, the rest of the sweep goes on, and once it can be
//! written the jobs are archived.

use axum::body::Body;
use lastlight_engine::{config::DEVELOPMENT_ACCOUNT, job::Backoff};
use lastlight_testing::{
    archive::{BlobProxy, BlobRequest, Fate, archive_with, connection},
    blobs::{NewContainer, account_signature},
    database::service,
};
use serde_json::{Value, json};

use super::{age, delete, ended, rows_of, sweep};
use crate::harness::{Probe, TestApp, catalog, new_database_url, quick, until};
use std::time::Duration;

async fn app_on(archive: lastlight_engine::archive::ArchiveStorage) -> TestApp {
    let timing = lastlight_engine::config::Timing {
        // Longer than the test, so that a second attempt is seen.
        backoff: Backoff { first: Duration::from_secs(600), largest: Duration::from_secs(600) },
        ..quick()
    };
    let catalog = Probe::default().add_to(catalog());
    TestApp::archiving(&new_database_url().await, catalog, timing, archive).await
}

async fn health(app: &TestApp) -> Value {
    let answer = app.request("GET", "/api/health", Body::empty()).await;
    assert_eq!(
        answer.status, 200,
        "an archive that fails is no reason for a restart: {}",
        answer.body
    );
    assert_eq!(answer.body["status"], "healthy");
    answer.body["components"]["archive"].clone()
}

async fn metric(app: &TestApp, name: &str) -> f64 {
    use tower::ServiceExt;
    let request = axum::http::Request::builder().uri("/api/metrics").body(Body::empty()).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    // Without the label of the process, which comes first.
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let without = |line: &str| match line.split_once("process=\"") {
        Some((before, rest)) => {
            let rest = rest.split_once('"').unwrap().1.trim_start_matches(',');
            format!("{before}{rest}").replace("{}", "")
        }
        None => line.to_owned(),
    };
    let found: Vec<String> = lines.map(without).collect();
    let value = found.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).parse().unwrap()
}

/// Three jobs that are due, with a container that fails: none is deleted, one attempt is made, all of it is told.
async fn keeps_its_jobs(app: &TestApp, problem: &str, remedy: &str, reason: &str) -> Vec<String> {
    let mut jobs = Vec::new();
    for number in 0..3 {
        jobs.push(ended(app, "probe", json!({ "stages": [4], "number": number })).await);
    }
    sweep(app).await;
    age(app).await;
    let mut before = Vec::new();
    for job_id in &jobs {
        before.push(rows_of(app, job_id).await);
    }
    for _ in 0..3 {
        let report = sweep(app).await;
        assert_eq!((report.jobs_archived, report.jobs_purged, report.tasks_purged), (0, 0, 0));
    }
    for (job_id, before) in jobs.iter().zip(before) {
        // And the event that they are marked.
        assert_eq!(rows_of(app, job_id).await, before + 1);
    }
    let archive = health(app).await;
    assert!(archive["problem"].as_str().unwrap().contains(problem), "{archive}");
    assert!(archive["remedy"].as_str().unwrap().contains(remedy), "{archive}");
    assert_eq!(archive["waiting_jobs"], 3, "{archive}");
    let name = format!("lastlight_archive_failures_total{{reason=\"{reason}\"}}");
    assert_eq!(metric(app, &name).await, 1.0, "one attempt for all jobs and sweeps");
    assert_eq!(metric(app, "lastlight_unarchived_jobs").await, 3.0);
    // The rest of the sweep goes on: a message that was lost is sent again.
    let lost = app.submitted("probe", json!({ "stages": [1], "number": 99 })).await;
    app.queue.take(lastlight_engine::transport::sender::QueueRole::Jobs);
    assert_eq!(app.sweep_until_finished(&lost).await["status"], "completed");
    let answer = delete(app, &lost).await;
    assert_eq!((answer.status.as_u16(), &answer.body["is_deleted"]), (200, &json!(false)));
    let said = answer.body["message"].as_str().unwrap();
    assert!(said.contains("deleted once it is archived") && said.contains(problem), "{said}");
    assert_eq!(answer.body["tasks_deleted"], 0);
    let again = app.request("POST", &format!("/api/jobs/resubmit/{lost}"), Body::empty()).await;
    assert_eq!(again.status, 409, "it is marked for deletion: {}", again.body);
    jobs.push(lost);
    jobs
}

#[tokio::test]
async fn nothing_is_deleted_while_the_container_is_missing() {
    let archive = archive_with(&connection(&service("AZURITE_BLOB_ENDPOINT")), "no-such-container");
    let app = app_on(archive).await;
    keeps_its_jobs(&app, "no-such-container does not exist", "create the container", "missing")
        .await;
}

#[tokio::test]
async fn nothing_is_deleted_while_the_container_is_read_only() {
    let container = NewContainer::create().await;
    let endpoint = service("AZURITE_BLOB_ENDPOINT");
    let read_only = format!(
        "SharedAccessSignature={};BlobEndpoint={endpoint};QueueEndpoint={endpoint}",
        account_signature("rl")
    );
    let app = app_on(archive_with(&read_only, &container.name)).await;
    keeps_its_jobs(
        &app,
        "may not be written: status 403",
        "Storage Blob Data Contributor",
        "forbidden",
    )
    .await;
}

#[tokio::test]
async fn nothing_is_deleted_while_the_key_is_wrong() {
    let container = NewContainer::create().await;
    let endpoint = service("AZURITE_BLOB_ENDPOINT");
    let wrong = format!(
        "AccountName={DEVELOPMENT_ACCOUNT};AccountKey=bm90IHRoZSBrZXk=;BlobEndpoint={endpoint};QueueEndpoint={endpoint}"
    );
    let app = app_on(archive_with(&wrong, &container.name)).await;
    keeps_its_jobs(&app, "status 403", "Storage Blob Data Contributor", "forbidden").await;
}

#[tokio::test]
async fn nothing_is_deleted_while_the_account_is_full_and_all_is_once_it_has_room() {
    for (status, code) in [(507, "InsufficientStorage"), (409, "AccountCapacityExceeded")] {
        let container = NewContainer::create().await;
        let proxy = BlobProxy::start().await;
        proxy.rule(move |wanted, _| match wanted {
            BlobRequest::Stage => Fate::Answer(status, code),
            _ => Fate::Pass,
        });
        let app = app_on(proxy.archive(&container.name)).await;
        let jobs = keeps_its_jobs(&app, "has no room", "make room", "full").await;
        assert_eq!(proxy.seen(BlobRequest::Stage).len(), 1, "a full account is asked once");
        assert!(container.blobs("").await.is_empty());
        // Another process, which does not wait, archives what this one could not.
        proxy.rule(|_, _| Fate::Pass);
        let catalog = Probe::default().add_to(catalog());
        let other =
            TestApp::archiving(&app.url, catalog, quick(), proxy.archive(&container.name)).await;
        let report = sweep(&other).await;
        assert_eq!((report.jobs_archived, report.jobs_purged), (4, 4));
        for job_id in &jobs {
            assert_eq!(rows_of(&app, job_id).await, 0);
            assert_eq!(container.blobs(job_id).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_storage_is_away() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let endpoint = format!("http://{address}/{DEVELOPMENT_ACCOUNT}");
    let app = app_on(archive_with(&connection(&endpoint), "archive")).await;
    keeps_its_jobs(&app, "cannot be asked", "check the storage account", "unavailable").await;
}

#[tokio::test]
async fn a_failure_that_passes_delays_and_loses_nothing() {
    let container = NewContainer::create().await;
    let proxy = BlobProxy::start().await;
    let catalog = Probe::default().add_to(catalog());
    let archive = proxy.archive(&container.name);
    let app = TestApp::archiving(&new_database_url().await, catalog, quick(), archive).await;
    let job_id = ended(&app, "probe", json!({ "stages": [4] })).await;
    // More failures than an attempt tolerates, then every second request fails for a moment.
    proxy.rule(|_, number| match number {
        0..7 => Fate::Answer(500, "InternalError"),
        number if number % 2 == 0 => Fate::Answer(503, "ServerBusy"),
        _ => Fate::Pass,
    });
    assert_eq!(delete(&app, &job_id).await.body["is_deleted"], false);
    assert!(rows_of(&app, &job_id).await > 0);
    until("the job is archived and deleted", async || {
        sweep(&app).await;
        (rows_of(&app, &job_id).await == 0).then_some(())
    })
    .await;
    assert_eq!(container.blobs(&job_id).await[0].of("task").len(), 4);
    proxy.rule(|_, _| Fate::Pass);
    assert_eq!(health(&app).await["problem"], Value::Null);
    assert_eq!(metric(&app, "lastlight_archived_jobs_total").await, 1.0);
    assert_eq!(metric(&app, "lastlight_archived_tasks_total").await, 4.0);
    assert_eq!(metric(&app, "lastlight_unarchived_jobs").await, 0.0);
}

#[tokio::test]
async fn a_request_to_purge_says_that_jobs_are_archived_first() {
    let container = NewContainer::create().await;
    let archive = archive_with(&connection(&service("AZURITE_BLOB_ENDPOINT")), &container.name);
    let app = app_on(archive).await;
    ended(&app, "probe", json!({ "stages": [1] })).await;
    sweep(&app).await;
    age(&app).await;
    let body = json!({ "older_than_days": 1, "status": ["completed"] }).to_string();
    let purged = app.request("POST", "/api/jobs/purge", body).await;
    assert_eq!((&purged.body["jobs"], &purged.body["archives_first"]), (&json!(1), &json!(true)));
    assert_eq!(sweep(&app).await.jobs_purged, 1);
    assert_eq!(container.blobs("").await.len(), 1);
}
