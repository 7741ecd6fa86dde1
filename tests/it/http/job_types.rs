//! `GET /api/jobs/types` describes the valid submissions, and submit enforces them: both come from
//! the same code.

use axum::{body::Body, http::StatusCode};
use serde_json::{Map, Value, json};

use crate::harness::{OfThisApp, TestApp};

async fn job_types(app: &TestApp) -> Vec<Value> {
    let answer = app.request("GET", "/api/jobs/types", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.body["job_types"].as_array().unwrap().clone()
}

#[tokio::test]
async fn job_types_are_listed_with_their_parameters() {
    let app = TestApp::start().await;
    insta::assert_json_snapshot!(job_types(&app).await);
}

/// Values at the limits of a property's schema, and invalid values just beyond them.
fn edges(schema: &Value) -> (Vec<Value>, Vec<Value>) {
    if let Some(values) = schema["enum"].as_array() {
        return (values.clone(), vec![json!("another"), json!(7)]);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
        other => panic!("no type: {other}"),
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, value) in [
        ("null", Value::Null),
        ("boolean", json!(true)),
        ("object", json!({})),
        ("array", json!([])),
        ("number", json!(1.5)),
    ] {
        // A number is not an integer. A null counts as no value, which only a required field
        // refuses.
        if types.contains(&name) { &mut good } else { &mut bad }.push(value);
    }
    if types.contains(&"integer") {
        let (least, most) =
            (schema["minimum"].as_u64().unwrap(), schema["maximum"].as_u64().unwrap());
        good.extend([json!(least), json!(most), json!(least.midpoint(most))]);
        bad.extend([json!(least as i64 - 1), json!(most + 1), json!(-1), json!(least.to_string())]);
    }
    if types.contains(&"string") {
        let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
        // The length counts characters, not bytes.
        good.extend([json!("é".repeat(least)), json!("x".repeat(least.max(1)))]);
        if let Some(most) = schema["maxLength"].as_u64() {
            good.push(json!("é".repeat(most as usize)));
            bad.push(json!("x".repeat(most as usize + 1)));
        }
        if least > 0 {
            bad.push(json!(""));
        }
        bad.push(json!(3));
    }
    (good, bad)
}

#[tokio::test]
async fn submissions_are_validated_by_their_schema() {
    let app = TestApp::start().await;
    let mut tried = 0;
    for job_type in job_types(&app).await {
        let name = job_type["name"].as_str().unwrap();
        let schema = &job_type["parameters"];
        let properties = schema["properties"].as_object().unwrap();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field.as_str().unwrap())
            .collect();
        let least: Map<String, Value> = required
            .iter()
            .map(|field| ((*field).to_owned(), edges(&properties[*field]).0.remove(0)))
            .collect();
        for field in &required {
            let mut without = least.clone();
            without.remove(*field);
            let answer = app.submit(name, Value::Object(without)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name} without {field}");
        }
        // Settings decide which addresses are good, and the state of a job whether it runs again:
        // operations/notifications.rs, operations/single_tasks.rs.
        let elsewhere = |field: &str| ["notify", "rerun"].contains(&field);
        for (field, property) in properties.iter().filter(|(field, _)| !elsewhere(field)) {
            let (good, bad) = edges(property);
            for (values, expected) in [(good, StatusCode::OK), (bad, StatusCode::BAD_REQUEST)] {
                for value in values {
                    let mut body = least.clone();
                    body.insert(field.clone(), value.clone());
                    let answer = app.submit(name, Value::Object(body)).await;
                    assert_eq!(
                        answer.status, expected,
                        "{name}: {field} = {value}: {}",
                        answer.body
                    );
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 80, "{tried} values were tried");
}
