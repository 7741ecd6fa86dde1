//! `POST /api/notifications/retry`: sends notifications again that were given up, one or all.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::notifications::NotificationsRetried;
use serde_json::json;
use uuid::Uuid;

use super::{
    ApiError, AppState,
    json_fields::{Fields, object},
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer,
};

const FIELDS: [&str; 2] = ["notification_id", "all"];

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let send = "send {\"notification_id\": \"…\"}, or {\"all\": true}";
    let fields = Fields::of_body(&body?, send)?;
    let id = request(fields).map_err(bad)?;
    Ok(stamped_answer(StatusCode::OK, app.controller.retry_notifications(id).await?))
}

/// The notification that a request names; `None`: all.
fn request(mut fields: Fields) -> Result<Option<Uuid>, String> {
    let id = fields.name("notification_id", 100)?;
    let all = fields.flag("all")?.unwrap_or_default();
    fields.finish(&FIELDS)?;
    match (id, all) {
        (Some(id), false) => match id.parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(format!(
                "notification_id must be the id of a notification, as GET /api/notifications shows it, not \"{}\"",
                shortened(&id)
            )),
        },
        (None, true) => Ok(None),
        (Some(_), true) => {
            Err("all must be absent or false if notification_id is given".to_owned())
        }
        (None, false) => Err("notification_id is missing, or all, which must be true".to_owned()),
    }
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let properties = json!({
        "notification_id": {
            "type": ["string", "null"], "format": "uuid",
            "description": "The notification, which was given up.",
        },
        "all": {
            "type": ["boolean", "null"],
            "description": "Whether all notifications that were given up are sent again, in place of one.",
        },
    });
    let mut body = object(properties, &[]);
    body["anyOf"] = json!([
        {
            "required": ["notification_id"],
            "properties": { "notification_id": { "type": "string" }, "all": { "enum": [false, null] } },
        },
        {
            "required": ["all"],
            "properties": { "notification_id": { "type": "null" }, "all": { "const": true } },
        },
    ]);
    Operation::new().body(true, body).answers::<NotificationsRetried>(schemas).refuses(&[
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::PAYLOAD_TOO_LARGE,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(body: Value) -> Result<Option<Uuid>, String> {
        request(Fields::of_body(body.to_string().as_bytes(), "").unwrap())
    }

    #[test]
    fn a_request_names_one_notification_or_all() {
        let id = Uuid::from_u128(7);
        assert_eq!(read(json!({ "notification_id": id.to_string() })), Ok(Some(id)));
        assert_eq!(read(json!({ "all": true })), Ok(None));
        for (body, said) in [
            (json!({}), "notification_id is missing, or all"),
            (json!({ "all": false }), "notification_id is missing, or all"),
            (json!({ "all": "yes" }), "all must be true or false, not \"yes\""),
            (json!({ "all": true, "notification_id": id.to_string() }), "all must be absent"),
            (json!({ "notification_id": "7" }), "as GET /api/notifications shows it, not \"7\""),
            (json!({ "notification_id": 7 }), "notification_id must be text"),
            (json!({ "id": "7" }), "unknown field id; allowed are notification_id, all"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
