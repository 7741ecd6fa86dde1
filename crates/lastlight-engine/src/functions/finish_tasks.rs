//! `POST /api/workers/finish`: records how attempts ended in a worker. An outcome that cannot be read
//! does not keep the others from being counted.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use lastlight_api::workers::{
    Counting, FinishAnswers, MOST_TASKS, OutcomeAnswer as Answer, OutcomeKind,
};
use serde_json::{json, value::RawValue};

use super::{
    ApiError, AppState,
    json_fields::{ATTEMPT, Fields, attempt_schema, key, name_schema, object, text_schema},
    openapi::{Operation, Schemas},
    query::bad,
    stamped_answer,
};
use crate::{
    store::RunningTask,
    workflow::{LONGEST_PAUSE, OutcomeAnswer, WorkerOutcome, WorkerResult},
};

const FIELDS: [&str; 2] = ["worker_id", "outcomes"];

const OF_AN_OUTCOME: [&str; 10] = [
    "job_id",
    "stage",
    "task_id",
    "attempt",
    "outcome",
    "result",
    "error",
    "error_type",
    "retry_after_seconds",
    "log_tail",
];

/// The reason of a failure for which none was given.
const NO_REASON: &str = "the worker gave no reason";

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let send = "send {\"worker_id\": …, \"outcomes\": [{\"job_id\": …, \"stage\": …, \"task_id\": …, \"attempt\": …, \
                \"outcome\": \"completed\", \"result\": …}]}";
    let mut fields = Fields::of_body(&body?, send)?;
    fields.required_name("worker_id", 100).map_err(bad)?;
    let list = fields.list("outcomes", 1..=MOST_TASKS.into()).map_err(bad)?;
    fields.finish(&FIELDS).map_err(bad)?;
    let mut answers = Vec::with_capacity(list.len());
    let (mut places, mut outcomes) = (Vec::new(), Vec::new());
    for (index, item) in list.into_iter().enumerate() {
        let (task, outcome) = outcome(index, &item);
        let named = task.map(key);
        let error = match outcome {
            Ok(outcome) => {
                places.push(index);
                outcomes.push(outcome);
                None
            }
            Err(error) => Some(error),
        };
        answers.push(Answer { key: named, answer: Counting::Invalid, error });
    }
    let counted = app.controller.finish_for_worker(outcomes).await?;
    for (place, counted) in places.into_iter().zip(counted) {
        answers[place].answer = match counted {
            OutcomeAnswer::Counted => Counting::Counted,
            OutcomeAnswer::Superseded => Counting::Superseded,
            OutcomeAnswer::Unknown => Counting::Unknown,
        };
    }
    Ok(stamped_answer(StatusCode::OK, FinishAnswers { outcomes: answers }))
}

/// An outcome, and the attempt that it names, if it names one.
fn outcome(index: usize, item: &RawValue) -> (Option<RunningTask>, Result<WorkerOutcome, String>) {
    let mut fields = match Fields::of_item("outcomes", index, item) {
        Ok(fields) => fields,
        Err(problem) => return (None, Err(problem)),
    };
    match fields.attempt() {
        Ok(task) => (Some(task.clone()), outcome_of(task, index, fields)),
        Err(problem) => (None, Err(problem)),
    }
}

fn outcome_of(
    task: RunningTask,
    index: usize,
    mut fields: Fields,
) -> Result<WorkerOutcome, String> {
    let kind = fields.one_of("outcome", &OutcomeKind::ALL, OutcomeKind::as_str)?;
    // null is a result; a completed attempt without one is a mistake.
    let result = fields.raw_or_null("result");
    let error = fields.text("error")?;
    let error_type = fields.text("error_type")?;
    let longest = LONGEST_PAUSE.as_secs_f64();
    let after = fields.number("retry_after_seconds", 0.0..=longest)?;
    let log_tail = fields.text("log_tail")?;
    fields.finish(&OF_AN_OUTCOME)?;
    let error = error.unwrap_or_else(|| NO_REASON.to_owned());
    let result = match kind {
        OutcomeKind::Completed => WorkerResult::Completed(result.ok_or_else(|| {
            format!("outcomes[{index}].result is missing: any JSON, for a completed attempt")
        })?),
        OutcomeKind::Failed => WorkerResult::Failed { error, error_type },
        OutcomeKind::Retry => {
            WorkerResult::Retry { error, after: after.map(Duration::from_secs_f64) }
        }
        OutcomeKind::Released => WorkerResult::Released,
    };
    Ok(WorkerOutcome { task, result, log_tail })
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let mut outcome = attempt_schema();
    outcome["outcome"] = json!({
        "enum": OutcomeKind::ALL.map(OutcomeKind::as_str),
        "description": "How the attempt ended. After `failed` it is tried again as often as the job allows, unless \
                        error_type names an error that no attempt changes; `released` gives the task back, and the \
                        attempt does not count.",
    });
    outcome["result"] = json!({ "description": "Of a completed attempt: any JSON of at most 1 MiB, nested at most 64 deep." });
    outcome["error"] = text_schema("Why it failed or is to be tried again.");
    outcome["error_type"] = text_schema("The kind of the error, such as the name of its class.");
    outcome["retry_after_seconds"] = json!({
        "type": ["number", "null"], "minimum": 0, "maximum": LONGEST_PAUSE.as_secs(),
        "description": "Of a retry: the pause before the next attempt, in place of the usual one.",
    });
    outcome["log_tail"] = text_schema("The end of its log; the last 64 KiB are kept.");
    let required: Vec<&str> = ATTEMPT.into_iter().chain(["outcome"]).collect();
    let body = object(
        json!({
            "worker_id": name_schema(100, "The worker's name."),
            "outcomes": {
                "type": "array",
                "items": {
                    "anyOf": [
                        object(outcome, &required),
                        { "description": "Anything else is answered with `invalid`." },
                    ],
                },
                "minItems": 1, "maxItems": MOST_TASKS,
                "description": "What became of attempts. One that cannot be read is answered with `invalid`, and the \
                                others count.",
            },
        }),
        &FIELDS,
    );
    Operation::new()
        .body(true, body)
        .answers::<FinishAnswers>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE])
}
