//! `POST /api/jobs/gate/{job_id}/{node}`: decides at a gate of a job: approves or rejects it.

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::{
    GateDecision,
    control::{GateRequest, GateResult},
};
use serde_json::{Map, Value, json};

use super::{
    ApiError, AppState, body, job_id,
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer,
};

const FIELDS: [&str; 4] = ["decision", "by", "comment", "data"];

pub(super) async fn handle(
    State(app): State<AppState>,
    Path((id, node)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let fields = body::object(&body?, "send a decision: {\"decision\": \"approve\"}")?;
    let result = app.controller.decide(&job_id, &node, request(fields)?).await?;
    Ok(stamped_answer(StatusCode::OK, result))
}

/// Reads the fields of the body.
fn request(mut fields: Map<String, Value>) -> Result<GateRequest, ApiError> {
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(bad(format!(
            "unknown field {:?}; allowed are {}",
            shortened(unknown),
            FIELDS.join(", ")
        )));
    }
    let decision = match fields.get("decision") {
        None => {
            return Err(bad("decision is missing: \"approve\" or \"reject\"".to_owned()));
        }
        Some(Value::String(decision)) if decision == GateDecision::Approve.as_str() => {
            GateDecision::Approve
        }
        Some(Value::String(decision)) if decision == GateDecision::Reject.as_str() => {
            GateDecision::Reject
        }
        Some(other) => {
            return Err(bad(format!(
                "decision must be \"approve\" or \"reject\", not {}",
                shortened(&other.to_string())
            )));
        }
    };
    Ok(GateRequest {
        decision,
        by: text(&mut fields, "by")?,
        comment: text(&mut fields, "comment")?,
        data: fields.remove("data").filter(|data| !data.is_null()),
    })
}

fn text(fields: &mut Map<String, Value>, field: &str) -> Result<Option<String>, ApiError> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(bad(format!("{field} must be text, not {}", shortened(&other.to_string()))))
        }
    }
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let node = json!({ "type": "string", "minLength": 1, "maxLength": 50 });
    let text = json!({ "type": ["string", "null"] });
    let described = |schema: &Value, description: &str| {
        let mut schema = schema.clone();
        schema["description"] = Value::from(description);
        schema
    };
    let body = json!({
        "type": "object",
        "properties": {
            "decision": { "enum": ["approve", "reject"], "description": "What is decided." },
            "by": described(&text, "Who decided, at most 2,000 bytes."),
            "comment": described(&text, "Why, at most 2,000 bytes."),
            "data": {
                "description": "The gate's result, for the nodes that depend on it: at most 64 KiB of JSON.",
            },
        },
        "required": ["decision"],
        "additionalProperties": false,
    });
    Operation::new()
        .of_a_job()
        .path("node", node, "The name of the gate.")
        .body(true, body)
        .answers::<GateResult>(schemas)
        .refuses(&[StatusCode::CONFLICT, StatusCode::PAYLOAD_TOO_LARGE])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<GateRequest, String> {
        let Value::Object(fields) = body else { panic!("{body} is no object") };
        request(fields).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_request_needs_only_its_decision() {
        let plain = read(json!({ "decision": "reject" })).unwrap();
        assert_eq!(plain.decision, GateDecision::Reject);
        assert_eq!((plain.by, plain.comment, plain.data), (None, None, None));
        let whole =
            json!({ "decision": "approve", "by": "ada", "comment": "ok", "data": { "n": 1 } });
        let whole = read(whole).unwrap();
        assert_eq!(whole.by.as_deref(), Some("ada"));
        assert_eq!(whole.data, Some(json!({ "n": 1 })));
    }

    #[test]
    fn errors_of_a_decision_name_field_and_value() {
        for (body, said) in [
            (json!({}), "decision is missing"),
            (json!({ "decision": "fail" }), r#"must be "approve" or "reject", not "fail""#),
            (json!({ "decision": true }), "not true"),
            (json!({ "decision": "approve", "by": 3 }), "by must be text, not 3"),
            (json!({ "decision": "approve", "comment": [] }), "comment must be text, not []"),
            (
                json!({ "decision": "approve", "reason": "x" }),
                r#"unknown field "reason"; allowed are decision, by, comment, data"#,
            ),
        ] {
            let error = read(body).unwrap_err().replace("\\\"", "\"");
            assert!(error.contains(said), "{error}");
        }
    }
}
