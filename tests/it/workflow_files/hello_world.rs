//! The Rust job type `hello_world` and the file workflows/hello_world.yaml do the same work.

use std::path::Path;

use serde_json::{Value, json};

use super::{completed, results};
use crate::harness::{TestApp, Workflows, catalog, new_database_url, quick};

/// The results of all tasks of a stage of a line, in the order of their plan.
async fn results_of_stage(app: &TestApp, job_id: &str, stage: i16) -> Vec<Value> {
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT result_data::text FROM tasks WHERE parent_job_id = $1 AND stage = $2 ORDER BY ordinal",
    )
    .bind(job_id)
    .bind(stage)
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap();
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test]
async fn hello_world_in_rust_and_as_a_file_give_the_same_results_over_both_paths() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows/hello_world.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let workflows = Workflows::of([("hello_world.yaml", text.as_str())]);
    let app = workflows.on(&new_database_url().await, catalog(), quick()).await;
    for use_service_bus in [false, true] {
        let parameters = json!({ "n": 250, "name": "Ada", "use_service_bus": use_service_bus });
        let in_rust = app.submitted("hello_world", parameters.clone()).await;
        assert_eq!(app.run_until_finished(&in_rust).await["status"], "completed");
        let as_file = completed(&app, "hello_world_workflow", parameters).await;
        for (stage, node) in [(1, "greet"), (2, "reply")] {
            let wanted: Vec<Value> = results_of_stage(&app, &in_rust, stage)
                .await
                .into_iter()
                .map(|result| json!({ "success": true, "result": result }))
                .collect();
            assert_eq!(wanted.len(), 250);
            assert_eq!(results(&app, &as_file.job_id, node).await, wanted, "{node}");
        }
        assert_eq!(as_file.output("summary"), &json!({ "count": 250 }));
    }
}
