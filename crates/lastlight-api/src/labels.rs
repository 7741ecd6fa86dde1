//! Labels: what users say of a job so that it can be found. They are no part of its identity, and
//! nothing depends on them.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// Maximum number of labels of a job.
pub const MOST_LABELS: usize = 16;

/// Maximum number of characters of a label's key.
pub const LONGEST_LABEL_KEY: usize = 63;

/// Maximum number of characters of a value by which jobs are found.
pub const LONGEST_LABEL_VALUE: usize = 256;

/// Labels of a job, by their keys. They satisfy the limits above; a key consists of `a` to `z`, `0` to
/// `9`, `.`, `_` and `-`, a value of characters that are no control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

/// What is wrong with labels. The message names the key or the value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("labels must be an object of texts, such as {{\"team\": \"roads\"}}, not {0}")]
    NotAnObject(String),
    #[error("labels must be at most {MOST_LABELS} texts, not {0}")]
    TooMany(usize),
    #[error(
        "a key of labels must be 1 to {LONGEST_LABEL_KEY} of a-z, 0-9, '.', '_' and '-', the first and the last a letter \
         or a digit, not {0:?}"
    )]
    Key(String),
    #[error(
        "labels.{key} must be text of 1 to {LONGEST_LABEL_VALUE} characters, none of them a control character, not {value}"
    )]
    Value {
        key: String,
        /// As JSON.
        value: String,
    },
    #[error("labels has the key {0:?} twice")]
    Twice(String),
    #[error("the field labels is given twice")]
    GivenTwice,
}

impl Labels {
    /// Checks labels and their number. A key that is given twice is an error.
    ///
    /// # Errors
    /// The first problem.
    pub fn of(labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, LabelError> {
        let mut read = Reading::default();
        for (key, value) in labels {
            read.add(key, Value::String(value))?;
        }
        read.finish()
    }

    /// Reads the field `labels` of a JSON object, which may be absent or null. A key that is given
    /// twice is an error, which a parser of JSON values would not notice.
    ///
    /// # Errors
    /// The first problem. A text that is no JSON object has no labels.
    pub fn of_body(body: &str) -> Result<Self, LabelError> {
        match serde_json::from_str(body) {
            Ok(FieldOfBody(labels)) => labels,
            Err(_) => Ok(Self::default()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// Checks a label's key.
///
/// # Errors
/// It is not allowed.
pub fn check_label_key(key: &str) -> Result<(), LabelError> {
    let is_outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = key.as_bytes();
    let is_allowed = bytes.len() <= LONGEST_LABEL_KEY
        && bytes.first().is_some_and(is_outer)
        && bytes.last().is_some_and(is_outer)
        && bytes.iter().all(|byte| is_outer(byte) || b"._-".contains(byte));
    if is_allowed { Ok(()) } else { Err(LabelError::Key(shortened(key))) }
}

/// Whether jobs can be found by this value.
pub fn is_label_value(value: &str) -> bool {
    (1..=LONGEST_LABEL_VALUE).contains(&value.chars().count())
        && !value.chars().any(char::is_control)
}

/// The beginning of a value, for an error.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Labels while they are read.
#[derive(Default)]
struct Reading {
    labels: BTreeMap<String, String>,
    count: usize,
}

impl Reading {
    fn add(&mut self, key: String, value: Value) -> Result<(), LabelError> {
        self.count += 1;
        check_label_key(&key)?;
        match value {
            Value::String(text) if is_label_value(&text) => {
                if self.labels.contains_key(&key) {
                    return Err(LabelError::Twice(key));
                }
                self.labels.insert(key, text);
                Ok(())
            }
            other => Err(LabelError::Value { key, value: shortened(&other.to_string()) }),
        }
    }

    fn finish(self) -> Result<Labels, LabelError> {
        if self.count > MOST_LABELS {
            return Err(LabelError::TooMany(self.count));
        }
        Ok(Labels(self.labels))
    }
}

/// Labels as they were sent, or what is wrong with them.
struct Sent(Result<Labels, LabelError>);

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Sent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sent, A::Error> {
                let mut read = Reading::default();
                let mut problem = None;
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    // The rest is counted.
                    match problem {
                        None => problem = read.add(key, value).err(),
                        Some(_) => read.count += 1,
                    }
                }
                Ok(Sent(match problem {
                    Some(problem) if read.count <= MOST_LABELS => Err(problem),
                    _ => read.finish(),
                }))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sent::deserialize(deserializer)?.0.map_err(D::Error::custom)
    }
}

/// The field `labels` of an object.
struct FieldOfBody(Result<Labels, LabelError>);

impl<'de> Deserialize<'de> for FieldOfBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = FieldOfBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldOfBody, A::Error> {
                let mut found: Option<Box<RawValue>> = None;
                let mut is_twice = false;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "labels" {
                        is_twice |= found.replace(map.next_value()?).is_some();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(FieldOfBody(match found {
                    _ if is_twice => Err(LabelError::GivenTwice),
                    None => Ok(Labels::default()),
                    Some(labels) if labels.get() == "null" => Ok(Labels::default()),
                    Some(labels) => match serde_json::from_str(labels.get()) {
                        Ok(Sent(labels)) => labels,
                        Err(_) => Err(LabelError::NotAnObject(shortened(labels.get()))),
                    },
                }))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

impl JsonSchema for Labels {
    fn schema_name() -> Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": MOST_LABELS,
            "propertyNames": {
                "type": "string", "minLength": 1, "maxLength": LONGEST_LABEL_KEY,
                "pattern": "^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$",
            },
            "additionalProperties": {
                "type": "string", "minLength": 1, "maxLength": LONGEST_LABEL_VALUE,
                "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
            },
            "description": "Labels by which the job can be found. They are no part of its identity.",
            "examples": [{ "team": "roads" }],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(body: &str) -> String {
        Labels::of_body(body).unwrap_err().to_string()
    }

    #[test]
    fn labels_are_read_from_a_body_and_written_back() {
        let labels = Labels::of_body(r#"{"n": 1, "labels": {"team": "roads", "a.b-c_9": "Ä"}}"#);
        let labels = labels.unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a.b-c_9", "Ä"), ("team", "roads")]);
        let written = serde_json::to_string(&labels).unwrap();
        assert_eq!(serde_json::from_str::<Labels>(&written).unwrap(), labels);
        for without in ["{}", r#"{"labels": null}"#, r#"{"labels": {}}"#, "[]"] {
            assert!(Labels::of_body(without).unwrap().is_empty(), "{without}");
        }
    }

    #[test]
    fn bad_labels_are_refused_with_key_and_value() {
        let long = "k".repeat(1024);
        let many: BTreeMap<String, &str> = (0..17).map(|n| (format!("k{n}"), "v")).collect();
        for (body, said) in [
            (json!({ "labels": { &*long: "v" } }).to_string(), "1 to 63 of a-z, 0-9"),
            (json!({ "labels": { "": "v" } }).to_string(), "not \"\""),
            (json!({ "labels": { "Team": "v" } }).to_string(), "not \"Team\""),
            (json!({ "labels": { "-a": "v" } }).to_string(), "not \"-a\""),
            (json!({ "labels": { "a.": "v" } }).to_string(), "not \"a.\""),
            (json!({ "labels": { "a\0b": "v" } }).to_string(), r#"not "a\0b""#),
            (
                json!({ "labels": { "a": "x\0y" } }).to_string(),
                r#"control character, not "x\u0000y""#,
            ),
            (json!({ "labels": { "a": "" } }).to_string(), "labels.a must be text of 1 to 256"),
            (json!({ "labels": { "a": "x".repeat(257) } }).to_string(), "labels.a must be text"),
            (json!({ "labels": { "a": 7 } }).to_string(), "not 7"),
            (json!({ "labels": { "a": null } }).to_string(), "not null"),
            (json!({ "labels": many }).to_string(), "labels must be at most 16 texts, not 17"),
            (json!({ "labels": ["a"] }).to_string(), "not [\"a\"]"),
            (json!({ "labels": "a=b" }).to_string(), "not \"a=b\""),
            (r#"{"labels": {"a": "1", "a": "2"}}"#.to_owned(), "labels has the key \"a\" twice"),
            (r#"{"labels": {"a": "1", "\u0061": "1"}}"#.to_owned(), "the key \"a\" twice"),
            (r#"{"labels": {}, "labels": {}}"#.to_owned(), "labels is given twice"),
        ] {
            let problem = problem(&body);
            assert!(problem.contains(said), "{problem}");
            assert!(problem.len() < 400, "{problem}");
        }
        assert!(
            Labels::of_body(&json!({ "labels": { "k".repeat(63): "ä".repeat(256) } }).to_string())
                .is_ok()
        );
    }
}
