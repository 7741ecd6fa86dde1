//! The handler `sleep` waits: for a service that needs time, or as a stand-in for long work. It
//! holds its place among the tasks of the process while it waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    parameters::{number, read, within},
    reference::{HandlerReference, ParameterReference},
};
use crate::job::{TaskContext, TaskError};

pub(super) const NAME: &str = "sleep";

/// A day, in seconds: the longest time limit of an attempt.
const LONGEST_SECONDS: f64 = 86_400.0;

/// The shortest and the longest time between two reports of progress.
const REPORTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(deserialize_with = "number")]
    seconds: f64,
}

pub(super) fn reference() -> HandlerReference {
    HandlerReference {
        name: NAME,
        about: "Waits: for a service that needs time, or in place of long work. It holds its place among the tasks of the \
                process. An attempt ends by its time limit at the latest."
            .to_owned(),
        returns: "`{slept_seconds}`",
        parameters: vec![ParameterReference::required(
            "seconds",
            format!("a number from 0 to {LONGEST_SECONDS}"),
            "How long.",
        )],
    }
}

/// The result.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Slept {
    /// The seconds that were asked for.
    slept_seconds: f64,
}

/// Waits, and reports how much of the time is over. Ends at once if its result would be discarded.
pub(super) async fn sleep(context: TaskContext, given: Box<RawValue>) -> Result<Slept, TaskError> {
    let Parameters { seconds } = read(NAME, &given)?;
    let seconds = within(NAME, "seconds", seconds, [0.0, LONGEST_SECONDS])?;
    let whole = Duration::from_secs_f64(seconds);
    let [shortest, longest] = REPORTS;
    let pause = (whole / 100).clamp(shortest, longest);
    let began = Instant::now();
    loop {
        let over = began.elapsed();
        let left = whole.saturating_sub(over);
        if left.is_zero() {
            break;
        }
        let fraction = over.as_secs_f64() / seconds;
        context.progress(fraction, format!("slept {} of {seconds} s", over.as_secs()));
        tokio::select! {
            () = context.cancelled() => {
                return Err(TaskError::transient("the sleep was interrupted: its task was cancelled"));
            }
            () = tokio::time::sleep(pause.min(left)) => {}
        }
    }
    context.progress(1.0, format!("slept {seconds} s"));
    Ok(Slept { slept_seconds: seconds })
}
