//! Detects whether this process connects to the server directly, through a usable pooler, or
//! through one that loses prepared statements. The checks leave no state on a connection that a
//! pooler may give to other clients.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};

use super::{
    connections::{APPLICATION_NAME, connect, is_own},
    error::is_lost_statement,
};
use crate::config::DatabaseSettings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooler {
    None,
    /// A pooler that keeps prepared statements, or one server connection per client.
    Fits,
    /// A pooler that gives the server connection to another client after a transaction and does not
    /// keep prepared statements.
    LosesStatements,
}

/// If a second connection takes longer than this, the pooler serves one client at a time.
const SECOND_CONNECTION: Duration = Duration::from_secs(1);

/// Number of rounds after which a pooler that also serves other clients is unlikely to have given
/// both clients the same connections by chance.
const ROUNDS: usize = 10;

/// Examines the pooler through `connection`, which must be new.
pub(super) async fn pooler_of(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
) -> Result<Pooler, sqlx::Error> {
    if is_own(connection).await? {
        return Ok(Pooler::None);
    }
    let is_kept = match is_renamed(connection).await {
        // A statement that another client left behind collides with ours.
        Err(error) if is_lost_statement(&error) => return Ok(Pooler::LosesStatements),
        renamed => renamed?,
    };
    Ok(if is_kept || !hands_on(connection, settings).await? {
        Pooler::Fits
    } else {
        Pooler::LosesStatements
    })
}

/// Whether the server knows a statement under another name than the driver's: a pooler that keeps
/// the statements of several clients has to rename them, since all drivers choose the same names.
async fn is_renamed(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let is_renamed = sqlx::query_file_scalar!("src/store/sql/statement_renamed.sql")
        .fetch_one(&mut *transaction)
        .await?;
    transaction.clear_cached_statements().await?;
    transaction.commit().await?;
    Ok(is_renamed)
}

/// Whether the pooler gives a server connection to another client between transactions.
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
        // The second client may have to wait until the first one disconnects.
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

/// The process id of the server process that answers.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    // The simple protocol prepares nothing.
    sqlx::raw_sql(include_str!("../sql/backend.sql"))
        .fetch_one(connection)
        .await?
        .try_get("backend")
}
