//! The requests to retry and to skip single tasks have the same fields: reads them.

use axum::{body::Bytes, http::StatusCode, response::Response};
use lastlight_api::tasks::TasksChanged;
use serde_json::json;

use super::{
    ApiError, AppState,
    json_fields::{Fields, object},
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer, user_request,
};
use crate::{
    model::{JobId, Stage, TaskId, TaskStatus, UserRequest},
    workflow::{TaskAction, TaskOrder},
};

const FIELDS: [&str; 6] = ["job_id", "task_id", "stage", "status", "error", "dry_run"];

/// Longest text that errors are searched for, in characters.
const LONGEST_ERROR: usize = 500;

pub(super) async fn change(
    app: &AppState,
    action: TaskAction,
    body: &Bytes,
    request: &UserRequest,
) -> Result<Response, ApiError> {
    let send = "send {\"job_id\": \"…\", \"task_id\": \"…\"}";
    let order = order(action, Fields::of_body(body, send)?).map_err(bad)?;
    let changed = app.controller.change_tasks(action, &order, request).await?;
    Ok(stamped_answer(StatusCode::OK, changed))
}

/// The states that a request may name, with what is stored for them.
fn states(action: TaskAction) -> &'static [(&'static str, &'static [TaskStatus])] {
    use TaskStatus::{Failed, PendingQueue, Processing, Queued, Retrying, Skipped};
    match action {
        TaskAction::Retry => &[("failed", &[Failed]), ("skipped", &[Skipped])],
        TaskAction::Skip => &[
            ("queued", &[PendingQueue, Queued]),
            ("processing", &[Processing]),
            ("retrying", &[Retrying]),
            ("failed", &[Failed]),
            ("skipped", &[Skipped]),
        ],
    }
}

fn names(action: TaskAction) -> Vec<&'static str> {
    states(action).iter().map(|(name, _)| *name).collect()
}

fn order(action: TaskAction, mut fields: Fields) -> Result<TaskOrder, String> {
    let job_id = fields.required_name("job_id", 64)?;
    let job_id: JobId = job_id.parse().map_err(|_| {
        format!("job_id must be 64 hexadecimal digits, not {:?}", shortened(&job_id))
    })?;
    let task_id = fields.name("task_id", 100)?;
    let task_id = task_id.map(|id| TaskId::try_from(&*id)).transpose();
    let task_id = task_id.map_err(|error| error.to_string())?;
    let stage = fields.whole("stage", 1..=100)?;
    let stage = stage.and_then(|stage| Stage::try_from(u8::try_from(stage).ok()?).ok());
    let mut statuses = Vec::new();
    if let Some(given) = fields.list_if_given("status", 1..=states(action).len())? {
        for (index, value) in given.iter().enumerate() {
            let name = serde_json::from_str::<String>(value.get()).unwrap_or_default();
            let found = states(action).iter().find(|(one, _)| *one == name);
            let (_, stored) = found.ok_or_else(|| {
                format!(
                    "status[{index}] must be one of {}, not {}",
                    names(action).join(", "),
                    shortened(value.get())
                )
            })?;
            statuses.extend_from_slice(stored);
        }
    }
    let error = fields.name("error", LONGEST_ERROR)?;
    let is_dry_run = fields.flag("dry_run")?.unwrap_or_default();
    fields.finish(&FIELDS)?;
    Ok(TaskOrder { job_id, task_id, stage, statuses, error, is_dry_run })
}

pub(super) fn described(action: TaskAction, schemas: &mut Schemas) -> Operation {
    let usual = match action {
        TaskAction::Retry => "Without it, failed ones; with `task_id`, also a skipped one.",
        TaskAction::Skip => "Without it, failed ones; with `task_id`, any without success.",
    };
    let properties = json!({
        "job_id": { "type": "string", "pattern": "^[0-9a-f]{64}$", "description": "The job's id." },
        "task_id": {
            "type": ["string", "null"], "minLength": 1, "maxLength": 100, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
            "description": "Only this task.",
        },
        "stage": {
            "type": ["integer", "null"], "minimum": 1, "maximum": 100, "description": "Only tasks of this stage.",
        },
        "status": {
            "type": ["array", "null"], "minItems": 1, "maxItems": names(action).len(), "items": { "enum": names(action) },
            "description": format!("Only tasks in these states. {usual}"),
        },
        "error": {
            "type": ["string", "null"], "minLength": 1, "maxLength": LONGEST_ERROR,
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
            "description": "Only tasks whose error contains this text.",
        },
        "dry_run": {
            "type": ["boolean", "null"], "default": false,
            "description": "Nothing is changed; the answer says how many tasks are meant.",
        },
    });
    user_request::described(Operation::new())
        .body(true, object(properties, &["job_id"]))
        .answers::<TasksChanged>(schemas)
        .refuses(&[
            StatusCode::BAD_REQUEST,
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::PAYLOAD_TOO_LARGE,
        ])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(action: TaskAction, body: Value) -> Result<TaskOrder, String> {
        order(action, Fields::of_body(body.to_string().as_bytes(), "").unwrap())
    }

    #[test]
    fn errors_name_field_and_value() {
        let id = "a".repeat(64);
        for (body, said) in [
            (json!({}), "job_id is missing"),
            (json!({ "job_id": "abc" }), "job_id must be 64 hexadecimal digits, not \"abc\""),
            (
                json!({ "job_id": id, "stage": 0 }),
                "stage must be a whole number from 1 to 100, not 0",
            ),
            (json!({ "job_id": id, "status": "failed" }), "status must be a list"),
            (
                json!({ "job_id": id, "status": ["done"] }),
                "status[0] must be one of failed, skipped, not \"done\"",
            ),
            (json!({ "job_id": id, "status": ["processing"] }), "not \"processing\""),
            (json!({ "job_id": id, "error": "" }), "error must be text of 1 to 500"),
            (json!({ "job_id": id, "dry": true }), "unknown field dry"),
        ] {
            let error = read(TaskAction::Retry, body).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let skip = json!({ "job_id": id, "status": ["queued", "failed"] });
        assert_eq!(read(TaskAction::Skip, skip).unwrap().statuses.len(), 3);
    }
}
