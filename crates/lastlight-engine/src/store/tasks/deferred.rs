//! Deferred tasks: their messages arrived when the process had no capacity, so they are unsent
//! again until a process has. No attempt is counted. The caller decides when capacity is available.

use std::time::Duration;

use super::{
    ClaimRequest, TaskDue, Tasks, Unclaimed,
    claims::{Columns, in_key_order, place_of},
    group_commit::{GroupCommit, GroupStatement},
};
use crate::{
    failpoint::failpoint,
    model::{ProcessingPath, TaskStatus},
    store::{
        connection::{Database, DatabaseError},
        rows::{StageKey, StoredTrace, UnsentTask, unsent_task},
    },
};

/// Result of deferring a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// The task gets a new message.
    Deferred,
    /// The task is not to be started now, nor later because of this message.
    Unclaimed(Unclaimed),
}

/// Accepts deferrals; those that wait at the same moment share a statement.
#[derive(Debug)]
pub struct TaskDeferrals(GroupCommit<DeferStatement>);

impl TaskDeferrals {
    pub fn start(database: Database) -> Self {
        Self(GroupCommit::start(DeferStatement {
            database,
            from: TaskStatus::sources(TaskStatus::PendingQueue),
        }))
    }

    /// Defers a task; answers after the commit.
    ///
    /// # Errors
    /// The database failed: the message must be redelivered.
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

    /// A message whose task was not deferred is redelivered.
    fn timeout(&self) -> Option<Duration> {
        Some(self.database.timeout())
    }

    async fn run(&self, requests: &[ClaimRequest]) -> Result<Vec<Deferral>, DatabaseError> {
        failpoint!("defer.before_commit", Err(DatabaseError::lost()));
        let order = in_key_order(requests);
        let wanted = Columns::of(order.iter().map(|place| &requests[*place]));
        let places = sqlx::query_file_scalar!(
            "src/store/sql/defer_tasks.sql",
            &wanted.jobs as _,
            &wanted.stages,
            &wanted.tasks as _,
            &self.from as _,
        )
        .fetch_all(self.database.pool().await?)
        .await?;
        failpoint!("defer.after_commit", Err(DatabaseError::lost()));
        let mut deferrals: Vec<Option<Deferral>> = requests.iter().map(|_| None).collect();
        for place in places {
            deferrals[place_of(&order, place)?] = Some(Deferral::Deferred);
        }
        let left: Vec<usize> =
            order.into_iter().filter(|place| deferrals[*place].is_none()).collect();
        for (place, unclaimed) in self.database.tasks().unclaimed(requests, &left).await? {
            deferrals[place] = Some(Deferral::Unclaimed(unclaimed));
        }
        // The same task is twice in the group: the second message is a duplicate.
        let deferrals: Vec<Deferral> = deferrals
            .into_iter()
            .map(|deferral| deferral.unwrap_or(Deferral::Unclaimed(Unclaimed::Running)))
            .collect();
        self.database
            .tasks()
            .note_duplicates(requests, &deferrals, |deferral| match deferral {
                Deferral::Deferred => None,
                Deferral::Unclaimed(unclaimed) => Some(*unclaimed),
            })
            .await;
        Ok(deferrals)
    }
}

impl Tasks<'_> {
    /// Takes deferred tasks whose new message is due, in the order in which they became due: they
    /// count as sent, and are due again after `again_seconds` unless they are started. Takes up to
    /// `limit` of them, less the tasks that any process sent within the last `arriving_seconds` and
    /// that were not started or deferred since.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn take_deferred(
        self,
        again_seconds: f64,
        limit: i64,
        arriving_seconds: f64,
    ) -> Result<Vec<TaskDue>, DatabaseError> {
        let rows = sqlx::query_file!(
            "src/store/sql/take_deferred.sql",
            again_seconds,
            limit,
            &TaskStatus::sources(TaskStatus::Processing) as _,
            &TaskStatus::sources(TaskStatus::Queued) as _,
            arriving_seconds,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        failpoint!("defer.taken", Err(DatabaseError::lost()));
        let due = rows.into_iter().filter(|row| row.waits).map(|row| TaskDue {
            key: StageKey { job_id: row.job_id, stage: row.stage },
            tries: u16::try_from(row.tries).unwrap_or_default(),
            path: row.path,
            handler_id: None,
            task: unsent_task!(row),
        });
        Ok(due.collect())
    }
}
