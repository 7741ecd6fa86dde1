//! Validators check a submission before its job is stored.

use axum::http::StatusCode;
use lastlight_engine::{config::DEVELOPMENT_KEY, job::erased::Catalog};
use lastlight_testing::blobs::{NewContainer, connection_string};
use serde_json::{Value, json};

use super::FILE;
use crate::harness::{TestApp, Workflows, new_database_url, quick};

const CHECKED: &str = "
workflow: checked
parameters:
  container: {type: str, required: true}
  blob: {type: str, required: true}
  others: {type: list, default: [a.tif]}
validators:
  - type: blob_exists_with_size
    container_param: container
    blob_param: blob
    zone: bronze
    max_size_mb: 1
    error_not_found: Upload the raster first.
    error_too_large: The raster is too large.
  - type: blob_list_exists_with_max_size
    container_param: container
    blob_list_param: others
    max_collection_count_env: MAX_BLOBS
    error_collection_too_large: 'At most {limit} blobs.'
nodes:
  only: {type: task, handler: echo, params: [blob]}
";

async fn app(url: &str, connection: &str) -> TestApp {
    let workflows = Workflows::of([(FILE, CHECKED)])
        .with_settings([("AzureWebJobsStorage", connection), ("MAX_BLOBS", "2")]);
    workflows.on(url, Catalog::default(), quick()).await
}

async fn refused(app: &TestApp, parameters: Value, status: StatusCode) -> String {
    let answer = app.submit("checked", parameters).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    answer.body["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_submission_that_a_validator_refuses_is_answered_with_its_words() {
    let container = NewContainer::create().await;
    container.write("a.tif", vec![b'x'; 10]).await;
    container.write("large.tif", vec![b'x'; 1024 * 1024 + 1]).await;
    let app = app(&new_database_url().await, &connection_string(DEVELOPMENT_KEY)).await;
    let name = &container.name;
    for (blob, others, words) in [
        (
            "b.tif",
            json!(["a.tif"]),
            format!("Upload the raster first. (there is no blob {name}/b.tif of the zone bronze)"),
        ),
        (
            "large.tif",
            json!(["a.tif"]),
            format!(
                "The raster is too large. ({name}/large.tif has 1048577 bytes, 1.00 MB; at most 1 MB are allowed)"
            ),
        ),
        (
            "a.tif",
            json!(["a.tif", "c.tif"]),
            format!("1 of 2 blobs are not in the container {name}: \"c.tif\""),
        ),
        (
            "a.tif",
            json!(["a.tif", "a.tif", "a.tif"]),
            "At most 2 blobs. (others has 3 blobs; at most 2 are allowed)".to_owned(),
        ),
    ] {
        let parameters = json!({ "container": name, "blob": blob, "others": others });
        assert_eq!(refused(&app, parameters, StatusCode::BAD_REQUEST).await, words);
    }
    let parameters = json!({ "container": name, "blob": "a.tif" });
    let job_id = app.submitted("checked", parameters).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_job_that_exists_is_not_checked_again() {
    let container = NewContainer::create().await;
    container.write("a.tif", vec![b'x'; 10]).await;
    let url = new_database_url().await;
    let reachable = app(&url, &connection_string(DEVELOPMENT_KEY)).await;
    let parameters = json!({ "container": container.name, "blob": "a.tif" });
    let job_id = reachable.submitted("checked", parameters.clone()).await;
    // Nothing listens at port 1.
    let nowhere = format!(
        "AccountName=devstoreaccount1;AccountKey={DEVELOPMENT_KEY};BlobEndpoint=http://127.0.0.1:1/devstoreaccount1"
    );
    let unreachable = app(&url, &nowhere).await;
    assert_eq!(unreachable.submitted("checked", parameters).await, job_id);
    let others = json!({ "container": container.name, "blob": "b.tif" });
    let message = refused(&unreachable, others, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        message.starts_with(
            "the submission cannot be checked now: blobs of 127.0.0.1 cannot be looked for now: "
        ),
        "{message}"
    );
}

#[tokio::test]
async fn an_app_without_a_storage_account_cannot_check() {
    let workflows = Workflows::of([(FILE, CHECKED)]);
    let app = workflows.on(&new_database_url().await, Catalog::default(), quick()).await;
    let parameters = json!({ "container": "rasters", "blob": "a.tif" });
    let message = refused(&app, parameters, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        message.starts_with("the submission cannot be checked now: no blobs can be looked for: "),
        "{message}"
    );
}

#[tokio::test]
async fn an_unknown_validator_keeps_its_workflow_out() {
    let text = CHECKED.replace("type: blob_exists_with_size", "type: blob_exist");
    let workflows = Workflows::of([(FILE, text.as_str())]);
    let app = workflows.on(&new_database_url().await, Catalog::default(), quick()).await;
    let message = refused(&app, json!({}), StatusCode::CONFLICT).await;
    assert_eq!(
        workflows.without_folder(&message),
        "workflow \"checked\" cannot be used, since its file is wrong:\ntest.yaml:8:11: unknown validator \"blob_exist\" in \
         validators of the file: known are blob_exists, blob_exists_with_size, blob_list_exists_with_max_size; did you mean \
         blob_exists?"
    );
}
