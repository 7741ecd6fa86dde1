//! The answers of handlers.

use serde_json::{Value, json};

use crate::path::is_yes;

/// A handler's answer that it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Its reason.
    pub error: String,
    /// The kind of failure, if it named one: some are never tried again.
    pub error_type: Option<String>,
}

/// The output of a task whose handler answered this: the answer itself, if it says `success`; else
/// `{"success": true, "result": answer}`.
///
/// # Errors
/// The answer is `{"success": false, …}`.
pub fn answer(answer: Value) -> Result<Value, Failure> {
    let Some(success) = answer.get("success") else {
        return Ok(json!({ "success": true, "result": answer }));
    };
    if is_yes(success) {
        return Ok(answer);
    }
    let text = |name: &str| match answer.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let error = text("error").filter(|error| !error.is_empty()).or_else(|| text("message"));
    Err(Failure {
        error: error
            .unwrap_or_else(|| "the handler answered success: false, without an error".into()),
        error_type: text("error_type"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_success_is_the_output_whole() {
        let whole = json!({"success": true, "items": [1], "count": 1});
        assert_eq!(answer(whole.clone()), Ok(whole));
    }

    #[test]
    fn an_answer_without_success_is_the_result() {
        let wrapped = |value: Value| json!({"success": true, "result": value});
        for value in [json!({"crs": "EPSG:4326"}), json!([1]), json!(5), json!(null), json!({})] {
            assert_eq!(answer(value.clone()), Ok(wrapped(value)));
        }
    }

    #[test]
    fn an_answer_of_a_failure_has_its_error_and_type() {
        let failure = answer(json!({"success": false, "error": "no CRS", "error_type": "Invalid"}));
        let error_type = Some("Invalid".to_owned());
        assert_eq!(failure, Err(Failure { error: "no CRS".to_owned(), error_type }));
        let said = |answered| answer(answered).unwrap_err().error;
        assert_eq!(said(json!({"success": false, "message": "m"})), "m");
        assert_eq!(said(json!({"success": null, "error": {"code": 5}})), "{\"code\":5}");
        assert_eq!(
            said(json!({"success": false})),
            "the handler answered success: false, without an error"
        );
    }
}
