//! What a handler answers is the output of its node.

use serde_json::json;

use super::{app_with, attempts, completed, failed, ran};
use crate::harness::TestApp;

async fn app() -> TestApp {
    app_with(
        "
workflow: answers
parameters: {text: {type: str, required: true}}
nodes:
  say:
    type: task
    handler: answer
    params: [text]
    retry: {max_attempts: 2, initial_delay_seconds: 1}
",
    )
    .await
}

#[tokio::test]
async fn an_answer_with_success_is_the_output_and_any_other_its_result() {
    let app = app().await;
    for (text, wanted) in [
        (r#"{"success": true, "items": [1]}"#, json!({ "success": true, "items": [1] })),
        (r#"{"a": 1}"#, json!({ "success": true, "result": { "a": 1 } })),
        ("[1, null]", json!({ "success": true, "result": [1, null] })),
        ("null", json!({ "success": true, "result": null })),
        (
            r#"{"in": {"success": false}}"#,
            json!({ "success": true, "result": { "in": { "success": false } } }),
        ),
    ] {
        let ran = completed(&app, "answers", json!({ "text": text })).await;
        assert_eq!(ran.result(&app, "say").await, wanted);
    }
}

#[tokio::test]
async fn an_answer_of_a_failure_is_tried_again_unless_its_type_says_never() {
    let app = app().await;
    for (error_type, tries) in [("ValueError", 1), ("TimeoutError", 2)] {
        let text = json!({ "success": false, "error": "no CRS", "error_type": error_type });
        let ran = ran(&app, "answers", json!({ "text": text.to_string() })).await;
        assert_eq!(
            ran.status["errorDetails"],
            format!(
                "say: 1 of 1 tasks failed; first: say {error_type}: no CRS{}",
                if tries > 1 { " (attempt 2 of 2)" } else { "" }
            )
        );
        assert_eq!(attempts(&app, &ran.job_id, "say").await, [tries], "{error_type}");
    }
    let reason = failed(&app, "answers", json!({ "text": r#"{"success": false}"# })).await;
    assert_eq!(
        reason,
        "say: 1 of 1 tasks failed; first: say the handler answered success: false, without an error (attempt 2 of 2)"
    );
}
