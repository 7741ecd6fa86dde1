//! `GET /api/workers`: lists the queues of tasks for workers, and the workers.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::workers::{WorkerList, WorkerValue};
use serde_json::json;

use super::{
    ApiError, AppState,
    json_fields::{NAME, is_name},
    openapi::{Operation, Schemas},
    query::{QueryParameters, bad, shortened},
    stamped_answer,
};

/// A number that an autoscaler asks for.
#[derive(Debug, Clone, Copy)]
enum Of {
    Depth,
    Open,
}

impl Of {
    const ALL: [Self; 2] = [Self::Depth, Self::Open];

    fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Open => "open",
        }
    }
}

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let queue = query.text("queue")?;
    if let Some(queue) = queue.filter(|queue| !is_name(queue, 50)) {
        return Err(bad(format!(
            "queue must be text of 1 to 50 characters, not {:?}",
            shortened(queue)
        )));
    }
    if let Some(value) = query.one_of("value", &Of::ALL, Of::as_str)? {
        let queues = app.queries.worker_queues(queue).await?;
        let of = |queue: &lastlight_api::workers::WorkerQueue| match value {
            Of::Depth => queue.depth,
            Of::Open => queue.open,
        };
        let value = queues.iter().map(of).sum();
        return Ok(stamped_answer(StatusCode::OK, WorkerValue { value }));
    }
    Ok(stamped_answer(StatusCode::OK, app.queries.workers(queue).await?))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let value = schemas.of::<WorkerValue>();
    let list = schemas.of::<WorkerList>();
    Operation::new()
        .query(
            "queue",
            json!({ "type": "string", "minLength": 1, "maxLength": 50, "pattern": NAME }),
            "Only this queue and its workers.",
        )
        .query(
            "value",
            json!({ "type": "string", "enum": ["depth", "open"] }),
            "Answer only {\"value\": n}, for autoscalers such as KEDA's metrics-api: the number of tasks that wait \
             (depth), or that wait or run (open).",
        )
        .answers_json(json!({ "anyOf": [list, value] }))
        .refuses(&[StatusCode::BAD_REQUEST])
}
