//! What handlers answer, as results and failures of tasks.

use lastlight_workflow::{Failure, answer};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::job::TaskError;

/// The result of a task whose handler answered this: an object with `success`.
///
/// # Errors
/// The handler answered that it failed: for good if its `error_type` says so.
pub(super) fn result_of(answered: Box<RawValue>) -> Result<Box<RawValue>, TaskError> {
    #[derive(Deserialize)]
    struct Success {
        success: Option<bool>,
    }
    // Most answers need not be read as a whole.
    let text = answered.get();
    if text.trim_start().starts_with('{') {
        match serde_json::from_str::<Success>(text) {
            Ok(Success { success: Some(true) }) => return Ok(answered),
            Ok(Success { success: None }) if !text.contains("\"success\"") => {
                return wrapped(text);
            }
            _ => {}
        }
    } else {
        return wrapped(text);
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| TaskError::Permanent(format!("the result cannot be read: {error}")))?;
    let output = answer(value).map_err(failed)?;
    serde_json::value::to_raw_value(&output)
        .map_err(|error| TaskError::Permanent(format!("the result cannot be written: {error}")))
}

fn wrapped(result: &str) -> Result<Box<RawValue>, TaskError> {
    RawValue::from_string(format!("{{\"success\":true,\"result\":{result}}}"))
        .map_err(|error| TaskError::Permanent(format!("the result is not JSON: {error}")))
}

fn failed(Failure { error, error_type }: Failure) -> TaskError {
    TaskError::of_kind(error, error_type.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(value: Value) -> Result<Value, TaskError> {
        let raw = serde_json::value::to_raw_value(&value).unwrap();
        result_of(raw).map(|result| serde_json::from_str(result.get()).unwrap())
    }

    #[test]
    fn an_answer_without_success_is_the_result_of_a_success() {
        let whole = json!({ "success": true, "items": [1] });
        assert_eq!(answered(whole.clone()), Ok(whole));
        for value in [json!({ "a": { "success": true } }), json!([1]), json!(null), json!("text")] {
            assert_eq!(answered(value.clone()), Ok(json!({ "success": true, "result": value })));
        }
    }

    #[test]
    fn a_failure_is_tried_again_unless_its_type_says_never() {
        let failure = |kind| json!({ "success": false, "error": "no", "error_type": kind });
        assert_eq!(answered(failure("HTTPError")), Err(TaskError::transient("HTTPError: no")));
        assert_eq!(answered(failure("ValueError")), Err(TaskError::permanent("ValueError: no")));
        let plain = json!({ "success": false, "error": "no" });
        assert_eq!(answered(plain), Err(TaskError::transient("no")));
    }
}
