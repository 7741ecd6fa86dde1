//! `POST /api/jobs/purge`: deletes jobs that have been over for some time, or says which ones that would
//! be.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::{JobStatus, purge::Purged};
use serde_json::json;

use super::{
    ApiError, AppState,
    json_fields::{Fields, NAME, object},
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer,
};
use crate::workflow::PurgeRequest;

const FIELDS: [&str; 4] = ["older_than_days", "status", "job_type", "dry_run"];

const STATUSES: [JobStatus; 3] = [JobStatus::Completed, JobStatus::Cancelled, JobStatus::Failed];

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let send = "send {\"older_than_days\": 30, \"status\": [\"completed\"], \"dry_run\": true}";
    let fields = Fields::of_body(&body?, send)?;
    let request = request(fields).map_err(bad)?;
    Ok(stamped_answer(StatusCode::OK, app.controller.purge_over(&request).await?))
}

fn request(mut fields: Fields) -> Result<PurgeRequest, String> {
    let allowed = "a number of days from 0.01 to 36500";
    let days = fields.number("older_than_days", 0.01..=36_500.0)?;
    let days = days.ok_or_else(|| format!("older_than_days is missing: {allowed}"))?;
    let mut statuses = Vec::new();
    for (index, value) in fields.list("status", 1..=STATUSES.len())?.iter().enumerate() {
        let named = serde_json::from_str::<String>(value.get()).ok();
        let status = STATUSES.iter().find(|status| named.as_deref() == Some(status.as_str()));
        statuses.push(*status.ok_or_else(|| {
            format!(
                "status[{index}] must be \"completed\", \"cancelled\" or \"failed\", not {}",
                shortened(value.get())
            )
        })?);
    }
    let job_type = fields.name("job_type", 50)?;
    let is_dry_run = fields.flag("dry_run")?.unwrap_or_default();
    fields.finish(&FIELDS)?;
    let older_than = Duration::from_secs_f64(days * 86_400.0);
    Ok(PurgeRequest { older_than, statuses, job_type, is_dry_run })
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let properties = json!({
        "older_than_days": {
            "type": "number", "minimum": 0.01, "maximum": 36500,
            "description": "Only jobs that have been over for more than this number of days.",
        },
        "status": {
            "type": "array", "minItems": 1, "maxItems": 3,
            "items": { "enum": ["completed", "cancelled", "failed"] },
            "description": "Only jobs with these states.",
        },
        "job_type": {
            "type": ["string", "null"], "minLength": 1, "maxLength": 50, "pattern": NAME,
            "description": "Only jobs of this type.",
        },
        "dry_run": {
            "type": ["boolean", "null"], "default": false,
            "description": "Nothing is deleted; the answer says what would be.",
        },
    });
    let body = object(properties, &["older_than_days", "status"]);
    Operation::new()
        .body(true, body)
        .answers::<Purged>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(body: Value) -> Result<PurgeRequest, String> {
        request(Fields::of_body(body.to_string().as_bytes(), "").unwrap())
    }

    #[test]
    fn a_request_names_an_age_and_states() {
        let request = read(json!({ "older_than_days": 1.5, "status": ["failed"] })).unwrap();
        assert_eq!(request.older_than, Duration::from_secs(36 * 3600));
        assert_eq!(request.statuses, [JobStatus::Failed]);
        assert!(request.job_type.is_none() && !request.is_dry_run);
    }

    #[test]
    fn errors_name_field_and_value() {
        let whole = json!({ "older_than_days": 30, "status": ["completed"] });
        let with = |field: &str, value: Value| {
            let mut body = whole.clone();
            body[field] = value;
            body
        };
        for (body, said) in [
            (json!({}), "older_than_days is missing: a number of days from 0.01"),
            (with("older_than_days", json!(0)), "must be a number from 0.01 to 36500, not 0"),
            (with("older_than_days", json!(-3)), "not -3"),
            (with("older_than_days", json!("30d")), "not \"30d\""),
            (json!({ "older_than_days": 30 }), "status is missing"),
            (with("status", json!([])), "status must be a list of 1 to 3 values, not []"),
            (with("status", json!(["done"])), "status[0] must be \"completed\", \"cancelled\" or"),
            (with("status", json!(["processing"])), "not \"processing\""),
            (with("status", json!("completed")), "status must be a list"),
            (with("dry_run", json!("yes")), "dry_run must be true or false, not \"yes\""),
            (with("job_type", json!("")), "job_type must be text of 1 to 50"),
            (with("older", json!(1)), "unknown field older; allowed are older_than_days"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
