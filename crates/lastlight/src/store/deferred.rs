//! Deferred tasks: their messages came when a process had no room for them, so they are unsent
//! again until one has. No attempt is counted. Who has room, and when, is not known here.

use std::time::Duration;

use super::{
    ClaimRequest, Database, DatabaseError, TaskDue, Unclaimed,
    claims::{Columns, in_key_order, place_of},
    group_commit::{GroupCommit, GroupStatement},
    sweep::task_due,
};
use crate::{failpoint::failpoint, model::TaskStatus};
use sqlx::Row;

/// What deferring a task came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// It gets a new message.
    Deferred,
    /// It is not to be begun now, nor later for this message.
    Unclaimed(Unclaimed),
}

/// The way in for deferrals: those that wait at the same moment share a statement.
#[derive(Debug)]
pub struct TaskDeferrals(GroupCommit<DeferStatement>);

impl TaskDeferrals {
    pub fn start(database: Database) -> Self {
        Self(GroupCommit::start(DeferStatement {
            database,
            from: TaskStatus::sources(TaskStatus::PendingQueue),
        }))
    }

    /// Defers a task; the answer is committed.
    ///
    /// # Errors
    /// The database failed: the message must come again.
    pub async fn defer(&self, request: ClaimRequest) -> Result<Deferral, DatabaseError> {
        self.0.submit(request).await
    }
}

#[derive(Debug)]
struct DeferStatement {
    database: Database,
    from: Vec<&'static str>,
}

impl GroupStatement for DeferStatement {
    type Request = ClaimRequest;
    type Answer = Deferral;

    /// A message whose task was not deferred comes again.
    fn timeout(&self) -> Option<Duration> {
        Some(self.database.timeout())
    }

    async fn run(&self, requests: &[ClaimRequest]) -> Result<Vec<Deferral>, DatabaseError> {
        failpoint!("defer.before_commit", Err(DatabaseError::lost()));
        let order = in_key_order(requests);
        let wanted = Columns::of(order.iter().map(|place| &requests[*place]));
        let rows = sqlx::query(include_str!("sql/defer_tasks.sql"))
            .bind(wanted.jobs)
            .bind(wanted.stages)
            .bind(wanted.tasks)
            .bind(&self.from)
            .fetch_all(self.database.pool().await?)
            .await?;
        failpoint!("defer.after_commit", Err(DatabaseError::lost()));
        let mut deferrals: Vec<Option<Deferral>> = requests.iter().map(|_| None).collect();
        for row in &rows {
            deferrals[place_of(&order, row)?] = Some(Deferral::Deferred);
        }
        let left: Vec<usize> =
            order.into_iter().filter(|place| deferrals[*place].is_none()).collect();
        for (place, unclaimed) in self.database.unclaimed(requests, &left).await? {
            deferrals[place] = Some(Deferral::Unclaimed(unclaimed));
        }
        // The same task twice in one group: the second message is one too many.
        let deferrals: Vec<Deferral> = deferrals
            .into_iter()
            .map(|deferral| deferral.unwrap_or(Deferral::Unclaimed(Unclaimed::Running)))
            .collect();
        self.database
            .note_duplicates(requests, &deferrals, |deferral| match deferral {
                Deferral::Deferred => None,
                Deferral::Unclaimed(unclaimed) => Some(*unclaimed),
            })
            .await;
        Ok(deferrals)
    }
}

impl Database {
    /// Takes deferred tasks whose new message is due, the longest due first: they count as sent,
    /// and are due once more after `again_seconds` unless somebody begins them. Takes up to `limit`
    /// of them, less those that were sent within the last `arriving_seconds`, whoever sent them,
    /// and that nobody has begun or deferred since.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn take_deferred(
        &self,
        again_seconds: f64,
        limit: i64,
        arriving_seconds: f64,
    ) -> Result<Vec<TaskDue>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/take_deferred.sql"))
            .bind(again_seconds)
            .bind(limit)
            .bind(TaskStatus::sources(TaskStatus::Processing))
            .bind(TaskStatus::sources(TaskStatus::Queued))
            .bind(arriving_seconds)
            .fetch_all(self.pool().await?)
            .await?;
        failpoint!("defer.taken", Err(DatabaseError::lost()));
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.try_get("waits")? {
                due.push(task_due(row)?);
            }
        }
        Ok(due)
    }
}
