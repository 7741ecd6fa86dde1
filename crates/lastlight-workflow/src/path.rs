//! Paths into values: `params.options.crs`, `validate.result.bands.0`. Knows how a path was
//! resolved, not where it was written.

use std::fmt;

use serde_json::Value;

use crate::{
    NodeNumber,
    names::{did_you_mean, listed, type_of},
};

/// A path with its root resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePath {
    pub(crate) text: String,
    pub(crate) root: Root,
    pub(crate) keys: Vec<String>,
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The job's parameters: `params` or `inputs`.
    Parameters,
    /// The output of a node, whole.
    Output(NodeNumber),
    /// A parameter of the node's own handler: in `when` only.
    Own(String),
}

impl ValuePath {
    /// Where it begins.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The keys below the root. One that is a number is an index where it meets a list.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The node whose output it looks into.
    pub(crate) fn node(&self) -> Option<NodeNumber> {
        match self.root {
            Root::Output(node) => Some(node),
            Root::Parameters | Root::Own(_) => None,
        }
    }
}

/// As it was written.
impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a path leads nowhere: the value that it reached, and the key that this value does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// How many keys of the path were found.
    pub(crate) found: usize,
    /// The sentence after the path of the reached value: "has no key b: its keys are a, c".
    pub(crate) reason: String,
}

/// The value below this one at these keys. A key that is a number indexes a list. A null that is
/// stored is a value.
///
/// # Errors
/// A key is missing.
pub(crate) fn walk<'v, 'k>(
    value: &'v Value,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<&'v Value, Missing> {
    let mut reached = value;
    for (found, key) in keys.into_iter().enumerate() {
        let next = match reached {
            Value::Object(fields) => fields.get(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
        reached = next.ok_or_else(|| Missing { found, reason: missing(reached, key) })?;
    }
    Ok(reached)
}

fn missing(value: &Value, key: &str) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => {
            format!("has no key {key}: it is an empty object")
        }
        Value::Object(fields) => {
            let keys = || fields.keys().map(String::as_str);
            let meant = did_you_mean(key, keys());
            format!("has no key {key}: its keys are {}{meant}", listed(keys()))
        }
        Value::Array(items) => format!("has no item {key}: it is a list of {} items", items.len()),
        other => format!("has no key {key}: it is {}", type_of(other)),
    }
}

/// Whether a value counts as yes in `when` and in a branch's `truthy`: not null, false, 0, an empty
/// text, list or object.
pub(crate) fn is_yes(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(value: &Value, path: &str) -> Result<Value, String> {
        walk(value, path.split('.')).cloned().map_err(|missing| missing.reason)
    }

    #[test]
    fn a_number_indexes_a_list_and_is_a_key_of_an_object() {
        let value = json!({"bands": [{"name": "red"}, null], "by": {"0": "first"}});
        assert_eq!(at(&value, "bands.0.name"), Ok(json!("red")));
        assert_eq!(at(&value, "bands.1"), Ok(Value::Null), "a null that is stored is a value");
        assert_eq!(at(&value, "by.0"), Ok(json!("first")));
    }

    #[test]
    fn a_missing_key_is_told_with_the_keys_that_there_are() {
        let value = json!({"crs": "EPSG:4326", "bands": [1], "none": null, "empty": {}});
        let reason = |path| at(&value, path).unwrap_err();
        assert_eq!(
            reason("crss"),
            "has no key crss: its keys are bands, crs, empty, none; did you mean crs?"
        );
        assert_eq!(reason("bands.1"), "has no item 1: it is a list of 1 items");
        assert_eq!(reason("bands.first"), "has no item first: it is a list of 1 items");
        assert_eq!(reason("none.x"), "has no key x: it is null");
        assert_eq!(reason("crs.x"), "has no key x: it is text");
        assert_eq!(reason("empty.x"), "has no key x: it is an empty object");
    }

    #[test]
    fn null_false_zero_and_empty_values_count_as_no() {
        for no in [json!(null), json!(false), json!(0), json!(0.0), json!(""), json!([]), json!({})]
        {
            assert!(!is_yes(&no), "{no}");
        }
        for yes in [json!(true), json!(-1), json!(0.5), json!("no"), json!([0]), json!({"a": null})]
        {
            assert!(is_yes(&yes), "{yes}");
        }
    }
}
