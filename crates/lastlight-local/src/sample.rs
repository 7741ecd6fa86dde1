//! Sample parameters of a job type, from its JSON Schema: the required fields, each with its first
//! example or the smallest value that the schema allows. Rules that a schema says in other ways,
//! such as a pattern, are not known: whoever uses a sample checks it.

use serde_json::{Map, Value, json};

/// Depth at which a value that contains itself ends.
const DEEPEST: usize = 16;

/// The required fields of an object with this schema.
pub(crate) fn sample(schema: &Value) -> Map<String, Value> {
    Sampler { root: schema }.object(schema, 0)
}

struct Sampler<'a> {
    root: &'a Value,
}

impl Sampler<'_> {
    fn object(&self, schema: &Value, depth: usize) -> Map<String, Value> {
        let required = schema["required"].as_array().into_iter().flatten();
        required
            .filter_map(Value::as_str)
            .map(|name| (name.to_owned(), self.value(&schema["properties"][name], depth + 1)))
            .collect()
    }

    fn value(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        let given = ["/examples/0", "/default", "/const", "/enum/0"];
        if let Some(given) = given.iter().find_map(|place| schema.pointer(place)) {
            return given.clone();
        }
        let referred = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
        let options = ["/oneOf/0", "/anyOf/0", "/allOf/0"];
        let other = referred.and_then(|place| self.root.pointer(place));
        let other = other.or_else(|| options.iter().find_map(|place| schema.pointer(place)));
        if let Some(other) = other {
            return self.value(other, depth + 1);
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.first().and_then(Value::as_str),
            kind => kind.as_str(),
        };
        let limit = |name: &str| usize::try_from(schema[name].as_u64().unwrap_or(0)).unwrap_or(0);
        match kind {
            Some("integer" | "number") => least(schema),
            Some("boolean") => json!(false),
            Some("string") => json!("x".repeat(limit("minLength"))),
            Some("array") => {
                let item = || self.value(&schema["items"], depth + 1);
                json!(std::iter::repeat_with(item).take(limit("minItems")).collect::<Vec<_>>())
            }
            Some("object") => Value::Object(self.object(schema, depth)),
            _ => Value::Null,
        }
    }
}

/// The smallest number that a schema allows; without a lower limit 0, or the upper limit if it is
/// less.
fn least(schema: &Value) -> Value {
    let above = |limit: &Value| limit.as_i64().map(|limit| json!(limit.saturating_add(1)));
    let minimum = schema.get("minimum").cloned();
    let minimum = minimum.or_else(|| schema.get("exclusiveMinimum").and_then(above));
    let is_negative = |limit: &&Value| limit.as_f64().is_some_and(|limit| limit < 0.0);
    let maximum = || schema.get("maximum").filter(is_negative).cloned();
    minimum.or_else(maximum).unwrap_or(json!(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_fields_get_an_example_or_the_smallest_value() {
        for (schema, expected) in [
            (json!({ "type": "integer", "minimum": 1, "maximum": 9 }), json!(1)),
            (json!({ "type": "integer", "minimum": 1, "examples": [100, 5] }), json!(100)),
            (json!({ "type": "integer", "exclusiveMinimum": 1 }), json!(2)),
            (json!({ "type": "number", "minimum": -180.0 }), json!(-180.0)),
            (json!({ "type": "number", "maximum": -5 }), json!(-5)),
            (json!({ "type": ["integer", "null"], "maximum": 5 }), json!(0)),
            (json!({ "type": "string" }), json!("")),
            (json!({ "type": "string", "minLength": 3 }), json!("xxx")),
            (json!({ "type": "string", "enum": ["png", "tif"] }), json!("png")),
            (json!({ "type": "boolean" }), json!(false)),
            (json!({ "oneOf": [{ "const": "fast" }, { "const": "exact" }] }), json!("fast")),
            (
                json!({ "anyOf": [{ "$ref": "#/$defs/Area" }, { "type": "null" }] }),
                json!({ "west": -1 }),
            ),
            (
                json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 2 }),
                json!([false, false]),
            ),
            (json!({ "type": "array", "items": { "type": "boolean" } }), json!([])),
        ] {
            let whole = json!({
                "type": "object",
                "properties": { "field": schema, "other": { "type": "integer" } },
                "required": ["field"],
                "$defs": { "Area": {
                    "type": "object",
                    "properties": { "west": { "type": "integer", "minimum": -1 } },
                    "required": ["west"],
                } },
            });
            assert_eq!(Value::Object(sample(&whole)), json!({ "field": expected }), "{schema}");
        }
    }

    #[test]
    fn a_type_that_contains_itself_ends() {
        let node = json!({ "type": "object", "properties": { "next": { "$ref": "#/$defs/Node" } }, "required": ["next"] });
        let whole = json!({
            "properties": { "first": { "$ref": "#/$defs/Node" } }, "required": ["first"], "$defs": { "Node": node },
        });
        assert!(sample(&whole)["first"].is_object());
    }
}
