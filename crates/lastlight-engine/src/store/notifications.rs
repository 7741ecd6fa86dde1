//! Notifications: what is to be told to whom, what was delivered, and what was given up. Whom to tell and what to say, the
//! caller decides; nothing is sent here.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    connection::{Database, DatabaseError},
    rows::{JsonText, StoredLabels, without_nul},
};
use crate::{
    failpoint::failpoint,
    model::{JobId, Labels, Stage},
};

/// Counts go up to this number.
const MOST_COUNTED: i64 = 10_000;

/// Maximum number of notifications of each state that are deleted in one statement.
const FORGOTTEN_AT_ONCE: i64 = 5000;

/// The notifications in a database.
#[derive(Debug, Clone, Copy)]
pub struct Notifications<'a>(&'a Database);

/// An event that is to be told, with its job.
#[derive(Debug, Clone)]
pub struct EventToTell {
    pub job_id: JobId,
    /// The number of the event.
    pub event_id: i64,
    /// What happened: `job_completed`, `job_failed`, `job_cancelled` or `gate_waiting`.
    pub kind: String,
    pub run: i32,
    /// The stage of a gate.
    pub stage: Option<Stage>,
    /// The name of this stage.
    pub node: Option<String>,
    pub happened_at: OffsetDateTime,
    /// More about the event, as JSON.
    pub detail: Option<JsonText>,
    pub job_type: String,
    /// The addresses that the job's submission named.
    pub addresses: Vec<String>,
    /// The job's labels.
    pub labels: Labels,
}

/// A notification of one event to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// The same for the same event and address.
    pub id: Uuid,
    pub job_id: JobId,
    /// The kind of the event.
    pub kind: String,
    pub address: String,
    /// What is sent.
    pub body: String,
}

/// A notification that this process is to send.
#[derive(Debug, Clone)]
pub struct DueNotification {
    pub notification_id: Uuid,
    pub job_id: JobId,
    pub address: String,
    /// What is sent.
    pub body: String,
    /// The number of this attempt, from 1.
    pub attempts: i32,
}

/// A notification, without what is sent.
#[derive(Debug, Clone)]
pub struct ListedNotification {
    pub notification_id: Uuid,
    pub job_id: JobId,
    /// The kind of the event.
    pub kind: String,
    pub address: String,
    pub created_at: OffsetDateTime,
    /// Number of attempts that began.
    pub attempts: i32,
    /// When the next attempt is due, unless it was delivered or given up.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When it is given up.
    pub give_up_at: OffsetDateTime,
    /// When it was delivered.
    pub delivered_at: Option<OffsetDateTime>,
    /// When it was given up.
    pub given_up_at: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Which notifications to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationFilter {
    pub pending: bool,
    pub given_up: bool,
    /// Only of a job: those that were delivered are found by their job alone.
    pub delivered: bool,
}

/// Numbers of notifications, counted up to 10,000 each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotificationCounts {
    /// They wait to be delivered.
    pub pending: i64,
    pub given_up: i64,
}

/// When an attempt that failed is followed by another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NextAttempt {
    /// After a number of seconds, if it is not given up by then.
    After(f64),
    /// Never: it is given up.
    Never,
}

/// A row of `take_notification_events.sql`.
struct TakenEvent {
    job_id: JobId,
    event_id: i64,
    /// Neither the job nor the event was deleted by hand.
    is_known: bool,
    kind: String,
    run: i32,
    stage: Option<Stage>,
    node: Option<String>,
    happened_at: OffsetDateTime,
    detail: Option<JsonText>,
    job_type: String,
    addresses: Vec<String>,
    labels: Labels,
}

impl TakenEvent {
    fn into_event(self) -> EventToTell {
        EventToTell {
            job_id: self.job_id,
            event_id: self.event_id,
            kind: self.kind,
            run: self.run,
            stage: self.stage,
            node: self.node,
            happened_at: self.happened_at,
            detail: self.detail,
            job_type: self.job_type,
            addresses: self.addresses,
            labels: self.labels,
        }
    }
}

impl Database {
    /// The notifications in a database.
    pub fn notifications(&self) -> Notifications<'_> {
        Notifications(self)
    }
}

impl Notifications<'_> {
    /// Writes the notifications of up to `limit` events, as `notifications_of` says; they are given up
    /// after `seconds`. Returns the number of events, and that of notifications.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn address(
        self,
        limit: i64,
        seconds: f64,
        notifications_of: impl Fn(&EventToTell) -> Vec<NewNotification>,
    ) -> Result<(u64, u64), DatabaseError> {
        let mut transaction = self.0.begin().await?;
        let taken =
            sqlx::query_file_as!(TakenEvent, "src/store/sql/take_notification_events.sql", limit)
                .fetch_all(&mut *transaction)
                .await?;
        if taken.is_empty() {
            return Ok((0, 0));
        }
        let events = taken.len() as u64;
        let job_ids: Vec<String> = taken.iter().map(|event| event.job_id.to_string()).collect();
        let event_ids: Vec<i64> = taken.iter().map(|event| event.event_id).collect();
        let new: Vec<NewNotification> = taken
            .into_iter()
            .filter(|event| event.is_known)
            .flat_map(|event| notifications_of(&event.into_event()))
            .collect();
        let mut written = 0;
        if !new.is_empty() {
            let ids: Vec<Uuid> = new.iter().map(|one| one.id).collect();
            let jobs: Vec<&str> = new.iter().map(|one| one.job_id.as_str()).collect();
            let kinds: Vec<&str> = new.iter().map(|one| one.kind.as_str()).collect();
            let addresses: Vec<&str> = new.iter().map(|one| one.address.as_str()).collect();
            let bodies: Vec<&str> = new.iter().map(|one| one.body.as_str()).collect();
            written = sqlx::query_file!(
                "src/store/sql/write_notifications.sql",
                &ids,
                &jobs as _,
                &kinds as _,
                &addresses as _,
                &bodies as _,
                seconds,
            )
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        }
        sqlx::query_file!("src/store/sql/end_notification_events.sql", &job_ids, &event_ids)
            .execute(&mut *transaction)
            .await?;
        failpoint!("notify.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("notify.after_commit", Err(DatabaseError::lost()));
        Ok((events, written))
    }

    /// Takes up to `limit` notifications that are due. For `lease_seconds` no other process takes them.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn take(
        self,
        lease_seconds: f64,
        limit: i64,
    ) -> Result<Vec<DueNotification>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            DueNotification,
            "src/store/sql/take_notifications.sql",
            lease_seconds,
            limit,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Records that a notification was delivered.
    ///
    /// # Errors
    /// The statement failed: it is sent again.
    pub async fn delivered(self, id: Uuid) -> Result<(), DatabaseError> {
        sqlx::query_file!("src/store/sql/notification_delivered.sql", id)
            .execute(self.0.pool().await?)
            .await?;
        Ok(())
    }

    /// Records that an attempt failed, unless a later one has begun; returns whether the notification
    /// is given up.
    ///
    /// # Errors
    /// The statement failed: the attempt is repeated once its process is presumed dead.
    pub async fn failed(
        self,
        attempt: &DueNotification,
        reason: &str,
        next: NextAttempt,
    ) -> Result<bool, DatabaseError> {
        let (seconds, never) = match next {
            NextAttempt::After(seconds) => (seconds, false),
            NextAttempt::Never => (0.0, true),
        };
        Ok(sqlx::query_file_scalar!(
            "src/store/sql/notification_failed.sql",
            attempt.notification_id,
            attempt.attempts,
            &*without_nul(reason),
            seconds,
            never,
        )
        .fetch_optional(self.0.pool().await?)
        .await?
        .unwrap_or_default())
    }

    /// Up to `limit` notifications: of one job, the newest first; or of all jobs that were not delivered,
    /// those first that were given up.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list(
        self,
        job_id: Option<&JobId>,
        filter: NotificationFilter,
        limit: i64,
    ) -> Result<Vec<ListedNotification>, DatabaseError> {
        let NotificationFilter { pending, given_up, delivered } = filter;
        let pool = self.0.pool().await?;
        Ok(match job_id {
            Some(job_id) => {
                sqlx::query_file_as!(
                    ListedNotification,
                    "src/store/sql/notifications_of_job.sql",
                    job_id.as_str(),
                    pending,
                    given_up,
                    delivered,
                    limit,
                )
                .fetch_all(pool)
                .await?
            }
            None => {
                sqlx::query_file_as!(
                    ListedNotification,
                    "src/store/sql/undelivered_notifications.sql",
                    pending,
                    given_up,
                    limit,
                )
                .fetch_all(pool)
                .await?
            }
        })
    }

    /// Counts the notifications that are not delivered.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn counts(self) -> Result<NotificationCounts, DatabaseError> {
        Ok(sqlx::query_file_as!(
            NotificationCounts,
            "src/store/sql/count_notifications.sql",
            MOST_COUNTED
        )
        .fetch_one(self.0.pool().await?)
        .await?)
    }

    /// Makes the notification `id` due again that was given up, or all such; they are given up after
    /// `seconds`. Returns how many.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn retry(self, id: Option<Uuid>, seconds: f64) -> Result<u64, DatabaseError> {
        Ok(sqlx::query_file!("src/store/sql/retry_notifications.sql", id, seconds)
            .execute(self.0.pool().await?)
            .await?
            .rows_affected())
    }

    /// Deletes notifications that were delivered, or given up, more than a number of seconds ago.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn forget(self, delivered: f64, given_up: f64) -> Result<(), DatabaseError> {
        sqlx::query_file!(
            "src/store/sql/forget_notifications.sql",
            delivered,
            given_up,
            FORGOTTEN_AT_ONCE
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }
}
