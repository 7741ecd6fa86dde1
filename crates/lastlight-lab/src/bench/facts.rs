//! The cost of a run, from the counters of the database server and of the kernel.

use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use time::OffsetDateTime;

use lastlight_engine::config::DatabaseSettings;

/// A connection in addition to the handler's. The embedded database has only one session, so it has
/// no such connection.
pub(super) struct Ledger(PgConnection);

/// The server's counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The next transaction number. Only transactions that write take one, and each of them commits
    /// to disk.
    transactions: i64,
    /// Bytes of write-ahead log since the cluster was created.
    wal_bytes: i64,
}

/// The difference between two [`Reading`]s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub commits: f64,
    /// Bytes of write-ahead log.
    pub wal_bytes: f64,
}

impl Ledger {
    pub(super) async fn open(server: &DatabaseSettings) -> Result<Self, sqlx::Error> {
        let connect = server.connect.clone();
        let options = connect.extra_float_digits(None).disable_statement_logging();
        Ok(Self(PgConnection::connect_with(&options).await?))
    }

    /// Runs a checkpoint, if the role may, so that every run starts at the same point of the
    /// checkpoint cycle.
    pub(super) async fn checkpoint(&mut self) {
        let _ = sqlx::query("CHECKPOINT").execute(&mut self.0).await;
    }

    pub(super) async fn read(&mut self) -> Result<Reading, sqlx::Error> {
        let row = sqlx::query(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS transactions,
                    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS wal_bytes",
        )
        .fetch_one(&mut self.0)
        .await?;
        Ok(Reading {
            transactions: row.try_get("transactions")?,
            wal_bytes: row.try_get("wal_bytes")?,
        })
    }

    /// Transactions of all sessions of the database so far, reads too. A session reports its own
    /// within a second.
    pub(super) async fn transactions(&mut self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut self.0)
        .await
    }

    /// Sets one in 200 tasks to failed and updates their stages' counters, so that queries for
    /// failed tasks find some; returns their number.
    pub(super) async fn fail_some(&mut self, schema: &str) -> Result<u64, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
            .bind(schema)
            .execute(&mut *transaction)
            .await?;
        let failed: i64 = sqlx::query_scalar(
            "WITH failed AS (
                 UPDATE tasks
                 SET status = 'failed', result_data = NULL, error_details = 'set to failed for the benchmark'
                 WHERE hashtext(task_id) % 200 = 0 AND status = 'completed'
                 RETURNING parent_job_id, stage
             ), counted AS (
                 UPDATE stages s
                 SET completed = s.completed - f.tasks, failed = s.failed + f.tasks
                 FROM (SELECT parent_job_id, stage, count(*) AS tasks FROM failed GROUP BY parent_job_id, stage) f
                 WHERE s.job_id = f.parent_job_id AND s.stage = f.stage
             )
             SELECT count(*) FROM failed",
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        sqlx::raw_sql("ANALYZE").execute(&mut self.0).await?;
        Ok(failed.unsigned_abs())
    }

    /// Makes finished jobs of a run a year older: half of them, or all.
    pub(super) async fn age_jobs(&mut self, schema: &str, half: bool) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
            .bind(schema)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE jobs SET finished_at = finished_at - interval '1 year'
             WHERE finished_at > now() - interval '1 day' AND (NOT $1 OR hashtext(job_id) % 2 = 0)",
        )
        .bind(half)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// Number of jobs of a run that are a year old.
    pub(super) async fn old_jobs(&mut self, schema: &str) -> Result<i64, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
            .bind(schema)
            .execute(&mut *transaction)
            .await?;
        sqlx::query_scalar(
            "SELECT count(*) FROM jobs WHERE finished_at < now() - interval '300 days'",
        )
        .fetch_one(&mut *transaction)
        .await
    }

    /// Number of jobs and of tasks of a run.
    pub(super) async fn jobs(&mut self, schema: &str) -> Result<(u64, u64), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
            .bind(schema)
            .execute(&mut *transaction)
            .await?;
        let (jobs, tasks): (i64, i64) =
            sqlx::query_as("SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM tasks)")
                .fetch_one(&mut *transaction)
                .await?;
        Ok((jobs.unsigned_abs(), tasks.unsigned_abs()))
    }

    /// Megabytes of all tables of a run with their indexes.
    pub(super) async fn megabytes(&mut self, schema: &str) -> Result<f64, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT COALESCE(sum(pg_total_relation_size(c.oid)), 0)::double precision / 1e6
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind = 'r'",
        )
        .bind(schema)
        .fetch_one(&mut self.0)
        .await
    }

    /// The time by the database's clock.
    pub(super) async fn now(&mut self) -> Result<OffsetDateTime, sqlx::Error> {
        sqlx::query_scalar("SELECT now()").fetch_one(&mut self.0).await
    }

    /// Whether autovacuum has gone through the tasks since then.
    pub(super) async fn is_vacuumed(
        &mut self,
        schema: &str,
        since: OffsetDateTime,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT COALESCE(last_autovacuum > $2, false) FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'tasks'",
        )
        .bind(schema)
        .bind(since)
        .fetch_one(&mut self.0)
        .await
    }

    /// Removes a run's tables.
    pub(super) async fn drop_schema(&mut self, schema: &str) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        sqlx::query("SELECT set_config('lastlight.schema', $1, true)")
            .bind(schema)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(
            "DO $$ BEGIN
                 EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', current_setting('lastlight.schema'));
             END $$",
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }
}

impl Reading {
    pub(super) fn since(self, before: Self) -> Cost {
        Cost {
            commits: (self.transactions - before.transactions) as f64,
            wal_bytes: (self.wal_bytes - before.wal_bytes) as f64,
        }
    }
}

/// The peak memory of a process in MiB, from Linux's `/proc`.
pub(crate) fn peak_memory_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// The processor time that all threads of a process have used, in seconds, from Linux's `/proc`.
pub(super) fn processor_seconds(pid: u32) -> Option<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread that ended meanwhile has no file any more.
        let Ok(text) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

/// The smallest of the values, which are in order, that this share of them does not exceed; 0 without
/// values.
pub(super) fn percentile(values: &[f64], share: f64) -> f64 {
    let place = (share * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or_default()
}
