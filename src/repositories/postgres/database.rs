//! The connection pool, the schema's migrations, and whether they have run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, PgPool, Postgres, Row, Transaction,
    migrate::{MigrateError, Migrator},
    postgres::PgPoolOptions,
};
use tokio::sync::{OnceCell, watch};

use super::{DatabaseAddress, DatabaseError, SchemaState, reach};
use crate::config::DatabaseSettings;

/// The migrations in `migrations/`, in the binary.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The pool. Cheap to clone; connects when it is first used, so that the handler can answer before.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    schema: Arc<str>,
    migrated: watch::Sender<Option<Result<(), DatabaseError>>>,
    settings: Arc<DatabaseSettings>,
    limits: Arc<OnceCell<ConnectionLimits>>,
}

/// Connections: how many this process takes, and how many the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// This process's pool.
    pub pool: u32,
    /// The server's `max_connections`.
    pub server: u32,
    /// Of these, kept for others.
    pub reserved: u32,
}

/// This process's connections at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Open ones.
    pub open: u32,
    /// Of these, in use.
    pub in_use: u32,
    /// At most so many may be open.
    pub limit: u32,
}

impl Database {
    /// A pool that is not connected yet.
    pub fn new(settings: &DatabaseSettings) -> Self {
        let schema: Arc<str> = Arc::from(settings.schema.as_str());
        let search_path = Arc::clone(&schema);
        let options = settings
            .connect
            .clone()
            .application_name("lastlight")
            .log_statements(tracing::log::LevelFilter::Trace)
            .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(1));
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(settings.acquire_timeout)
            // Who waited for a connection and got one has an answer; who got none says so, and the figures of the pool say
            // how full it is. The embedded database takes some seconds to start, which is nothing to be warned of.
            .acquire_slow_level(tracing::log::LevelFilter::Debug)
            .max_lifetime(Duration::from_secs(30 * 60))
            .after_connect(move |connection, _| {
                let search_path = Arc::clone(&search_path);
                Box::pin(async move {
                    // Every statement goes by an index, whatever the size of its tables. Said so, its plan is made
                    // once a connection and holds; left to itself, the server plans each group anew, which takes
                    // longer than running it, or keeps a plan that scans a table which was small.
                    // A row that somebody holds for long makes the statement fail, and its message comes again, rather
                    // than hold up everybody; a process of ours that was stopped in mid-transaction loses its locks.
                    sqlx::query(
                        "SELECT set_config('search_path', quote_ident($1), false), \
                                set_config('plan_cache_mode', 'force_generic_plan', false), \
                                set_config('enable_seqscan', 'off', false), \
                                set_config('enable_hashjoin', 'off', false), \
                                set_config('enable_mergejoin', 'off', false), \
                                set_config('jit', 'off', false), \
                                set_config('lock_timeout', '10s', false), \
                                set_config('idle_in_transaction_session_timeout', '30s', false)",
                    )
                    .bind(&*search_path)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        let (migrated, _) = watch::channel(None);
        Self {
            pool,
            schema,
            migrated,
            settings: Arc::new(settings.clone()),
            limits: Arc::default(),
        }
    }

    /// The schema of all tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Creates the schema and applies the migrations that are missing. Several processes may do so at once:
    /// one works under an advisory lock, the others wait.
    ///
    /// # Errors
    /// The database cannot be reached, or it has been migrated by another version of lastlight.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let result = self.apply_migrations().await;
        // A database that is merely away says nothing about its schema: leave the question open.
        if !matches!(result, Err(DatabaseError::Unavailable { .. })) {
            self.migrated.send_replace(Some(result.clone()));
        }
        result
    }

    async fn apply_migrations(&self) -> Result<(), DatabaseError> {
        if self.is_up_to_date().await? {
            return Ok(());
        }
        match self.make_schema().await {
            Err(error @ DatabaseError::Schema { .. }) => Err(self.right_that_lacks().await.unwrap_or(error)),
            made => made,
        }
    }

    async fn make_schema(&self) -> Result<(), DatabaseError> {
        // The advisory lock keeps two starting instances from creating the schema at once. Where it exists already it is
        // not even named: CREATE SCHEMA IF NOT EXISTS asks for the right to create one all the same.
        self.with_schema_name(
            "DO $$ BEGIN
                 PERFORM pg_advisory_xact_lock(7311943270150501);
                 IF to_regnamespace(quote_ident(current_setting('lastlight.schema'))) IS NULL THEN
                     EXECUTE format('CREATE SCHEMA %I', current_setting('lastlight.schema'));
                 END IF;
             END $$",
        )
        .await?;
        let mut connection = self.pool.acquire().await?;
        // `run` on a connection of one's own does not compile in a task ("Acquire is not general enough"); this is what it
        // calls.
        match MIGRATOR.run_direct(None, &mut *connection, false).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // sqlx leaves its lock on the connection, where it would keep others from migrating.
                let _ = connection.close().await;
                Err(self.not_migrated(error))
            }
        }
    }

    /// Why this role may not make the schema or change it, in words that name both; none if it may.
    async fn right_that_lacks(&self) -> Option<DatabaseError> {
        let row = sqlx::query(include_str!("sql/schema_rights.sql"))
            .bind(&*self.schema)
            .fetch_one(&self.pool)
            .await
            .ok()?;
        let right = |name: &str| row.try_get::<bool, _>(name).ok();
        let (role, database): (String, String) = (row.try_get("role").ok()?, row.try_get("database").ok()?);
        let (schema, migrate) = (
            &self.schema,
            "run `lastlight migrate` with a role that may change the schema",
        );
        let detail = if !right("has_schema")? {
            format!(
                "there is no schema {schema:?} in database {database:?}, and role {role:?} may not create one: {migrate}, and \
                 then grant this role what SECURITY.md lists"
            )
        } else if !right("may_look")? {
            format!(
                "role {role:?} may not look into schema {schema:?}: if it was not migrated yet, {migrate}; then let its owner \
                 GRANT USAGE ON SCHEMA {schema} TO {role}, and the rest that SECURITY.md lists"
            )
        } else if !right("may_create")? {
            format!(
                "schema {schema:?} is not of this version, and role {role:?} may not create in it: {migrate}, and then grant this \
                 role what SECURITY.md lists"
            )
        } else {
            return None;
        };
        Some(DatabaseError::Schema {
            detail: Arc::from(detail),
        })
    }

    /// Whether the migrations of this version have run. Looked at first, so that the app's role needs no right to change the
    /// schema where another role runs the migrations.
    async fn is_up_to_date(&self) -> Result<bool, DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        match SchemaState::ask(&mut connection, &self.schema).await? {
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
            // Of Different, the migrator says which.
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
                    "{other}; schema {:?} was migrated by another version of lastlight: deploy the version that \
                     fits, or set APP_SCHEMA to another schema",
                    self.schema
                )),
            },
        }
    }

    /// Applies the migrations in the background, again and again until the database answers.
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

    /// Says what the handler waits for. The pool keeps to itself why it has no connection; one beside it says so.
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

    /// The pool, once the migrations have run; waits for them no longer than for a connection.
    ///
    /// # Errors
    /// They have not run in that time, or they failed.
    pub(super) async fn pool(&self) -> Result<&PgPool, DatabaseError> {
        if matches!(*self.migrated.borrow(), Some(Ok(()))) {
            return Ok(&self.pool);
        }
        let mut migrated = self.migrated.subscribe();
        let waited =
            tokio::time::timeout(self.settings.acquire_timeout, migrated.wait_for(Option::is_some)).await;
        match waited {
            Ok(Ok(result)) => match &*result {
                Some(Err(error)) => Err(error.clone()),
                _ => Ok(&self.pool),
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
    /// A caller may be dropped at any `await`: its client went away. sqlx 0.9 forgets a transaction whose BEGIN is under
    /// way at that moment, and gives its connection back to the pool with the transaction open: whoever comes next would
    /// be told that all is well, and nothing would ever be committed. So BEGIN runs in a task of its own, to its end.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        let pool = self.pool().await?.clone();
        match tokio::spawn(async move { pool.begin().await }).await {
            Ok(begun) => Ok(begun?),
            Err(_) => Err(DatabaseError::Unavailable {
                detail: Arc::from("lastlight is stopping"),
            }),
        }
    }

    /// Begins a transaction that only reads, and whose statements the server ends after `within` each, at least 1 ms: one
    /// that hangs does not keep its connection from others for long.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub(super) async fn begin_bounded(
        &self,
        within: Duration,
    ) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        let mut transaction = self.begin().await?;
        // 0 would be no bound at all.
        let milliseconds = within.as_millis().max(1);
        sqlx::query(include_str!("sql/bound_reading.sql"))
            .bind(format!("{milliseconds}ms"))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    /// How long a request waits before the database counts as unavailable.
    pub(super) fn patience(&self) -> Duration {
        self.settings.acquire_timeout
    }

    /// How much of the pool is in use. Asks nobody.
    pub fn pool_use(&self) -> PoolUse {
        let open = self.pool.size();
        PoolUse {
            open,
            // The two are read one after the other.
            in_use: open.saturating_sub(u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX)),
            limit: self.settings.connections,
        }
    }

    /// The connections that there are; asked for once.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn connection_limits(&self) -> Result<ConnectionLimits, DatabaseError> {
        let limits = self.limits.get_or_try_init(|| async {
            let row = sqlx::query(include_str!("sql/connection_limits.sql"))
                .fetch_one(self.pool().await?)
                .await?;
            Ok::<_, DatabaseError>(ConnectionLimits {
                pool: self.settings.connections,
                server: row.try_get::<i32, _>("server")?.unsigned_abs(),
                reserved: row.try_get::<i32, _>("reserved")?.unsigned_abs(),
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
                 PERFORM pg_advisory_xact_lock(7311943270150501);
                 EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', current_setting('lastlight.schema'));
             END $$",
        )
        .await
    }

    /// Runs a block that finds the schema's name in `lastlight.schema`: a name cannot be a parameter.
    async fn with_schema_name(&self, block: &'static str) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("SELECT set_config('lastlight.schema', $1, false)")
            .bind(&*self.schema)
            .execute(&mut *connection)
            .await?;
        sqlx::raw_sql(block).execute(&mut *connection).await?;
        Ok(())
    }

    /// Asks the database for an answer, for `health`.
    ///
    /// # Errors
    /// It gave none.
    pub async fn ping(&self) -> Result<Duration, DatabaseError> {
        let began = Instant::now();
        sqlx::query("SELECT 1").execute(self.pool().await?).await?;
        Ok(began.elapsed())
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
