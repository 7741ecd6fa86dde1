//! Examination of a database for `doctor`: over one connection, without a pool, and without
//! changes. Reports the reasons that a pool hides behind "timed out".

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::{
    DatabaseError, SchemaState,
    connections::{connect, no_answer},
    error::{POOLER_REMEDY, is_refused},
    pooler::{Pooler, pooler_of},
    reach::remedy,
};
use crate::{config::DatabaseSettings, model::clock};

/// A server that takes longer counts as unavailable.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Examination {
    /// Time that it took to connect.
    pub connected_in: Duration,
    /// `server_version_num`: 170005 is 17.5.
    pub version: i32,
    /// The version as the server writes it.
    pub version_text: String,
    /// Whether the server is a replica or set to read only.
    pub is_read_only: bool,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// Whether the connection leads through a pooler, which is usable.
    pub is_pooled: bool,
    /// `max_connections`.
    pub connections: u32,
    /// Number of these connections that are reserved for others.
    pub reserved: u32,
    /// Number of these connections that are in use now.
    pub used: u32,
    /// The server's clock minus this machine's, in seconds; the shorter the round trip, the more
    /// exact.
    pub clock_ahead: f64,
    /// Whether the role may create the schema, or change it.
    pub may_change_schema: bool,
    /// The migrations that have run, compared with those of this binary.
    pub schema: SchemaState,
    /// Rights that the role lacks on tables that exist.
    pub missing_rights: Vec<MissingRight>,
    /// Handlers whose tasks wait for a worker, and that none has asked for in the last two minutes.
    pub unserved: Vec<UnservedHandler>,
    /// Notifications that were given up in the last 30 days, counted up to 10,000.
    pub notifications_given_up: i64,
}

/// A handler whose tasks wait, and that no worker serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnservedHandler {
    pub queue: String,
    pub name: String,
    /// Whether a worker ever asked for it.
    pub was_served: bool,
}

/// A right that the role lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    pub table: String,
    /// SELECT, INSERT, UPDATE or DELETE.
    pub privilege: String,
}

/// Why the database cannot be examined, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}")]
pub struct ExaminationError {
    pub problem: DatabaseError,
    pub remedy: &'static str,
}

impl From<sqlx::Error> for ExaminationError {
    fn from(error: sqlx::Error) -> Self {
        Self { remedy: remedy(&error), problem: error.into() }
    }
}

/// Examines the database; `rights`: tables and the privileges that the app needs on them.
///
/// # Errors
/// The database cannot be reached, or it rejects a statement.
pub async fn examine(
    settings: &DatabaseSettings,
    rights: &[(String, String)],
) -> Result<Examination, ExaminationError> {
    let began = Instant::now();
    let mut connection = connect(settings, "lastlight doctor", TIMEOUT).await?;
    let connected_in = began.elapsed();
    let pooler = match tokio::time::timeout(TIMEOUT, pooler_of(&mut connection, settings)).await {
        Ok(Ok(Pooler::LosesStatements)) => {
            return Err(ExaminationError { problem: DatabaseError::Pooler, remedy: POOLER_REMEDY });
        }
        Ok(pooler) => pooler?,
        Err(_) => return Err(no_answer(TIMEOUT).into()),
    };
    let examined =
        tokio::time::timeout(TIMEOUT, look(&mut connection, settings, rights, connected_in)).await;
    let _ = connection.close().await;
    match examined {
        Ok(examined) => Ok(Examination { is_pooled: pooler != Pooler::None, ..examined? }),
        Err(_) => Err(no_answer(TIMEOUT).into()),
    }
}

async fn look(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    rights: &[(String, String)],
    connected_in: Duration,
) -> Result<Examination, sqlx::Error> {
    let before = clock::now();
    let server = sqlx::query_file!("src/store/sql/examine_server.sql", settings.schema)
        .fetch_one(&mut *connection)
        .await?;
    // The server read its clock at about half of the round trip.
    let here = before + (clock::now() - before) / 2;
    let schema = if !server.has_schema {
        SchemaState::Missing
    } else if !server.may_use_schema {
        SchemaState::Hidden
    } else {
        schema_state(connection, &settings.schema).await?
    };
    // A role that may not use the schema cannot query its tables either, so only that right is
    // reported.
    let needed = if server.may_use_schema { rights } else { &[] };
    let (tables, privileges): (Vec<String>, Vec<String>) = needed.iter().cloned().unzip();
    let missing_rights = sqlx::query_file_as!(
        MissingRight,
        "src/store/sql/missing_rights.sql",
        settings.schema,
        &tables,
        &privileges,
    )
    .fetch_all(&mut *connection)
    .await?;
    let is_readable = matches!(schema, SchemaState::Current { .. }) && missing_rights.is_empty();
    let (unserved, notifications_given_up) = if is_readable {
        state_of_work(connection, &settings.schema).await?
    } else {
        (Vec::new(), 0)
    };
    Ok(Examination {
        connected_in,
        version: server.version,
        version_text: server.version_text,
        is_read_only: server.is_read_only,
        is_encrypted: server.is_encrypted,
        is_pooled: false,
        connections: server.connections.unsigned_abs(),
        reserved: server.reserved.unsigned_abs(),
        used: server.used.unsigned_abs(),
        clock_ahead: time::Duration::as_seconds_f64(server.now - here),
        may_change_schema: server.may_change_schema,
        schema,
        missing_rights,
        unserved,
        notifications_given_up,
    })
}

/// Workers ask at least every 25 seconds while they wait.
const UNSERVED_SECONDS: f64 = 120.0;

const MOST_COUNTED: i64 = 10_000;

/// The handlers that no worker serves, and the number of notifications that were given up.
async fn state_of_work(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<(Vec<UnservedHandler>, i64), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
        .bind(schema)
        .execute(&mut *transaction)
        .await?;
    let unserved = sqlx::query_file_as!(
        UnservedHandler,
        "src/store/sql/unserved_handlers.sql",
        UNSERVED_SECONDS,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let counts = sqlx::query_file!("src/store/sql/count_notifications.sql", MOST_COUNTED)
        .fetch_one(&mut *transaction)
        .await?;
    Ok((unserved, counts.given_up))
}

async fn schema_state(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<SchemaState, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
        .bind(schema)
        .execute(&mut *transaction)
        .await?;
    match SchemaState::ask(&mut transaction, schema).await {
        Err(error) if is_refused(&error) => Ok(SchemaState::Hidden),
        state => state,
    }
}
