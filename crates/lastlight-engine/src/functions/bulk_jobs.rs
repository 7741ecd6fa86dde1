//! `POST /api/jobs/bulk`: one action on all jobs that a filter finds, or how many these would be. `GET /api/jobs/bulk`: the bulk operations
//! so far.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::{
    Timestamp,
    bulk::{BulkAction, BulkAnswer, BulkFilter, BulkOperations},
};
use serde_json::{Value, json, value::RawValue};

use super::{
    ApiError, AppState,
    job_filters::JobFilters,
    json_fields::{Fields, object},
    openapi::{Operation, Schemas},
    query::{QueryParameters, bad, shortened},
    stamped_answer,
    user_request::{self, user_request},
};
use crate::{
    model::{Prefix, Term},
    workflow::BulkRequest,
};

const FIELDS: [&str; 4] = ["action", "filter", "all", "confirm"];

/// The conditions of a filter, except those that begin with a prefix.
const CONDITIONS: [&str; 6] = ["status", "job_type", "processing_path", "from", "to", "q"];

pub(super) async fn list(State(app): State<AppState>) -> Result<Response, ApiError> {
    let operations = app.controller.bulk_operations().await?;
    Ok(stamped_answer(StatusCode::OK, BulkOperations { operations }))
}

pub(super) async fn begin(
    State(app): State<AppState>,
    headers: HeaderMap,
    query: QueryParameters,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let send = "send {\"action\": \"cancel\", \"filter\": {\"label.team\": \"roads\"}}";
    let mut fields = Fields::of_body(&body?, send)?;
    let request = user_request(&query, &headers)?;
    let action = fields.one_of("action", &BulkAction::ALL, BulkAction::as_str).map_err(bad)?;
    let conditions = conditions(fields.raw("filter")).map_err(bad)?;
    let all = fields.flag("all").map_err(bad)?.unwrap_or_default();
    let is_confirmed = fields.flag("confirm").map_err(bad)?.unwrap_or_default();
    fields.finish(&FIELDS).map_err(bad)?;
    if conditions.is_empty() && !all {
        return Err(bad(format!(
            "filter has no condition, so that all jobs would be meant: give one of {}, label.KEY and param.NAME, or \
             \"all\": true",
            CONDITIONS.join(", ")
        )));
    }
    if !conditions.is_empty() && all {
        return Err(bad("all must not be true beside a filter with conditions".to_owned()));
    }
    let filter = filter(conditions, &app.controller.job_types())?;
    let bulk = BulkRequest { action, filter, is_confirmed, request };
    Ok(stamped_answer(StatusCode::OK, app.controller.bulk(bulk).await?))
}

/// The conditions as texts, as parameters of the list of jobs have them.
fn conditions(given: Option<Box<RawValue>>) -> Result<Vec<(String, String)>, String> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let read: Result<BTreeMap<String, Value>, _> = serde_json::from_str(given.get());
    let read = read.map_err(|_| {
        format!("filter must be an object of texts, not {}", shortened(given.get()))
    })?;
    let mut conditions = Vec::new();
    for (name, value) in read {
        if !CONDITIONS.contains(&&*name)
            && !name.starts_with("label.")
            && !name.starts_with("param.")
        {
            return Err(format!(
                "filter has the unknown condition {:?}; allowed are {}, label.KEY and param.NAME",
                shortened(&name),
                CONDITIONS.join(", ")
            ));
        }
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(format!(
                    "filter.{} must be text, not {}",
                    shortened(&name),
                    shortened(&value.to_string())
                ));
            }
        };
        conditions.push((name, text));
    }
    Ok(conditions)
}

fn filter(conditions: Vec<(String, String)>, job_types: &[&str]) -> Result<BulkFilter, ApiError> {
    let given = QueryParameters::of(conditions);
    let read = JobFilters::of(&given, job_types)?;
    Ok(BulkFilter {
        status: read.status,
        job_type: read.job_type.map(str::to_owned),
        processing_path: read.path,
        from: read.from.map(Timestamp),
        to: read.to.map(Timestamp),
        q: read.prefix.as_ref().map(Prefix::from).map(str::to_owned),
        terms: read.asked.into_iter().map(|Term { name, value }| (name, value)).collect(),
    })
}

pub(super) fn operation_of_list(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<BulkOperations>(schemas)
}

pub(super) fn operation_of_begin(schemas: &mut Schemas) -> Operation {
    let actions: Vec<&str> = BulkAction::ALL.into_iter().map(BulkAction::as_str).collect();
    let properties = json!({
        "action": { "enum": actions, "description": "What is done to each job." },
        "filter": {
            "type": ["object", "null"],
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
            "description": "Which jobs, as the parameters of `GET /api/db/jobs` say it: `status`, `job_type`, `processing_path`, \
                            `from`, `to`, `q`, `label.KEY` and `param.NAME`. Jobs of any age. At least one condition.",
            "examples": [{ "label.team": "roads", "status": "failed" }],
        },
        "all": {
            "type": ["boolean", "null"], "default": false,
            "description": "All jobs are meant: true only with an empty filter.",
        },
        "confirm": {
            "type": ["boolean", "null"], "default": false,
            "description": "Begins the operation. Without it, the answer says which jobs there are, and nothing is done.",
        },
    });
    user_request::described(Operation::new())
        .body(true, object(properties, &["action"]))
        .answers::<BulkAnswer>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filter_of: Value) -> Result<BulkFilter, String> {
        let raw: Box<RawValue> = serde_json::from_str(&filter_of.to_string()).unwrap();
        filter(conditions(Some(raw))?, &["hello_world"]).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_filter_reads_as_the_list_of_jobs_does() {
        let read = read(json!({
            "label.team": "roads", "param.n": 10, "status": "failed", "job_type": "hello_world", "to": "2026-11-25", "q": "ro",
        }))
        .unwrap();
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            json!({
                "label.team": "roads", "param.n": "10", "status": "failed", "job_type": "hello_world", "q": "ro",
                "to": "2026-11-26T00:00:00.000000+00:00",
            })
        );
    }

    #[test]
    fn errors_name_the_condition_and_what_is_allowed() {
        for (given, said) in [
            (
                json!({ "labels": "a" }),
                "filter has the unknown condition \"labels\"; allowed are status",
            ),
            (json!({ "hours": "3" }), "unknown condition \"hours\""),
            (json!({ "status": ["failed"] }), "filter.status must be text, not [\"failed\"]"),
            (json!({ "status": "done" }), "status must be one of queued"),
            (json!({ "job_type": "nope" }), "job_type must be one of hello_world, not"),
            (json!({ "label.": "a" }), "label.KEY needs the key of a label"),
            (json!(7), "filter must be an object of texts, not 7"),
        ] {
            let error = read(given).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
