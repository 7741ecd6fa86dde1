//! Whether answers are as the OpenAPI document describes them.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use jsonschema::Validator;
use lastlight_engine::{functions::openapi_document, job::erased::Catalog};
use serde_json::{Value, json};

/// The document of an app without job types: submissions have no address in it.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi_document(&Catalog::default()));

/// One for each described answer that was given, by its place in the document.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// How an answer differs from its description; empty if nothing describes it.
pub fn differences(method: &str, address: &str, status: u16, body: &Value) -> Vec<String> {
    let Some(place) = described(method, address, status) else { return Vec::new() };
    let mut validators = VALIDATORS.lock().unwrap();
    let validator = validators.entry(place).or_insert_with_key(|place| {
        let schema = json!({
            "allOf": [DOCUMENT.pointer(place)],
            "components": DOCUMENT["components"],
        });
        jsonschema::draft202012::new(&schema).unwrap()
    });
    validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Where the document describes the JSON of an answer, as a JSON pointer.
fn described(method: &str, address: &str, status: u16) -> Option<String> {
    let path = address.split('?').next()?;
    let paths = DOCUMENT["paths"].as_object()?;
    // A path without parameters comes before one with them.
    let template = match paths.get_key_value(path) {
        Some((template, _)) => template,
        None => paths.keys().find(|template| is_of(template, path))?,
    };
    let place = format!(
        "/paths/{}/{}/responses/{status}/content/application~1json/schema",
        template.replace('~', "~0").replace('/', "~1"),
        method.to_ascii_lowercase(),
    );
    DOCUMENT.pointer(&place)?;
    Some(place)
}

/// Whether a path is of a template such as `/api/jobs/status/{job_id}`.
fn is_of(template: &str, path: &str) -> bool {
    let parts = |of: &'_ str| of.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (wanted, given) = (parts(template), parts(path));
    wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_as_described_is_told_with_its_field() {
        let told = differences("GET", "/api/health?full=true", 200, &json!({ "status": 7 }));
        assert!(told.iter().any(|difference| difference.starts_with("/status: ")), "{told:?}");
    }

    #[test]
    fn an_answer_that_nothing_describes_has_no_differences() {
        assert!(differences("GET", "/api/elsewhere", 200, &json!(7)).is_empty());
        assert!(differences("PUT", "/api/health", 200, &json!(7)).is_empty());
    }
}
