//! Attempts that die, meet others or come too late: an archive that is recorded is complete and stays so.

use std::time::Duration;

use lastlight_engine::{
    config::Timing,
    model::{JobId, UserRequest},
    store::{ArchiveClaim, ArchiveFirst, Database, Marked},
};
use lastlight_testing::{
    archive::{BlobProxy, BlobRequest, Fate, archive_in},
    blobs::NewContainer,
    database::database_settings,
};
use serde_json::json;
use uuid::Uuid;

use super::{age, archiving, delete, ended, rows_of, sweep, tasks_of};
use crate::harness::{OfThisApp, Probe, TestApp, catalog, new_database_url, quick, until};

async fn database_of(app: &TestApp) -> Database {
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    database
}

async fn marked(database: &Database, job_id: &str) -> JobId {
    let job_id: JobId = job_id.parse().unwrap();
    let marked = database.purge().mark(&job_id, false, &UserRequest::NOBODY).await.unwrap();
    assert_eq!(marked, Marked::Yes);
    job_id
}

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_attempt_that_died_is_followed_by_another_one() {
    let (app, container) = archiving(quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [5] })).await;
    let database = database_of(&app).await;
    let id = marked(&database, &job_id).await;
    let dead = Uuid::new_v4();
    let claimed = database.archive().claim(&id, dead, LEASE).await.unwrap();
    assert_eq!(claimed, ArchiveClaim::Claimed { run: 1 });
    let other = database.archive().claim(&id, Uuid::new_v4(), LEASE).await.unwrap();
    assert_eq!(other, ArchiveClaim::Elsewhere);
    assert_eq!(sweep(&app).await.jobs_archived, 0);
    let said = delete(&app, &job_id).await;
    assert_eq!(
        (said.status.as_u16(), &said.body["is_deleted"]),
        (200, &json!(false)),
        "{}",
        said.body
    );
    assert!(said.body["message"].as_str().unwrap().contains("being archived"), "{}", said.body);
    assert_eq!(tasks_of(&app, &job_id).await, 5);
    app.time_passes(LEASE * 2).await;
    assert_eq!(sweep(&app).await.jobs_archived, 1);
    assert_eq!(rows_of(&app, &job_id).await, 0);
    assert_eq!(container.blobs(&job_id).await.len(), 1);
    // The first one comes back.
    assert!(!database.archive().hold(&id, dead, LEASE).await.unwrap());
    assert!(!database.archive().record(&id, dead, 1, "{}").await.unwrap());
}

#[tokio::test]
async fn only_a_recorded_run_is_deleted_whoever_asks() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [5] })).await;
    let database = database_of(&app).await;
    let id = marked(&database, &job_id).await;
    let first = ArchiveFirst(true);
    let step = database.purge().tasks(&id, 100, first).await.unwrap();
    assert!(step.is_elsewhere && step.tasks == 0, "{step:?}");
    assert!(!database.purge().job(&id, first).await.unwrap());
    let attempt = Uuid::new_v4();
    database.archive().claim(&id, attempt, LEASE).await.unwrap();
    assert!(database.purge().tasks(&id, 100, first).await.unwrap().is_elsewhere);
    assert!(!database.archive().record(&id, attempt, 2, "{}").await.unwrap(), "another run");
    assert!(!database.archive().record(&id, Uuid::new_v4(), 1, "{}").await.unwrap());
    assert!(database.archive().record(&id, attempt, 1, "{\"blob\":\"b\"}").await.unwrap());
    assert!(!database.archive().record(&id, attempt, 1, "{}").await.unwrap(), "once");
    assert_eq!(database.purge().tasks(&id, 100, first).await.unwrap().tasks, 5);
    database.purge().batches(&id, 100).await.unwrap();
    // Those that are to be told of the job's end come first, too.
    let told = "DELETE FROM notification_events";
    sqlx::query(told).execute(&mut app.connection().await).await.unwrap();
    assert!(database.purge().job(&id, first).await.unwrap());
}

/// A process without the setting, such as a sweep from someone's machine, deletes nothing that others would archive.
#[tokio::test]
async fn a_process_without_an_archive_leaves_jobs_to_those_that_have_one() {
    let (app, container) = archiving(quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [5] })).await;
    sweep(&app).await;
    age(&app).await;
    let database = database_of(&app).await;
    let report = async |archives: bool| {
        let id = Uuid::new_v4();
        let diagnostics = database.diagnostics();
        diagnostics.report_instance(id, Duration::ZERO, &[], &[], archives).await.unwrap();
    };
    report(true).await;
    let other = TestApp::on(&app.url, Probe::default().add_to(catalog()), quick()).await;
    let rows = rows_of(&app, &job_id).await;
    assert_eq!(sweep(&other).await.jobs_purged, 0);
    assert_eq!(rows_of(&app, &job_id).await, rows + 1, "it is marked");
    let said = delete(&other, &job_id).await;
    assert_eq!(said.body["is_deleted"], false, "{}", said.body);
    // All processes have been down for long: the last one counts.
    let old = "UPDATE instances SET seen_at = seen_at - interval '3 days'";
    sqlx::query(old).execute(&mut app.connection().await).await.unwrap();
    assert_eq!(sweep(&other).await.jobs_purged, 0);
    assert_eq!(sweep(&app).await.jobs_purged, 1);
    assert_eq!(container.blobs(&job_id).await.len(), 1);
    // The setting was removed: the processes of before are forgotten.
    let job_id = ended(&app, "probe", json!({ "stages": [6] })).await;
    sweep(&app).await;
    age(&app).await;
    sqlx::query(old).execute(&mut app.connection().await).await.unwrap();
    report(false).await;
    sweep(&other).await;
    assert_eq!(sweep(&other).await.jobs_purged, 1);
    assert!(container.blobs(&job_id).await.is_empty());
}

#[tokio::test]
async fn an_archive_whose_record_was_lost_is_recognized() {
    let container = NewContainer::create().await;
    let proxy = BlobProxy::start().await;
    let url = new_database_url().await;
    let timing = Timing {
        backoff: lastlight_engine::job::Backoff {
            first: Duration::from_millis(10),
            largest: Duration::from_millis(20),
        },
        ..quick()
    };
    let archive = proxy.archive(&container.name);
    let app = TestApp::archiving(&url, Probe::default().add_to(catalog()), timing, archive).await;
    let job_id = ended(&app, "probe", json!({ "stages": [5] })).await;
    // The blob is made, and nobody learns of it.
    proxy.rule(|wanted, _| match wanted {
        BlobRequest::Commit => Fate::Lose,
        _ => Fate::Pass,
    });
    assert_eq!(delete(&app, &job_id).await.body["is_deleted"], false);
    let [first] = &*container.blobs(&job_id).await else { panic!("the blob is there") };
    assert_eq!(tasks_of(&app, &job_id).await, 5, "it is not recorded, so nothing is deleted");
    proxy.rule(|_, _| Fate::Pass);
    until("the job is deleted", async || {
        sweep(&app).await;
        (rows_of(&app, &job_id).await == 0).then_some(())
    })
    .await;
    let [second] = &*container.blobs(&job_id).await else { panic!("one blob") };
    assert_eq!(second.etag, first.etag, "the same lines make the same blob, which stays");
    assert_eq!(second.of("task").len(), 5);
}

#[tokio::test]
async fn another_blob_in_the_place_of_an_archive_is_replaced() {
    let (app, container) = archiving(quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [5] })).await;
    let status = app.status(&job_id).await;
    let created = status["createdAt"].as_str().unwrap();
    let second: String = created[..19].chars().filter(|c| !"-:".contains(*c)).collect();
    container.write(&format!("{job_id}/run-1-{second}Z.jsonl.gz"), "half").await;
    assert_eq!(delete(&app, &job_id).await.body["is_deleted"], true);
    let [blob] = &*container.blobs(&job_id).await else { panic!("one blob") };
    assert_eq!(blob.of("task").len(), 5);
}

/// The worst case: an attempt is held up, another one archives the job and deletes its tasks, and the first one goes on with
/// what is left.
#[tokio::test]
async fn a_late_attempt_never_replaces_a_complete_archive() {
    for held_at in [BlobRequest::Stage, BlobRequest::Commit] {
        let container = NewContainer::create().await;
        let proxy = BlobProxy::start().await;
        let url = new_database_url().await;
        let catalog = || Probe::default().add_to(catalog());
        let archive = proxy.archive(&container.name).with_blocks_of(512);
        let late = TestApp::archiving(&url, catalog(), quick(), archive).await;
        let job_id = ended(&late, "probe", json!({ "stages": [600], "parameter_bytes": 50 })).await;
        proxy.rule(
            move |wanted, number| {
                if wanted == held_at && number == 0 { Fate::Wait } else { Fate::Pass }
            },
        );
        let deleting = async { delete(&late, &job_id).await };
        let meanwhile = async {
            until("the attempt is held up", async || {
                (!proxy.seen(held_at).is_empty()).then_some(())
            })
            .await;
            late.time_passes(LEASE * 2).await;
            let quick_one =
                TestApp::archiving(&url, catalog(), quick(), archive_in(&container)).await;
            until("the other one deletes the job", async || {
                sweep(&quick_one).await;
                (rows_of(&late, &job_id).await == 0).then_some(())
            })
            .await;
            let blob = container.blobs(&job_id).await.remove(0);
            assert_eq!(blob.of("task").len(), 600);
            proxy.open();
            blob.etag
        };
        let (said, etag) = tokio::join!(deleting, meanwhile);
        assert!([200, 404].contains(&said.status.as_u16()), "{}", said.body);
        until("the late attempt asks what is there", async || {
            (!proxy.seen(BlobRequest::Commit).is_empty()).then_some(())
        })
        .await;
        // Whatever it still asks for, it is refused.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let [blob] = &*container.blobs(&job_id).await else { panic!("one blob") };
        assert_eq!(blob.etag, etag, "held at {held_at:?}");
        assert_eq!(blob.of("task").len(), 600);
    }
}

#[tokio::test]
async fn several_processes_archive_each_job_once() {
    let container = NewContainer::create().await;
    let proxy = BlobProxy::start().await;
    let url = new_database_url().await;
    let catalog = || Probe::default().add_to(catalog());
    let mut apps = Vec::new();
    for _ in 0..3 {
        let archive = proxy.archive(&container.name);
        apps.push(TestApp::archiving(&url, catalog(), quick(), archive).await);
    }
    let mut jobs = Vec::new();
    for number in 0..12 {
        jobs.push(ended(&apps[0], "probe", json!({ "stages": [3], "number": number })).await);
    }
    sweep(&apps[0]).await;
    age(&apps[0]).await;
    until("all jobs are deleted", async || {
        futures_util::future::join_all(apps.iter().map(sweep)).await;
        let mut left = 0;
        for job_id in &jobs {
            left += rows_of(&apps[0], job_id).await;
        }
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(proxy.seen(BlobRequest::Commit).len(), 12);
    let blobs = container.blobs("").await;
    assert_eq!(blobs.len(), 12);
    assert!(blobs.iter().all(|blob| blob.of("task").len() == 3));
}

/// The handler of the version before writes these tables without the new columns, and deletes jobs as it did.
#[tokio::test]
async fn the_version_before_works_on_this_schema() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [2] })).await;
    let mut connection = app.connection().await;
    for statement in [
        "INSERT INTO instances (instance_id, version, pool_open, pool_in_use, pool_limit)
         VALUES (gen_random_uuid(), '0.1.0', 1, 0, 8)",
        "UPDATE jobs SET purging_at = now()",
        "DELETE FROM tasks",
        "DELETE FROM task_batches",
        "DELETE FROM notification_events",
        "DELETE FROM jobs WHERE purging_at IS NOT NULL",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let again = app.submitted("probe", json!({ "stages": [2] })).await;
    assert_eq!(again, job_id);
    assert_eq!(app.run_until_finished(&again).await["status"], "completed");
}
