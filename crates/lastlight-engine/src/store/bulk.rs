//! Bulk operations: what is to be done to which jobs, and how far it is. What is done to a job, the caller decides.

use lastlight_api::bulk::{BulkAction, BulkFilter};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    connection::{Database, DatabaseError},
    rows::{JobPosition, JsonText, without_nul},
};
use crate::{
    failpoint::failpoint,
    model::{JobId, UserRequest},
};

/// The bulk operations in a database.
#[derive(Debug, Clone, Copy)]
pub struct BulkOperations<'a>(&'a Database);

/// A bulk operation that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewBulk<'a> {
    pub operation_id: Uuid,
    pub action: BulkAction,
    pub filter: &'a BulkFilter,
    pub request: &'a UserRequest,
    /// Number of jobs that were found, up to a bound.
    pub jobs: u64,
    /// Whether there are more.
    pub has_more: bool,
}

/// A bulk operation that this process carries out.
#[derive(Debug, Clone)]
pub struct TakenBulk {
    pub operation_id: Uuid,
    pub action: BulkAction,
    pub filter: BulkFilter,
    pub request: UserRequest,
    /// Only jobs that were submitted before.
    pub created_at: OffsetDateTime,
    pub position: BulkPosition,
}

/// How far a bulk operation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BulkPosition {
    /// Which of its lists of jobs.
    pub list: usize,
    /// The last job that was looked at in that list.
    pub after: Option<JobPosition>,
}

/// What was done since the last time.
#[derive(Debug, Clone, Copy)]
pub struct BulkProgress<'a> {
    /// A job was changed.
    pub done: bool,
    /// Why a job was refused.
    pub refused: Option<&'a str>,
    pub position: BulkPosition,
    pub is_finished: bool,
}

/// A bulk operation as users see it.
#[derive(Debug, Clone)]
pub struct BulkRecord {
    pub operation_id: Uuid,
    pub action: BulkAction,
    pub filter: JsonText,
    pub requested_by: Option<String>,
    pub reason: Option<String>,
    pub created_at: OffsetDateTime,
    pub jobs: i64,
    pub has_more: bool,
    pub done: i64,
    pub refused: i64,
    pub last_refusal: Option<String>,
    pub finished_at: Option<OffsetDateTime>,
    pub is_stopped: bool,
    pub stopped_by: Option<String>,
}

/// A row of `take_bulk.sql`.
struct TakenRow {
    operation_id: Uuid,
    action: BulkAction,
    filter: JsonText,
    requested_by: Option<String>,
    reason: Option<String>,
    created_at: OffsetDateTime,
    list: i16,
    after_time: Option<OffsetDateTime>,
    after_job_id: Option<JobId>,
}

impl Database {
    /// The bulk operations in a database.
    pub fn bulk(&self) -> BulkOperations<'_> {
        BulkOperations(self)
    }
}

impl BulkOperations<'_> {
    /// Stores an operation, once.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn create(self, new: NewBulk<'_>) -> Result<(), DatabaseError> {
        // Texts can always be written.
        let filter = serde_json::to_string(new.filter).unwrap_or_else(|_| "{}".to_owned());
        sqlx::query_file!(
            "src/store/sql/create_bulk.sql",
            new.operation_id,
            new.action.as_str(),
            filter as _,
            new.request.by.as_deref().map(without_nul) as _,
            new.request.reason.as_deref().map(without_nul) as _,
            new.jobs.cast_signed(),
            new.has_more,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Takes an operation that nobody carries out, as `owner`, for `seconds`.
    ///
    /// # Errors
    /// The statement failed, or the stored filter cannot be read.
    pub async fn take(self, owner: Uuid, seconds: f64) -> Result<Option<TakenBulk>, DatabaseError> {
        let row = sqlx::query_file_as!(TakenRow, "src/store/sql/take_bulk.sql", owner, seconds)
            .fetch_optional(self.0.pool().await?)
            .await?;
        failpoint!("bulk.taken", Err(DatabaseError::lost()));
        let Some(row) = row else { return Ok(None) };
        let filter = serde_json::from_str(row.filter.0.get())
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        let after = row.after_time.zip(row.after_job_id);
        Ok(Some(TakenBulk {
            operation_id: row.operation_id,
            action: row.action,
            filter,
            request: UserRequest { by: row.requested_by, reason: row.reason },
            created_at: row.created_at,
            position: BulkPosition {
                list: usize::try_from(row.list).unwrap_or_default(),
                after: after.map(|(created_at, job_id)| JobPosition { created_at, job_id }),
            },
        }))
    }

    /// Notes progress, and extends the time for which `owner` carries the operation out to `seconds`
    /// from now; with 0 it is released. `false`: it was stopped, or somebody else carries it out.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn advance(
        self,
        operation_id: Uuid,
        owner: Uuid,
        seconds: f64,
        progress: BulkProgress<'_>,
    ) -> Result<bool, DatabaseError> {
        failpoint!("bulk.before_note", Err(DatabaseError::lost()));
        let after = progress.position.after.as_ref();
        let noted = sqlx::query_file!(
            "src/store/sql/advance_bulk.sql",
            operation_id,
            owner,
            seconds,
            i64::from(progress.done),
            i64::from(progress.refused.is_some()),
            progress.refused.map(without_nul) as _,
            i16::try_from(progress.position.list).unwrap_or(i16::MAX),
            after.map(|after| after.created_at),
            after.map(|after| after.job_id.as_str()),
            progress.is_finished,
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        failpoint!("bulk.noted", Err(DatabaseError::lost()));
        Ok(noted.is_some())
    }

    /// Stops an operation; whether it went on until now.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stop(
        self,
        operation_id: Uuid,
        request: &UserRequest,
    ) -> Result<bool, DatabaseError> {
        let by = request.by.as_deref().map(without_nul);
        let stopped = sqlx::query_file!("src/store/sql/stop_bulk.sql", operation_id, by as _)
            .fetch_optional(self.0.pool().await?)
            .await?;
        Ok(stopped.is_some())
    }

    /// The newest `limit` operations, or the one with this id.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list(
        self,
        limit: i64,
        operation_id: Option<Uuid>,
    ) -> Result<Vec<BulkRecord>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            BulkRecord,
            "src/store/sql/list_bulk.sql",
            limit,
            operation_id as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Deletes operations that ended more than `seconds` ago.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn forget(self, seconds: f64) -> Result<(), DatabaseError> {
        sqlx::query_file!("src/store/sql/forget_bulk.sql", seconds)
            .execute(self.0.pool().await?)
            .await?;
        Ok(())
    }
}
