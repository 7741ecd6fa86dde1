//! `GET /api/db/tasks/{job_id}`: lists a job's tasks by stage, then by id.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::tasks::{TaskQueryInfo, TasksOfJob};

use super::{
    ApiError, AppState,
    cursor::Cursor,
    job_id,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    query_tasks::{filters, limit, stage, status},
    stamped_answer,
};
use crate::queries::{JobTaskFilter, JobTaskPosition};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let limit = limit(&query)?;
    let filter = JobTaskFilter { stage: stage(&query)?, status: status(&query)? };
    let after = JobTaskPosition::of(&query)?;
    let page = app.queries.list_tasks_of_job(&job_id, filter, after, limit).await?;
    let answer = TasksOfJob {
        query_info: TaskQueryInfo {
            limit,
            status: filter.status,
            stage: filter.stage,
            returned: page.rows.len(),
            scanned: page.looked_at,
            next_cursor: page.next.as_ref().map(Cursor::write),
        },
        tasks: page.rows,
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let operation = Operation::new().of_a_job();
    filters(operation, schemas).answers::<TasksOfJob>(schemas)
}
