//! `GET /api/schedules`: lists the schedules. `POST /api/schedules`: makes one, or replaces the one of its name.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::schedules::{
    CATCH_UP_LIMIT, CatchUp, LONGEST_JITTER, LONGEST_NAME, MOST_CAUGHT_UP, Overlap,
    ScheduleRequest, ScheduleSet, Schedules,
};
use serde_json::{Map, Value, json};

use super::{
    ApiError, AppState, body,
    json_fields::{Fields, object},
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer,
};

const FIELDS: [&str; 9] = [
    "name",
    "job_type",
    "parameters",
    "cron",
    "time_zone",
    "jitter_seconds",
    "overlap",
    "catch_up",
    "catch_up_limit",
];

pub(super) async fn list(State(app): State<AppState>) -> Result<Response, ApiError> {
    Ok(stamped_answer(StatusCode::OK, app.queries.schedules().await?))
}

pub(super) async fn set(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let send =
        "send {\"name\": \"nightly\", \"job_type\": \"hello_world\", \"cron\": \"0 3 * * *\"}";
    let parameters = body::object(&body, send)?.remove("parameters");
    let request = request(Fields::of_body(&body, send)?, parameters).map_err(bad)?;
    Ok(stamped_answer(StatusCode::OK, app.controller.set_schedule(&request).await?))
}

/// Reads the fields of the body; `parameters` is that field as its numbers are hashed.
fn request(mut fields: Fields, parameters: Option<Value>) -> Result<ScheduleRequest, String> {
    let name = fields.required_name("name", LONGEST_NAME)?;
    let job_type = fields.required_name("job_type", 50)?;
    drop(fields.raw("parameters"));
    let parameters = match parameters {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(parameters)) => parameters,
        Some(other) => {
            return Err(format!(
                "parameters must be an object, not {}",
                shortened(&other.to_string())
            ));
        }
    };
    let cron = fields.text("cron")?.ok_or(
        "cron is missing: five fields (minute, hour, day of month, month, day of week), such as \"30 2 * * *\"",
    )?;
    let time_zone = fields.text("time_zone")?;
    let longest = u16::try_from(LONGEST_JITTER).unwrap_or(u16::MAX);
    let jitter_seconds = fields.whole("jitter_seconds", 0..=longest)?.map(u32::from);
    let overlap = fields.choice("overlap", Overlap::ALL, Overlap::as_str)?;
    let catch_up = fields.choice("catch_up", CatchUp::ALL, CatchUp::as_str)?;
    let catch_up_limit = fields.whole("catch_up_limit", 1..=MOST_CAUGHT_UP)?;
    fields.finish(&FIELDS)?;
    Ok(ScheduleRequest {
        name,
        job_type,
        parameters,
        cron,
        time_zone,
        jitter_seconds,
        overlap,
        catch_up,
        catch_up_limit,
    })
}

pub(super) fn operation_of_list(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<Schedules>(schemas)
}

pub(super) fn operation_of_set(schemas: &mut Schemas) -> Operation {
    let job_types: Vec<String> =
        schemas.job_types.iter().map(|job_type| job_type.name.clone()).collect();
    let properties = json!({
        "name": {
            "type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": NAME,
            "description": "The name: one that exists is replaced.",
        },
        "job_type": { "enum": job_types, "description": "The type of the job, or the name of a workflow." },
        "parameters": {
            "type": ["object", "null"],
            "description": "The parameters of each submission. In texts, {{ due_at }}, {{ due_date }} and other placeholders \
                            stand for the due time.",
        },
        "cron": {
            "type": "string",
            "description": "Five fields (minute, hour, day of month, month, day of week), or @hourly, @daily, @weekly, \
                            @monthly or @yearly.",
        },
        "time_zone": {
            "type": ["string", "null"], "default": "UTC",
            "description": "A name of the IANA time zone database.",
        },
        "jitter_seconds": {
            "type": ["integer", "null"], "minimum": 0, "maximum": LONGEST_JITTER, "default": 0,
            "description": "A due time is submitted up to this number of seconds later, always the same for one due time.",
        },
        "overlap": {
            "enum": ["skip", "queue", "allow", null], "default": "skip",
            "description": "What happens at a due time while a job of an earlier run is not over.",
        },
        "catch_up": {
            "enum": ["none", "last", "all", null], "default": "last",
            "description": "What happens to due times that passed while no process ran.",
        },
        "catch_up_limit": {
            "type": ["integer", "null"], "minimum": 1, "maximum": MOST_CAUGHT_UP, "default": CATCH_UP_LIMIT,
            "description": "Maximum number of due times that are made up for, and that wait.",
        },
    });
    Operation::new()
        .body(true, object(properties, &["name", "job_type", "cron"]))
        .answers::<ScheduleSet>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::PAYLOAD_TOO_LARGE])
}

/// What a name may be.
pub(super) const NAME: &str = "^[A-Za-z_][A-Za-z0-9_.-]*$";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<ScheduleRequest, String> {
        let fields = Fields::of_body(body.to_string().as_bytes(), "").unwrap();
        request(fields, body.get("parameters").cloned())
    }

    #[test]
    fn a_request_needs_a_name_a_job_type_and_times() {
        let plain =
            read(json!({ "name": "n", "job_type": "t", "cron": "@daily", "overlap": null }))
                .unwrap();
        assert_eq!((plain.name.as_str(), plain.cron.as_str()), ("n", "@daily"));
        assert_eq!((plain.overlap, plain.catch_up_limit, plain.time_zone), (None, None, None));
        let whole = read(json!({
            "name": "n", "job_type": "t", "cron": "@daily", "parameters": { "n": 1 }, "time_zone": "UTC",
            "jitter_seconds": 30, "overlap": "queue", "catch_up": "all", "catch_up_limit": 1000,
        }));
        let whole = whole.unwrap();
        assert_eq!((whole.overlap, whole.catch_up), (Some(Overlap::Queue), Some(CatchUp::All)));
        assert_eq!((whole.jitter_seconds, whole.catch_up_limit), (Some(30), Some(1000)));
        assert_eq!(whole.parameters["n"], 1);
    }

    #[test]
    fn errors_of_a_schedule_name_field_and_value() {
        let whole = json!({ "name": "n", "job_type": "t", "cron": "@daily" });
        let with = |field: &str, value: Value| {
            let mut body = whole.clone();
            body[field] = value;
            body
        };
        for (body, said) in [
            (json!({}), "name is missing"),
            (json!({ "name": "n", "job_type": "t" }), "cron is missing: five fields"),
            (with("cron", json!(5)), "cron must be text, not 5"),
            (with("parameters", json!([1])), "parameters must be an object, not [1]"),
            (
                with("jitter_seconds", json!(3601)),
                "jitter_seconds must be a whole number from 0 to 3600, not 3601",
            ),
            (with("jitter_seconds", json!(-1)), "not -1"),
            (
                with("overlap", json!("never")),
                r#"overlap must be "skip", "queue", "allow", not "never""#,
            ),
            (with("catch_up", json!(true)), r#"catch_up must be "none", "last", "all", not true"#),
            (
                with("catch_up_limit", json!(0)),
                "catch_up_limit must be a whole number from 1 to 1000, not 0",
            ),
            (with("timezone", json!("UTC")), "unknown field timezone; allowed are name, job_type"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
