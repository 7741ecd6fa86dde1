//! What is in an archive: everything that the job was, in bounded memory, also when it runs again.

use axum::body::Body;
use lastlight_testing::{
    archive::{BlobProxy, BlobRequest, archive_in},
    blobs::NewContainer,
};
use serde_json::{Value, json};

use super::{age, archiving, delete, ended, rows_of, sweep};
use crate::harness::{OfThisApp, Probe, TestApp, Workflows, catalog, new_database_url, quick};

/// The rows of a job's tasks, by the names of the archive.
async fn task_rows(app: &TestApp, job_id: &str) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('task_id', task_id, 'stage', stage, 'task_index', task_index, 'status', status,
                                   'attempt', attempt, 'parameters', parameters, 'result', result_data,
                                   'error', error_details, 'ordinal', ordinal, 'parent_task_id', parent_task_id)
         FROM tasks WHERE parent_job_id = $1 ORDER BY stage, task_id",
    )
    .bind(job_id)
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_job_is_archived_whole_before_it_is_deleted() {
    let (app, container) = archiving(quick()).await;
    let labels = json!({ "team": "maps", "run": "7" });
    let parameters = json!({ "stages": [7, 5], "fails": [3], "tolerates": 1, "labels": labels });
    let answer = app.submit("probe", parameters.clone()).await;
    let job_id = answer.body["job_id"].as_str().unwrap().to_owned();
    let status = app.run_until_finished(&job_id).await;
    let kept = ended(&app, "probe", json!({ "stages": [2], "number": 2 })).await;
    let tasks = task_rows(&app, &job_id).await;
    assert_eq!(tasks.len(), 12);
    sweep(&app).await;
    assert!(container.blobs("").await.is_empty(), "nothing is archived before it is to be deleted");
    sqlx::query(
        "UPDATE jobs SET finished_at = finished_at - interval '400 days' WHERE job_id = $1",
    )
    .bind(&job_id)
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    let report = sweep(&app).await;
    assert_eq!((report.jobs_archived, report.jobs_purged, report.tasks_purged), (1, 1, 12));
    assert_eq!(rows_of(&app, &job_id).await, 0);
    assert!(rows_of(&app, &kept).await > 0);

    let blobs = container.blobs("").await;
    let [blob] = &*blobs else { panic!("{blobs:?}") };
    assert!(blob.name.starts_with(&format!("{job_id}/run-1-")), "{}", blob.name);
    assert!(blob.name.ends_with(".jsonl.gz"), "{}", blob.name);
    assert_eq!(
        (&*blob.metadata["job_type"], &*blob.metadata["status"], &*blob.metadata["tasks"]),
        ("probe", "completed", "12")
    );
    let job = &blob.of("job")[0];
    assert_eq!(
        (&job["job_id"], &job["run"], &job["status"], &job["parameters"]["stages"]),
        (&json!(job_id), &json!(1), &status["status"], &parameters["stages"])
    );
    assert_eq!(job["labels"], json!({ "run": "7", "team": "maps" }));
    assert_eq!(job["format"], 1);
    let archived = blob.of("task");
    for (archived, row) in archived.iter().zip(&tasks) {
        for (name, value) in row.as_object().unwrap() {
            assert_eq!(&archived[name], value, "{name} of {row}");
        }
    }
    let lines = blob.lines();
    let order: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    let mut sorted = order.clone();
    let places = ["job", "definition", "stage", "task", "event", "end"];
    sorted.sort_by_key(|kind| places.iter().position(|place| place == kind));
    assert_eq!(order, sorted);
    let stages = blob.of("stage");
    assert_eq!((&stages[0]["completed"], &stages[0]["failed"]), (&json!(6), &json!(1)));
    let events: Vec<Value> =
        blob.of("event").into_iter().map(|event| event["event"].clone()).collect();
    assert!(
        events.contains(&json!("job_submitted")) && events.contains(&json!("deletion_started")),
        "{events:?}"
    );
    let end = lines.last().unwrap();
    assert_eq!(end["tasks_planned"], 12);
    assert_eq!(end["tasks_by_status"]["failed"], 2, "one in each stage: {end}");
}

#[tokio::test]
async fn a_workflow_is_archived_with_its_definition_once() {
    let source = "workflow: two\nversion: 3\nnodes:\n  first: {type: task, handler: echo}\n  last: {type: task, handler: echo, depends_on: [first]}\n";
    let workflows = Workflows::of([("two.yaml", source)]);
    let container = NewContainer::create().await;
    let app = TestApp::archiving(
        &new_database_url().await,
        workflows.add_to(catalog()),
        quick(),
        archive_in(&container),
    )
    .await;
    let job_id = ended(&app, "two", json!({})).await;
    let deleted = delete(&app, &job_id).await;
    assert_eq!(deleted.body["is_deleted"], true, "{}", deleted.body);
    let blob = container.blobs(&job_id).await.remove(0);
    let [definition] = &*blob.of("definition") else { panic!("one definition") };
    assert_eq!(definition["source"], json!(source));
    assert_eq!(blob.of("job")[0]["definition_id"], definition["definition_id"]);
    let stages = blob.of("stage");
    assert_eq!((&stages[0]["node"], &stages[1]["outcome"]), (&json!("first"), &json!("completed")));
    assert!(!stages[1]["result"].is_null(), "{}", stages[1]);
}

#[tokio::test]
async fn a_large_job_leaves_memory_in_pages_and_blocks() {
    const BLOCK: usize = 64 * 1024;
    let container = NewContainer::create().await;
    let proxy = BlobProxy::start().await;
    let url = new_database_url().await;
    let archive = proxy.archive(&container.name).with_blocks_of(BLOCK);
    let app = TestApp::archiving(&url, Probe::default().add_to(catalog()), quick(), archive).await;
    // As many tasks as do not fit in a page by their number, and results that do not by their size; random, so that they are
    // not compressed away.
    let job_id = ended(&app, "probe", json!({ "stages": [1] })).await;
    sqlx::query(
        "INSERT INTO tasks (parent_job_id, stage, task_id, ordinal, status, job_type, task_type, task_index, batch_id, parameters,
                            result_data)
         SELECT $1, 1, 'extra-' || lpad(i::text, 6, '0'), i, 'completed', 'probe', 'probe', i::text, left($1, 8) || '-s1-b0', '{}',
                to_json(CASE WHEN i % 1000 = 0
                        THEN (SELECT string_agg(md5(random()::text || i || n), '') FROM generate_series(1, 40000) n) END)
         FROM generate_series(1, 12000) i",
    )
    .bind(&job_id)
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    let deleted = delete(&app, &job_id).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    while rows_of(&app, &job_id).await > 0 {
        sweep(&app).await;
    }
    let blob = container.blobs(&job_id).await.remove(0);
    let tasks = blob.of("task");
    assert_eq!(tasks.len(), 12_001);
    assert!(tasks.windows(2).all(|two| two[0]["task_id"].as_str() < two[1]["task_id"].as_str()));
    assert_eq!(
        tasks
            .iter()
            .filter(|task| task["result"].as_str().is_some_and(|text| text.len() > 1_000_000))
            .count(),
        12
    );
    let blocks = proxy.seen(BlobRequest::Stage);
    assert!(blob.bytes.len() > 5_000_000, "{} bytes", blob.bytes.len());
    assert_eq!(blocks.len(), blob.bytes.len().div_ceil(BLOCK), "{blocks:?}");
    assert!(blocks.iter().all(|size| *size <= BLOCK), "{blocks:?}");
    assert_eq!(proxy.seen(BlobRequest::Commit).len(), 1);
}

#[tokio::test]
async fn a_run_is_archived_before_the_next_one_begins() {
    let (app, container) = archiving(quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [3, 2] })).await;
    let again = app.request("POST", &format!("/api/jobs/resubmit/{job_id}"), Body::empty()).await;
    assert_eq!(
        (&again.body["run"], &again.body["is_begun"]),
        (&json!(2), &json!(true)),
        "{}",
        again.body
    );
    let [first] = &*container.blobs(&job_id).await else { panic!("one archive") };
    assert_eq!((first.of("job")[0]["run"].clone(), first.of("task").len()), (json!(1), 5));
    let events = app.request("GET", &format!("/api/jobs/events/{job_id}"), Body::empty()).await;
    let events = events.body["events"].as_array().unwrap().clone();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let archived = kinds.iter().position(|kind| *kind == "job_archived").unwrap();
    assert_eq!(
        kinds[archived - 1..archived + 2],
        ["resubmission_requested", "job_archived", "job_resubmitted"]
    );
    let detail = &events[archived]["detail"];
    assert_eq!(
        (&detail["blob"], &detail["sha256"], &detail["tasks"], &events[archived]["run"]),
        (&json!(first.name), &json!(first.metadata["sha256"]), &json!(5), &json!(1))
    );
    assert!(events[archived]["message"].as_str().unwrap().contains(&first.metadata["sha256"]));
    app.run_until_finished(&job_id).await;
    age(&app).await;
    assert_eq!(sweep(&app).await.jobs_purged, 1);
    let both = container.blobs(&job_id).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[1].of("job")[0]["run"], 2);
    assert_eq!(both[0].etag, first.etag, "the archive of the first run is not written again");
}

/// Numbers of runs are forgotten some time after a job was deleted.
#[tokio::test]
async fn a_later_life_of_a_job_does_not_replace_the_archive_of_an_earlier_one() {
    let (app, container) = archiving(quick()).await;
    let submit = async || {
        let job_id = ended(&app, "probe", json!({ "stages": [2] })).await;
        assert_eq!(delete(&app, &job_id).await.body["is_deleted"], true);
        job_id
    };
    let job_id = submit().await;
    let first = container.blobs(&job_id).await.remove(0);
    sqlx::query("DELETE FROM deleted_jobs").execute(&mut app.connection().await).await.unwrap();
    // Names have the second of the submission; two lives are two weeks apart.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    submit().await;
    let both = container.blobs(&job_id).await;
    let runs: Vec<Value> = both.iter().map(|blob| blob.of("job")[0]["run"].clone()).collect();
    assert_eq!(runs, [1, 1]);
    assert!(both.iter().any(|blob| blob.etag == first.etag));
}

#[tokio::test]
async fn without_the_setting_nothing_is_archived() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = ended(&app, "probe", json!({ "stages": [2] })).await;
    let deleted = delete(&app, &job_id).await;
    assert_eq!(deleted.body["is_deleted"], true);
    let health = app.request("GET", "/api/health", Body::empty()).await;
    assert!(health.body["components"]["archive"].is_null(), "{}", health.body);
}
