//! `GET /api/openapi.json` describes the existing functions: the table of functions, the router and
//! the document agree.

use std::collections::BTreeSet;

use axum::{body::Body, http::StatusCode};
use lastlight_engine::functions::{Trigger, functions};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, TestApp};

async fn document(app: &TestApp) -> Value {
    let answer = app.request("GET", "/api/openapi.json", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.body
}

/// The paths of all functions with an HTTP trigger.
fn addresses_of_functions() -> BTreeSet<String> {
    let mut addresses = BTreeSet::new();
    for function in functions() {
        let Trigger::Http { route, .. } = function.trigger else {
            continue;
        };
        // An optional parameter makes two paths; each job type has a path of its own.
        match route.split_once('{') {
            Some((page, "file?}")) => {
                let page = page.trim_end_matches('/');
                addresses.extend([format!("/api/{page}"), format!("/api/{page}/{{file}}")]);
            }
            Some((submit, "job_type}")) => {
                addresses.extend(
                    ["hello_world", "sb_hello_world"].map(|name| format!("/api/{submit}{name}")),
                );
            }
            _ => addresses.extend([format!("/api/{route}")]),
        }
    }
    addresses
}

#[tokio::test]
async fn the_document_lists_exactly_the_http_functions() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let described: BTreeSet<String> =
        document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(described, addresses_of_functions());
}

#[tokio::test]
async fn described_methods_are_answered_and_no_others() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let asked = path.replace("{job_id}", &"0".repeat(64)).replace("{file}", "main.js");
        for (method, operation) in operations.as_object().unwrap() {
            let answer = app.request(&method.to_uppercase(), &asked, Body::empty()).await;
            let status = answer.status.as_str().to_owned();
            assert!(
                operation["responses"][&status].is_object(),
                "{method} {path} answers {status}, which is not described: {}",
                answer.body
            );
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
        let answer = app.request("PUT", &asked, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "PUT {path}");
    }
}

#[tokio::test]
async fn references_and_operation_ids_are_valid() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let mut names = BTreeSet::new();
    for operation in document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|operations| operations.as_object().unwrap().values())
    {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} stands twice");
        assert!(operation["summary"].as_str().unwrap().ends_with('.'));
    }
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference} leads nowhere"
        );
    }
    // The formats of numbers and times.
    let job = &document["components"]["schemas"]["JobView"]["properties"];
    assert_eq!(
        job["job_id"],
        json!({ "$ref": "#/components/schemas/JobId", "description": "The job's id: the hash of its type and parameters." })
    );
}

#[tokio::test]
async fn every_field_of_health_is_described() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let responses = &document["paths"]["/api/health"]["get"]["responses"];
    assert_eq!(responses["503"]["content"], responses["200"]["content"]);
    // First the schemas of its own fields, then that of the fields that every answer has.
    let parts = &responses["200"]["content"]["application/json"]["schema"]["allOf"];
    let mut described = BTreeSet::new();
    for part in [&parts[0]["allOf"][0], &parts[0]["allOf"][1], &parts[1]] {
        let schema = match part["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => part,
        };
        described.extend(schema["properties"].as_object().unwrap().keys().cloned());
    }
    let answer = app.request("GET", "/api/health", Body::empty()).await;
    let answered: BTreeSet<String> = answer.body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(answered, described);
}
