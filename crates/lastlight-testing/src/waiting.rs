//! How tests wait: for a condition, with a limit far above what any slow machine needs; or not at
//! all, since leases, grace periods and pauses expire when a test says so. No result depends on the
//! speed of the machine.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::app::TestApp;

/// The time after which a condition counts as never met.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Polls until there is a result.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < LIMIT, "within {LIMIT:?} never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The statements that move the times in the database back; `$` stands for the interval.
const CLOCKS: [&str; 7] = [
    "UPDATE tasks SET lease_until = lease_until - $, due_at = due_at - $, next_send_at = next_send_at - $,
            ready_at = ready_at - $
     WHERE lease_until IS NOT NULL OR due_at IS NOT NULL OR next_send_at IS NOT NULL OR ready_at IS NOT NULL",
    "UPDATE stages SET lease_until = lease_until - $, updated_at = updated_at - $, recounted_at = recounted_at - $",
    "UPDATE task_batches SET next_send_at = next_send_at - $, sent_at = sent_at - $",
    "UPDATE outbox SET next_send_at = next_send_at - $",
    "UPDATE worker_claims SET lease_until = lease_until - $",
    "UPDATE notifications SET next_attempt_at = next_attempt_at - $, give_up_at = give_up_at - $,
            delivered_at = delivered_at - $, given_up_at = given_up_at - $",
    "UPDATE jobs SET archiving_until = archiving_until - $ WHERE archiving_until IS NOT NULL",
];

/// The interval `by` passes for all rows in the database, but not for running code.
pub async fn time_passes(connection: &mut PgConnection, by: Duration) {
    let interval = format!("interval '{} milliseconds'", by.as_millis());
    for statement in CLOCKS {
        let statement = statement.replace('$', &interval);
        // It locks rows in no particular order, so a deadlock may end it.
        while let Err(error) = connection.execute(AssertSqlSafe(statement.clone())).await {
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("40P01"), "{error}");
        }
    }
}

/// Returns when no other session is active: statements of requests that were dropped midway have
/// ended.
pub async fn until_idle(connection: &mut PgConnection) {
    until("no other session is active", async || {
        let at_work: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
               AND backend_type = 'client backend'",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        (at_work == 0).then_some(())
    })
    .await;
}

/// Returns when connections to this address are refused.
pub async fn until_refused(address: std::net::SocketAddr) {
    until("connections are refused", async || {
        tokio::net::TcpStream::connect(address).await.err().map(drop)
    })
    .await;
}

impl TestApp {
    /// The interval `by` passes for all rows in the database, but not for running code.
    pub async fn time_passes(&self, by: Duration) {
        time_passes(&mut self.connection().await, by).await;
    }

    /// Sweeps and delivers until the job is finished. Between two sweeps all leases and grace
    /// periods expire.
    pub async fn sweep_until_finished(&self, job_id: &str) -> serde_json::Value {
        for _ in 0..40 {
            self.controller.reconcile().await.unwrap();
            self.run_dry().await;
            let status = self.status(job_id).await;
            if ["completed", "failed", "cancelled"].contains(&status["status"].as_str().unwrap()) {
                return status;
            }
            self.time_passes(Duration::from_secs(3600)).await;
        }
        panic!("the job is stuck: {}", self.status(job_id).await);
    }
}
