//! One connection beside the pool, with a time limit and the reason why there is none: what a pool
//! keeps to itself. For commands that must not wait, for `doctor`, and for the words of a handler
//! that waits. Changes nothing.

use std::{fmt, io, time::Duration};

use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{
    connections::{APPLICATION_NAME, connect_options},
    pooler::{self, Pooler, pooler_of},
};
use crate::config::DatabaseSettings;

/// A command says within 5 s why its database cannot be used.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Where the database is, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// The server's name, or the folder of its socket.
    pub host: String,
    pub port: u16,
    /// The database on it.
    pub database: String,
}

impl DatabaseAddress {
    /// The address that the settings name.
    pub fn of(settings: &DatabaseSettings) -> Self {
        let connect = &settings.connect;
        let socket = connect.get_socket().map(|path| path.display().to_string());
        Self {
            host: socket.unwrap_or_else(|| connect.get_host().to_owned()),
            port: connect.get_port(),
            // The server's own default.
            database: connect.get_database().unwrap_or(connect.get_username()).to_owned(),
        }
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database } = self;
        write!(f, "database {database:?} on {host}, port {port}")
    }
}

/// Why the database cannot be used, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{address}, cannot be used: {reason}. {remedy}")]
pub struct Unreachable {
    /// Where it should be.
    pub address: DatabaseAddress,
    /// What the server, or the way there, said; holds no password.
    pub reason: String,
    pub remedy: &'static str,
    /// A setting is wrong: waiting does not help.
    pub is_wrong_setting: bool,
}

/// Connects to see whether the database, and a pooler before it, can be used, for no longer than 4
/// s.
///
/// # Errors
/// It cannot, for the reason given.
pub async fn reach(settings: &DatabaseSettings) -> Result<(), Unreachable> {
    let watermark = async {
        let mut connection = connect(settings, APPLICATION_NAME, TIMEOUT).await?;
        let pooler = pooler_of(&mut connection, settings).await?;
        let _ = connection.close().await;
        Ok(pooler)
    };
    let watermark = match tokio::time::timeout(TIMEOUT, watermark).await {
        Ok(watermark) => watermark,
        Err(_) => Err(no_answer(TIMEOUT)),
    };
    match watermark {
        Ok(Pooler::LosesStatements) => Err(Unreachable {
            address: DatabaseAddress::of(settings),
            reason: pooler::LOSES_STATEMENTS.to_owned(),
            remedy: pooler::REMEDY,
            is_wrong_setting: true,
        }),
        Ok(Pooler::None | Pooler::Fits) => Ok(()),
        Err(error) => Err(unreachable(settings, &error)),
    }
}

/// A connection of its own, within `timeout`.
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

/// The server took longer than `timeout`.
pub(super) fn no_answer(timeout: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {} s", timeout.as_secs()),
    ))
}

fn unreachable(settings: &DatabaseSettings, error: &sqlx::Error) -> Unreachable {
    Unreachable {
        address: DatabaseAddress::of(settings),
        remedy: remedy(error),
        is_wrong_setting: is_wrong_setting(error),
        reason: reason(error),
    }
}

/// The innermost words: the driver's say of each that the database said it.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    }
}

/// What to do about a connection that failed.
pub(super) fn remedy(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(|error| error.code());
    match (error, code.as_deref()) {
        (_, Some(code)) if code.starts_with("28") => {
            "Correct the user or the password in DATABASE_URL or POSTGIS_*, or let the server admit this role from here."
        }
        (_, Some("3D000")) => {
            "Create the database, or correct its name in DATABASE_URL or POSTGIS_DATABASE."
        }
        (_, Some(code)) if code.starts_with("53") => {
            "The server has no connection left: close others, or raise its max_connections."
        }
        (_, Some("57P03")) => "The server is starting or stopping: try again in a moment.",
        (sqlx::Error::Io(error), _) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "Start PostgreSQL there, or correct host and port in DATABASE_URL or POSTGIS_*."
        }
        (sqlx::Error::Tls(_), _) => {
            "The server must offer TLS with a certificate for its host name; a certificate authority of your own is named \
             with sslrootcert in DATABASE_URL."
        }
        (sqlx::Error::Io(_) | sqlx::Error::Configuration(_), _) => {
            "Correct the host in DATABASE_URL or POSTGIS_HOST; let the server's firewall admit this machine."
        }
        _ => "See the server's log.",
    }
}

/// Whether the server, or this machine's TLS, refused what the settings say.
fn is_wrong_setting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("28") || code == "3D000")
        }
        _ => false,
    }
}
