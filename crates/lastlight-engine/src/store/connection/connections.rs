//! Connections with the settings that the app's statements need, without effect on other
//! applications.
//!
//! A direct connection to the server belongs to this process until it closes: its settings are made
//! once. A pooler may give the server connection to another application after every transaction:
//! behind it the settings are made for each transaction, and a single statement becomes a
//! transaction. Connections outside the pool, which only examine the server, have none of these
//! settings. Independent of the statements themselves.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Describe, Either, Execute, Executor, PgConnection,
    PgPool, Postgres, Row, SqlSafeStr, SqlStr, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

use crate::config::DatabaseSettings;

/// The application name of a connection. If the server did not receive it in the connection's first
/// packet, the connection leads through a pooler.
pub(super) const APPLICATION_NAME: &str = "lastlight";

/// The options with which every connection is opened.
pub(super) fn connect_options(
    connect: &PgConnectOptions,
    application_name: &str,
) -> PgConnectOptions {
    connect
        .clone()
        .application_name(application_name)
        // Poolers reject this option, and since PostgreSQL 12 the default shows numbers exactly.
        .extra_float_digits(None)
}

/// Opens a connection outside the pool, within `timeout`.
pub(super) async fn connect(
    settings: &DatabaseSettings,
    application_name: &str,
    timeout: Duration,
) -> Result<PgConnection, sqlx::Error> {
    let options = connect_options(&settings.connect, application_name).disable_statement_logging();
    match tokio::time::timeout(timeout, PgConnection::connect_with(&options)).await {
        Ok(connected) => connected,
        Err(_) => Err(no_answer(timeout)),
    }
}

/// The error for a server that did not answer within `timeout`.
pub(super) fn no_answer(timeout: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {} s", timeout.as_secs()),
    ))
}

/// The pool. Runs a statement as `&PgPool` does.
#[derive(Clone)]
pub(in crate::store) struct Connections {
    pool: PgPool,
    /// Whether the server connection may be given to another application after a transaction. Once
    /// true, it stays true.
    is_shared: Arc<AtomicBool>,
    begin: SqlStr,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("is_shared", &self.is_shared()).finish_non_exhaustive()
    }
}

impl Connections {
    /// Creates a pool that connects on first use.
    pub(super) fn new(pool: PgPoolOptions, connect: PgConnectOptions, schema: &Arc<str>) -> Self {
        let is_shared = Arc::new(AtomicBool::new(false));
        let (noted, schema_of_session) = (Arc::clone(&is_shared), Arc::clone(schema));
        let pool = pool
            .after_connect(move |connection, _| {
                let (noted, schema) = (Arc::clone(&noted), Arc::clone(&schema_of_session));
                Box::pin(async move {
                    if is_own(connection).await? {
                        sqlx::query(include_str!("../sql/session_settings.sql"))
                            .bind(&*schema)
                            .execute(connection)
                            .await?;
                    } else {
                        noted.store(true, Ordering::SeqCst);
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(connect);
        Self { pool, is_shared, begin: begin_with_settings(schema) }
    }

    /// Whether a connection led through a pooler.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::SeqCst)
    }

    /// The pool itself, to read its metrics and to close it.
    pub(in crate::store) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction with the settings that the statements need.
    ///
    /// A caller may be dropped at any `await`, for example when its client disconnects. sqlx 0.9
    /// forgets a transaction whose BEGIN is being sent at that moment, and returns the connection
    /// to the pool with the transaction open: the next user's statements would seem to succeed and
    /// never be committed. So BEGIN runs to its end in a spawned task.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let connections = self.clone();
        let begun = tokio::spawn(async move {
            if !connections.is_shared() {
                let transaction = connections.pool.begin().await?;
                if !connections.is_shared() {
                    return Ok(transaction);
                }
                // This connection is new, and the first that leads through a pooler.
                transaction.rollback().await?;
            }
            connections.pool.begin_with(connections.begin.clone()).await
        });
        // The runtime is ending.
        begun.await.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    /// Begins a transaction on a connection that the caller closes afterwards.
    pub(in crate::store) async fn begin_on<'c>(
        &self,
        connection: &'c mut PgConnection,
    ) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
        connection.begin_with(self.begin.clone()).await
    }

    async fn lend(&self) -> Result<Lent, sqlx::Error> {
        if !self.is_shared() {
            let connection = self.pool.acquire().await?;
            if !self.is_shared() {
                return Ok(Lent::Own(connection));
            }
        }
        Ok(Lent::Shared(self.begin().await?))
    }
}

/// The statement that begins a transaction and makes its settings: a separate round trip would
/// double the time of a short transaction. Eight SET LOCAL take the server 0.03 ms.
fn begin_with_settings(schema: &str) -> SqlStr {
    // A name cannot be a parameter here. It was checked when the settings were read, and is quoted
    // nevertheless.
    let schema = schema.replace('"', "\"\"");
    AssertSqlSafe(format!(
        "BEGIN; SET LOCAL search_path = \"{schema}\"; SET LOCAL plan_cache_mode = force_generic_plan; \
         SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
         SET LOCAL jit = off; SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '30s'"
    ))
    .into_sql_str()
}

/// Whether the server connection belongs to this process alone.
pub(super) async fn is_own(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // The simple protocol prepares nothing; not every pooler keeps prepared statements.
    sqlx::raw_sql(include_str!("../sql/own_connection.sql"))
        .fetch_one(connection)
        .await?
        .try_get("is_own")
}

/// A connection for one statement.
enum Lent {
    Own(PoolConnection<Postgres>),
    Shared(Transaction<'static, Postgres>),
}

impl Lent {
    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Shared(transaction) => transaction,
        }
    }

    async fn done(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Shared(transaction) => transaction.commit().await,
        }
    }
}

impl<'p> Executor<'p> for &'p Connections {
    type Database = Postgres;

    /// Returns all rows at once, after the commit.
    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let all = async move {
            let mut lent = self.lend().await?;
            let all: Vec<_> = lent.connection().fetch_many(query).try_collect().await?;
            lent.done().await?;
            Ok(stream::iter(all).map(Ok))
        };
        all.try_flatten_stream().boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move {
            let mut lent = self.lend().await?;
            let rows = lent.connection().fetch_all(query).await?;
            lent.done().await?;
            Ok(rows)
        }
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move {
            let mut lent = self.lend().await?;
            let row = lent.connection().fetch_optional(query).await?;
            lent.done().await?;
            Ok(row)
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        async move {
            let mut lent = self.lend().await?;
            let prepared = lent.connection().prepare_with(sql, parameters).await?;
            lent.done().await?;
            Ok(prepared)
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        async move {
            let mut lent = self.lend().await?;
            let described = lent.connection().describe(sql).await?;
            lent.done().await?;
            Ok(described)
        }
        .boxed()
    }
}
