//! `GET /api/openapi.json`: the OpenAPI 3.1 document, generated from the table of functions and the
//! operations that each function describes.

mod operation;

use axum::{Json, extract::State};
use lastlight_api::job_types::JobTypeInfo;
use serde_json::{Map, Value, json};

use super::{
    AppState, Trigger, functions,
    submit_job::LABELS,
    table::{Address, Described},
};
use crate::{job::Catalog, queries};
pub(super) use operation::{Operation, Schemas};

pub(super) async fn handle(State(app): State<AppState>) -> Json<Value> {
    Json(document(app.queries.describe_job_types()))
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    Operation::new().answers_object()
}

/// The OpenAPI document of an app with these job types.
pub fn openapi_document(catalog: &Catalog) -> Value {
    document(queries::described(catalog))
}

fn document(job_types: Vec<JobTypeInfo>) -> Value {
    let mut schemas = Schemas::new(job_types);
    let mut paths = Map::new();
    for function in functions() {
        let Trigger::Http { key, .. } = function.trigger else {
            continue;
        };
        for Address { path, operations, .. } in function.addresses {
            // Alternative spellings of an address are not described.
            if operations.is_empty() {
                continue;
            }
            let tag = path.split('/').nth(2).unwrap_or_default();
            let described = operations.iter().map(|described| {
                let Described { method, describe, .. } = described;
                let operation = describe(&mut schemas);
                (
                    (*method).to_owned(),
                    operation.describe(described, key, tag.trim_end_matches(".json")),
                )
            });
            paths.insert((*path).to_owned(), Value::Object(described.collect()));
        }
    }
    submit_by_job_type(&mut paths, &schemas.job_types);
    let mut components = schemas.finish();
    components.insert("Stamp".to_owned(), stamp());
    components.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lastlight", "version": env!("CARGO_PKG_VERSION"),
            "description": "Job → Stage → Task orchestration for Azure Functions.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "key": [] }, { "code": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "x-functions-key" },
                "code": { "type": "apiKey", "in": "query", "name": "code" },
            },
        },
    })
}

/// Replaces the submission path by one path per job type, each with the schema of the parameters of
/// its job type.
fn submit_by_job_type(paths: &mut Map<String, Value>, job_types: &[JobTypeInfo]) {
    const PART: &str = "{job_type}";
    let Some((path, general)) = paths
        .iter()
        .find(|(path, _)| path.ends_with(PART))
        .map(|(path, general)| (path.clone(), general.clone()))
    else {
        return;
    };
    paths.remove(&path);
    for job_type in job_types {
        let mut own = general.clone();
        let operation = &mut own["post"];
        let id =
            format!("{}_{}", operation["operationId"].as_str().unwrap_or_default(), job_type.name);
        operation["operationId"] = Value::from(id);
        operation["description"] = Value::from(job_type.description.as_str());
        operation["parameters"] = json!([]);
        let mut body = job_type.parameters.clone();
        // A job type that has a parameter of this name keeps it.
        if let Some(Value::Object(fields)) = body.get_mut("properties") {
            fields.entry(LABELS).or_insert_with(|| json!({
                "anyOf": [{ "$ref": "#/components/schemas/Labels" }, { "type": "null" }],
                "description": "Labels by which the job can be found: no parameter, and no part of its identity.",
            }));
        }
        operation["requestBody"]["content"]["application/json"]["schema"] = body;
        paths.insert(path.replace(PART, &job_type.name), own);
    }
}

/// The fields of every response.
fn stamp() -> Value {
    json!({
        "type": "object",
        "properties": {
            "request_id": { "type": "string" },
            "timestamp": { "type": "string", "format": "date-time" },
        },
        "required": ["request_id", "timestamp"],
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "properties": {
            "error": { "type": "string", "description": "The kind of error, in a few words." },
            "message": { "type": "string", "description": "What went wrong and how to fix it." },
            "problems": {
                "type": "array", "items": { "type": "object" }, "description": "One entry per invalid field, if there are several.",
            },
            "request_id": { "type": "string" },
            "timestamp": { "type": "string", "format": "date-time" },
        },
        "required": ["error", "message", "request_id", "timestamp"],
    })
}
