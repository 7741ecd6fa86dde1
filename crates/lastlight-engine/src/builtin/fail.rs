//! The handler `fail` fails, always or a share of its attempts: for trying out retries, tolerated
//! failures and what a workflow does after a failure.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    parameters::{number, read, within},
    reference::{HandlerReference, ParameterReference},
};
use crate::job::{TaskContext, TaskError};

pub(super) const NAME: &str = "fail";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parameters {
    /// The share of attempts that fail, 0 to 1.
    #[serde(deserialize_with = "number")]
    rate: f64,
    kind: Kind,
    /// The reason of the failure.
    message: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { rate: 1.0, kind: Kind::Permanent, message: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The task is tried again.
    Transient,
    /// The task fails.
    Permanent,
}

pub(super) fn reference() -> HandlerReference {
    let Parameters { rate, .. } = Parameters::default();
    HandlerReference {
        name: NAME,
        about: "Fails, always or a share of its attempts: for trying out retries, tolerated failures and what a workflow does \
                after a failure. Which attempts fail depends only on the task and the number of the attempt."
            .to_owned(),
        returns: "`{attempt}`, the number of the attempt that did not fail",
        parameters: vec![
            ParameterReference::optional(
                "rate",
                "a number from 0 to 1".to_owned(),
                rate,
                "The share of attempts that fail.",
            ),
            ParameterReference::optional(
                "kind",
                "`transient`, `permanent`".to_owned(),
                "permanent",
                "Whether the task is tried again.",
            ),
            ParameterReference::optional(
                "message",
                "text".to_owned(),
                "",
                "The reason of the failure.",
            ),
        ],
    }
}

/// The result of an attempt that was not among those that fail.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Passed {
    /// Number of the attempt, from 1.
    attempt: u32,
}

/// Fails, or returns the number of the attempt.
pub(super) async fn fail(context: TaskContext, given: Box<RawValue>) -> Result<Passed, TaskError> {
    let Parameters { rate, kind, message } = read(NAME, &given)?;
    let rate = within(NAME, "rate", rate, [0.0, 1.0])?;
    let attempt = context.attempt();
    if draw(context.task_id(), attempt) >= rate {
        return Ok(Passed { attempt });
    }
    let reason = message
        .unwrap_or_else(|| format!("the handler {NAME} fails attempt {attempt}, as asked for"));
    Err(match kind {
        Kind::Transient => TaskError::Transient(reason),
        Kind::Permanent => TaskError::Permanent(reason),
    })
}

/// A number from 0 up to 1 that looks random and is always the same for this attempt at this task,
/// so that a run can be repeated.
fn draw(task_id: &str, attempt: u32) -> f64 {
    let digest: [u8; 32] =
        Sha256::new().chain_update(task_id).chain_update(attempt.to_be_bytes()).finalize().into();
    let [a, b, c, d, ..] = digest;
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_given_share_of_attempts_fails() {
        let share = |rate: f64| {
            let failing = (0..10_000).filter(|task| draw(&format!("t-{task}"), 1) < rate).count();
            failing as f64 / 10_000.0
        };
        assert_eq!((share(0.0), share(1.0)), (0.0, 1.0));
        assert!((0.27..0.33).contains(&share(0.3)), "{}", share(0.3));
        // The numbers do not depend on the version of a library.
        assert_eq!(draw("t-1", 1), draw("t-1", 1));
        assert_ne!(draw("t-1", 1), draw("t-1", 2));
    }
}
