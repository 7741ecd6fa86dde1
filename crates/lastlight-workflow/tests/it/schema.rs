//! The JSON Schema of a workflow's parameters, and their defaults.

use serde_json::{Value, json};

use crate::{fragments::file, read, scene};

#[test]
fn parameters_have_a_json_schema() {
    insta::assert_json_snapshot!(scene().json_schema());
}

#[test]
fn each_type_has_its_schema() {
    let workflow = read(&file(
        "  a: {type: str, required: true, description: Which one.}
  b: {type: int, default: 5}
  c: {type: float}
  d: {type: bool, default: false}
  e: {type: list, default: [1]}
  f: {type: dict, required: true, nested: {g: {type: str, required: true}, h: {type: int}}}",
        "  n: {type: gate}",
    ));
    assert_eq!(
        workflow.json_schema(),
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "w",
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": "Which one."},
                "b": {"type": ["integer", "null"], "default": 5},
                "c": {"type": ["number", "null"]},
                "d": {"type": ["boolean", "null"], "default": false},
                "e": {"type": ["array", "null"], "default": [1]},
                "f": {
                    "type": "object",
                    "properties": {
                        "g": {"type": "string"},
                        "h": {"type": ["integer", "null"]},
                    },
                    "required": ["g"],
                    "additionalProperties": false,
                },
            },
            "required": ["a", "f"],
            "additionalProperties": false,
        })
    );
}

#[test]
fn defaults_are_filled_in_where_a_value_is_missing_or_null() {
    let filled = |submitted: Value| {
        let Value::Object(mut parameters) = submitted else { panic!() };
        scene().parameters().fill_in(&mut parameters);
        Value::Object(parameters)
    };
    let usual = json!({"blob_list": [], "processing_options": {}, "dry_run": false});
    assert_eq!(filled(json!({})), usual);
    assert_eq!(filled(json!({"dry_run": null})), usual);
    let given = filled(json!({"dry_run": true, "tile": {"size": null}, "other": 1}));
    assert_eq!(given["dry_run"], json!(true));
    assert_eq!(given["tile"], json!({"size": 512}), "fields of a dict that is there");
    assert_eq!(given["other"], json!(1));
}
