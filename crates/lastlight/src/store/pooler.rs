//! What stands between this process and the server: nothing, a pooler that can be worked with, or
//! one that loses prepared statements. Leaves nothing behind on a connection that goes on to
//! others.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};

use super::{
    connections::{APPLICATION_NAME, is_own},
    error::is_lost_statement,
    reach::connect,
};
use crate::config::DatabaseSettings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooler {
    None,
    /// One that keeps a connection's prepared statements, or a server's connection for each client.
    Fits,
    /// One that hands the server's connection to another client after a transaction, without its
    /// prepared statements.
    LosesStatements,
}

/// Why a pooler cannot be used.
pub(super) const LOSES_STATEMENTS: &str = "a pooler in transaction mode stands before the server and does not keep prepared statements (as PgBouncer before 1.21, \
     or with max_prepared_statements = 0)";

/// What to do about it.
pub(super) const REMEDY: &str = "Use PgBouncer 1.21 or later with max_prepared_statements = 200, or its pool_mode = session, or connect straight to the \
     server, which Azure has at port 5432 beside its pooler at 6432.";

/// Who waits for a second connection this long is served one by one.
const SECOND_CONNECTION: Duration = Duration::from_secs(1);

/// With so many rounds, a pooler that is busy with others cannot give both clients the same
/// connections by chance.
const ROUNDS: usize = 10;

/// Finds out by `connection`, which must be new.
pub(super) async fn pooler_of(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
) -> Result<Pooler, sqlx::Error> {
    if is_own(connection).await? {
        return Ok(Pooler::None);
    }
    let is_kept = match is_renamed(connection).await {
        // What another client left behind is in the way.
        Err(error) if is_lost_statement(&error) => return Ok(Pooler::LosesStatements),
        renamed => renamed?,
    };
    Ok(if is_kept || !hands_on(connection, settings).await? {
        Pooler::Fits
    } else {
        Pooler::LosesStatements
    })
}

/// Whether the server knows a statement under another name than the driver's: who keeps the
/// statements of several clients has to rename them, since all drivers choose the same names.
async fn is_renamed(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let is_renamed = sqlx::query_scalar(include_str!("sql/statement_renamed.sql"))
        .fetch_one(&mut *transaction)
        .await?;
    transaction.clear_cached_statements().await?;
    transaction.commit().await?;
    Ok(is_renamed)
}

/// Whether a connection of the server goes from one client to another between transactions.
async fn hands_on(
    first: &mut PgConnection,
    settings: &DatabaseSettings,
) -> Result<bool, sqlx::Error> {
    let Ok(mut second) = connect(settings, APPLICATION_NAME, SECOND_CONNECTION).await else {
        return Ok(false);
    };
    let firsts = backend(first).await?;
    let mut seconds = None;
    for _ in 0..ROUNDS {
        if backend(first).await? != firsts {
            return Ok(true);
        }
        // It may wait for the first one to leave.
        let Ok(backend) = tokio::time::timeout(SECOND_CONNECTION, backend(&mut second)).await
        else {
            return Ok(false);
        };
        let backend = backend?;
        if backend == firsts || seconds.is_some_and(|seconds| seconds != backend) {
            return Ok(true);
        }
        seconds = Some(backend);
    }
    let _ = second.close().await;
    Ok(false)
}

/// The server's process that answers.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    // By the simple protocol, which prepares nothing.
    sqlx::raw_sql(include_str!("sql/backend.sql")).fetch_one(connection).await?.try_get("backend")
}
