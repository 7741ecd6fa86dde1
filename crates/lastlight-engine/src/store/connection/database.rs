//! The connection pool, and the migrations of the schema.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::{
    ConnectOptions, Connection, Postgres, Transaction,
    migrate::{MigrateError, Migrator},
    postgres::PgPoolOptions,
};
use tokio::sync::{OnceCell, watch};

use super::{
    DatabaseAddress, DatabaseError, SchemaState,
    connections::{APPLICATION_NAME, Connections, connect, connect_options},
    pooler::{Pooler, pooler_of},
    reach,
};
use crate::{config::DatabaseSettings, model::UserRequest};

/// The migrations in `migrations/`, embedded in the binary.
pub static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("../../migrations");
    // sqlx would take a lock of the session.
    migrator.set_locking(false);
    migrator
});

/// The database, through a pool. Cheap to clone; connects on first use, so that the handler can
/// respond before.
#[derive(Debug, Clone)]
pub struct Database {
    connections: Connections,
    schema: Arc<str>,
    migrated: watch::Sender<Option<Result<(), DatabaseError>>>,
    settings: Arc<DatabaseSettings>,
    limits: Arc<OnceCell<ConnectionLimits>>,
}

/// Maximum numbers of connections of this process and of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of connections of this process.
    pub pool: u32,
    /// The server's `max_connections`.
    pub server: u32,
    /// Number of the server's connections that are reserved for others.
    pub reserved: u32,
}

/// This process's connections at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    pub open: u32,
    /// Number of open connections that are in use.
    pub in_use: u32,
    /// Maximum number of open connections.
    pub limit: u32,
}

impl Database {
    /// A pool that is not connected yet.
    pub fn new(settings: &DatabaseSettings) -> Self {
        let schema: Arc<str> = Arc::from(settings.schema.as_str());
        let options = connect_options(&settings.connect, APPLICATION_NAME)
            .log_statements(tracing::log::LevelFilter::Trace)
            .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(1));
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(settings.acquire_timeout)
            // No warning when acquiring a connection is slow: a caller that gets none reports an
            // error, and the pool's metrics show how full it is.
            .acquire_slow_level(tracing::log::LevelFilter::Debug)
            .max_lifetime(Duration::from_secs(30 * 60));
        let connections = Connections::new(pool, options, &schema);
        let (migrated, _) = watch::channel(None);
        Self {
            connections,
            schema,
            migrated,
            settings: Arc::new(settings.clone()),
            limits: Arc::default(),
        }
    }

    /// Name of the schema with all tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Creates the schema and applies the missing migrations. Several processes may do so at once:
    /// one works under an advisory lock, the others wait.
    ///
    /// # Errors
    /// The database cannot be reached, or it has been migrated by another version of lastlight.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let result = self.apply_migrations().await;
        // While the database is unavailable the state of its schema is unknown: record nothing.
        if !matches!(result, Err(DatabaseError::Unavailable { .. })) {
            self.migrated.send_replace(Some(result.clone()));
        }
        result
    }

    async fn apply_migrations(&self) -> Result<(), DatabaseError> {
        self.examine_pooler().await?;
        if self.is_up_to_date().await? {
            return Ok(());
        }
        match self.make_schema().await {
            Err(error @ DatabaseError::Schema { .. }) => {
                Err(self.right_that_lacks().await.unwrap_or(error))
            }
            made => made,
        }
    }

    /// Rejects a pooler that loses prepared statements, before a statement is lost.
    async fn examine_pooler(&self) -> Result<(), DatabaseError> {
        drop(self.connections.pool().acquire().await?);
        if !self.connections.is_shared() {
            return Ok(());
        }
        let timeout = self.settings.acquire_timeout;
        let mut connection = connect(&self.settings, APPLICATION_NAME, timeout).await?;
        let pooler = pooler_of(&mut connection, &self.settings).await?;
        let _ = connection.close().await;
        match pooler {
            Pooler::LosesStatements => Err(DatabaseError::Pooler),
            Pooler::None | Pooler::Fits => Ok(()),
        }
    }

    async fn make_schema(&self) -> Result<(), DatabaseError> {
        // CREATE SCHEMA IF NOT EXISTS requires the right to create a schema even if the schema
        // exists.
        self.with_schema_name(
            "DO $$ BEGIN
                 IF to_regnamespace(quote_ident(current_setting('lastlight.schema'))) IS NULL THEN
                     EXECUTE format('CREATE SCHEMA %I', current_setting('lastlight.schema'));
                 END IF;
             END $$",
        )
        .await?;
        // Each migration runs in its own transaction, which sets the search path and holds the
        // lock.
        for migration in MIGRATOR.iter() {
            let mut transaction = self.begin_alone().await?;
            // `run` on a given connection does not compile in a spawned task ("Acquire is not
            // general enough"); `run_direct` is what it calls.
            MIGRATOR
                .run_direct(Some(migration.version), &mut *transaction, false)
                .await
                .map_err(|error| self.not_migrated(error))?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Begins a transaction that is the only one to change the schema.
    async fn begin_alone(&self) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        let mut transaction = self.connections.begin().await?;
        sqlx::query_file_scalar!("src/store/sql/migration_lock.sql")
            .fetch_one(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    /// The error that names the right that this role lacks to create or change the schema; `None`
    /// if it lacks none.
    async fn right_that_lacks(&self) -> Option<DatabaseError> {
        let rights = sqlx::query_file!("src/store/sql/schema_rights.sql", &*self.schema)
            .fetch_one(&self.connections)
            .await
            .ok()?;
        let (role, database) = (rights.role, rights.database);
        let (schema, migrate) =
            (&self.schema, "run `lastlight migrate` with a role that may change the schema");
        let detail = if !rights.has_schema {
            format!(
                "there is no schema {schema:?} in database {database:?}, and role {role:?} may not create one: {migrate}, and \
                 then grant this role the rights that SECURITY.md lists"
            )
        } else if !rights.may_look {
            format!(
                "role {role:?} may not use schema {schema:?}: if it is not migrated yet, {migrate}; then let its owner GRANT \
                 USAGE ON SCHEMA {schema} TO {role}, and the other rights that SECURITY.md lists"
            )
        } else if !rights.may_create {
            format!(
                "schema {schema:?} is not of this version, and role {role:?} may not create in it: {migrate}, and then grant this \
                 role the rights that SECURITY.md lists"
            )
        } else {
            return None;
        };
        Some(DatabaseError::Schema { detail: Arc::from(detail) })
    }

    /// Whether the migrations of this version have run. Checked first, so that the app's role needs
    /// no right to change the schema if another role runs the migrations.
    async fn is_up_to_date(&self) -> Result<bool, DatabaseError> {
        let mut transaction = self.connections.begin().await?;
        let state = SchemaState::ask(&mut transaction, &self.schema).await?;
        transaction.commit().await?;
        match state {
            SchemaState::Current { .. } => Ok(true),
            SchemaState::Ahead { unknown, works: true } => {
                tracing::warn!(schema = %self.schema, ?unknown,
                    "the schema is of a newer version of lastlight; this one works with it");
                Ok(true)
            }
            SchemaState::Ahead { unknown, .. } => {
                let newest = unknown.iter().max().copied().unwrap_or_default();
                Err(self.not_migrated(MigrateError::VersionMissing(newest)))
            }
            SchemaState::Foreign(tables) => Err(DatabaseError::Schema {
                detail: Arc::from(format!(
                    "schema {:?} holds tables of another program ({}): set APP_SCHEMA to a schema of lastlight's own",
                    self.schema,
                    tables.join(", ")
                )),
            }),
            // For `Different`, the migrator reports which migrations differ.
            SchemaState::Missing
            | SchemaState::Behind(_)
            | SchemaState::Different(_)
            | SchemaState::Hidden => Ok(false),
        }
    }

    fn not_migrated(&self, error: MigrateError) -> DatabaseError {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                DatabaseError::from(error)
            }
            other => DatabaseError::Schema {
                detail: Arc::from(format!(
                    "{other}; schema {:?} was migrated by another version of lastlight: deploy a matching version, \
                     or set APP_SCHEMA to another schema",
                    self.schema
                )),
            },
        }
    }

    /// Applies the migrations in the background, retrying until that succeeds.
    pub fn migrate_in_background(&self) {
        let database = self.clone();
        tokio::spawn(async move {
            let mut pause = Duration::from_millis(100);
            loop {
                match database.migrate().await {
                    Ok(()) => {
                        tracing::info!(schema = %database.schema, "the database is ready");
                        return;
                    }
                    Err(error) => database.note_waiting(&error, pause).await,
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        });
    }

    /// Logs what the handler waits for. The pool does not report why it has no connection; a
    /// connection outside the pool does.
    async fn note_waiting(&self, error: &DatabaseError, pause: Duration) {
        let error = match (error, reach(&self.settings).await) {
            (DatabaseError::Unavailable { .. }, Err(unreachable)) => unreachable.to_string(),
            (error, _) => format!("{}: {error}", DatabaseAddress::of(&self.settings)),
        };
        tracing::warn!(
            error,
            retry_in_seconds = pause.as_secs_f64(),
            "the database is not ready; lastlight waits for it"
        );
    }

    /// The pool, once the migrations have run; waits for them at most `acquire_timeout`.
    ///
    /// # Errors
    /// The migrations have not run in that time, or they failed.
    pub(in crate::store) async fn pool(&self) -> Result<&Connections, DatabaseError> {
        if matches!(*self.migrated.borrow(), Some(Ok(()))) {
            return Ok(&self.connections);
        }
        let mut migrated = self.migrated.subscribe();
        let waited =
            tokio::time::timeout(self.settings.acquire_timeout, migrated.wait_for(Option::is_some))
                .await;
        match waited {
            Ok(Ok(result)) => match &*result {
                Some(Err(error)) => Err(error.clone()),
                _ => Ok(&self.connections),
            },
            _ => Err(DatabaseError::Unavailable {
                detail: Arc::from(
                    "it has not answered since lastlight started; check DATABASE_URL or POSTGIS_*",
                ),
            }),
        }
    }

    /// Begins a transaction, which is rolled back when it is dropped.
    ///
    /// # Errors
    /// No connection is available, or the connection failed.
    pub(in crate::store) async fn begin(
        &self,
    ) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        Ok(self.pool().await?.begin().await?)
    }

    /// Begins a transaction whose events say who asked for its changes.
    ///
    /// # Errors
    /// No connection is available, or the connection failed.
    pub(in crate::store) async fn begin_for(
        &self,
        request: &UserRequest,
    ) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        let mut transaction = self.begin().await?;
        if *request != UserRequest::NOBODY {
            sqlx::query_file!("src/store/sql/note_request.sql", json!(request).to_string())
                .fetch_one(&mut *transaction)
                .await?;
        }
        Ok(transaction)
    }

    /// Begins a transaction that only reads. The server cancels each of its statements after
    /// `within`, at least 1 ms, so that one that hangs does not occupy its connection for long.
    ///
    /// # Errors
    /// No connection is available, or the connection failed.
    pub(in crate::store) async fn begin_bounded(
        &self,
        within: Duration,
    ) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        let mut transaction = self.begin().await?;
        // 0 would mean no timeout.
        let milliseconds = within.as_millis().max(1);
        sqlx::query(include_str!("../sql/bound_reading.sql"))
            .bind(format!("{milliseconds}ms"))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    /// How long a request waits until the database counts as unavailable.
    pub(in crate::store) fn timeout(&self) -> Duration {
        self.settings.acquire_timeout
    }

    /// Use of the pool. Needs no connection.
    pub fn pool_use(&self) -> PoolUse {
        let pool = self.connections.pool();
        let open = pool.size();
        PoolUse {
            open,
            // The two numbers are not read at the same moment.
            in_use: open.saturating_sub(u32::try_from(pool.num_idle()).unwrap_or(u32::MAX)),
            limit: self.settings.connections,
        }
    }

    /// Maximum numbers of connections; read from the server once.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn connection_limits(&self) -> Result<ConnectionLimits, DatabaseError> {
        let limits = self.limits.get_or_try_init(|| async {
            let row = sqlx::query_file!("src/store/sql/connection_limits.sql")
                .fetch_one(self.pool().await?)
                .await?;
            Ok::<_, DatabaseError>(ConnectionLimits {
                pool: self.settings.connections,
                server: row.server.unsigned_abs(),
                reserved: row.reserved.unsigned_abs(),
            })
        });
        limits.await.copied()
    }

    /// Drops the schema with everything in it.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn drop_schema(&self) -> Result<(), DatabaseError> {
        self.with_schema_name(
            "DO $$ BEGIN
                 EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', current_setting('lastlight.schema'));
             END $$",
        )
        .await
    }

    /// Runs a block with the schema's name in the setting `lastlight.schema`, because a name cannot
    /// be a parameter.
    async fn with_schema_name(&self, block: &'static str) -> Result<(), DatabaseError> {
        let mut transaction = self.begin_alone().await?;
        sqlx::query("SELECT set_config('lastlight.schema', $1, true)")
            .bind(&*self.schema)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(block).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Runs a trivial statement, for `health`; returns how long that took.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn ping(&self) -> Result<Duration, DatabaseError> {
        let began = Instant::now();
        sqlx::query("SELECT 1").execute(self.pool().await?).await?;
        Ok(began.elapsed())
    }

    pub async fn close(&self) {
        self.connections.pool().close().await;
    }
}
