//! Reads the parameters of a built-in handler: a JSON object in which a task's own fields are
//! ignored and unknown fields are errors. An error names the handler and the field.

use std::fmt;

use serde::{Deserializer, de};
use serde_json::{Map, Value, value::RawValue};

use crate::job::TaskError;

/// The fields that every task of a workflow adds to its handler's parameters. A handler that has no
/// use for them ignores them.
pub(super) const OF_THE_TASK: [&str; 3] = ["_run_id", "_task_name", "_workflow"];

/// Reads the parameters.
///
/// # Errors
/// A permanent failure: they are no object, or they do not match the type.
pub(super) fn read<T: de::DeserializeOwned>(
    handler: &str,
    given: &RawValue,
) -> Result<T, TaskError> {
    let given: Value = serde_json::from_str(given.get())
        .map_err(|error| refused(handler, "its parameters cannot be read", error))?;
    let mut fields: Map<String, Value> = match given {
        Value::Object(fields) => fields,
        _ => return Err(no_object(handler)),
    };
    for name in OF_THE_TASK {
        fields.remove(name);
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => refused(handler, "its parameters", error.inner()),
            path => refused(handler, path, error.inner()),
        }
    })
}

/// The error about parameters that are no object.
pub(super) fn no_object(handler: &str) -> TaskError {
    TaskError::permanent(format!("handler {handler}: its parameters must be an object"))
}

/// The error about a parameter.
pub(super) fn refused(handler: &str, parameter: &str, problem: impl fmt::Display) -> TaskError {
    TaskError::permanent(format!("handler {handler}: {parameter}: {problem}"))
}

/// The number, if it is within the bounds.
///
/// # Errors
/// A permanent failure that names the parameter, the number and the bounds.
pub(super) fn within(
    handler: &str,
    parameter: &str,
    number: f64,
    [least, most]: [f64; 2],
) -> Result<f64, TaskError> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(refused(handler, parameter, format_args!("{number} is not from {least} to {most}")))
}

/// Reads a number; serde's own message for a value of another type names a Rust type.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Number;

    impl de::Visitor<'_> for Number {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E>(self, number: f64) -> Result<f64, E> {
            Ok(number)
        }

        fn visit_u64<E>(self, number: u64) -> Result<f64, E> {
            Ok(number as f64)
        }

        fn visit_i64<E>(self, number: i64) -> Result<f64, E> {
            Ok(number as f64)
        }
    }

    deserializer.deserialize_any(Number)
}
