//! A single connection outside the pool, with a timeout and the reason when it fails, which a pool
//! does not report. Used by commands that must not wait, by `doctor`, and for the log of a handler
//! that waits for its database. Changes nothing.

use std::{fmt, io, time::Duration};

use sqlx::Connection;

use super::{
    connections::{APPLICATION_NAME, connect, no_answer},
    error::{LOSES_STATEMENTS, POOLER_REMEDY},
    pooler::{Pooler, pooler_of},
};
use crate::config::DatabaseSettings;

/// Short enough that a command reports within 5 s why its database cannot be used.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The address of the database, as shown in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// The server's host name, or the folder of its socket.
    pub host: String,
    pub port: u16,
    /// Name of the database.
    pub database: String,
}

impl DatabaseAddress {
    /// The address in `settings`.
    pub fn of(settings: &DatabaseSettings) -> Self {
        let connect = &settings.connect;
        let socket = connect.get_socket().map(|path| path.display().to_string());
        Self {
            host: socket.unwrap_or_else(|| connect.get_host().to_owned()),
            port: connect.get_port(),
            // The server's default: a database named like the user.
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
    pub address: DatabaseAddress,
    /// The message of the server, the network or TLS; contains no password.
    pub reason: String,
    pub remedy: &'static str,
    /// Whether a setting is wrong, so that waiting does not help.
    pub is_wrong_setting: bool,
}

/// Connects to check whether the database can be used, and the pooler if there is one. Takes at
/// most 4 s.
///
/// # Errors
/// The database cannot be used, for the reason given.
pub async fn reach(settings: &DatabaseSettings) -> Result<(), Unreachable> {
    let reached = async {
        let mut connection = connect(settings, APPLICATION_NAME, TIMEOUT).await?;
        let pooler = pooler_of(&mut connection, settings).await?;
        let _ = connection.close().await;
        Ok(pooler)
    };
    let reached = match tokio::time::timeout(TIMEOUT, reached).await {
        Ok(reached) => reached,
        Err(_) => Err(no_answer(TIMEOUT)),
    };
    match reached {
        Ok(Pooler::LosesStatements) => Err(Unreachable {
            address: DatabaseAddress::of(settings),
            reason: LOSES_STATEMENTS.to_owned(),
            remedy: POOLER_REMEDY,
            is_wrong_setting: true,
        }),
        Ok(Pooler::None | Pooler::Fits) => Ok(()),
        Err(error) => Err(unreachable(settings, &error)),
    }
}

fn unreachable(settings: &DatabaseSettings, error: &sqlx::Error) -> Unreachable {
    Unreachable {
        address: DatabaseAddress::of(settings),
        remedy: remedy(error),
        is_wrong_setting: is_wrong_setting(error),
        reason: reason(error),
    }
}

/// The innermost message, without the driver's prefix.
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
            "Correct the user or the password in DATABASE_URL or POSTGIS_*, or let the server admit this role from this machine."
        }
        (_, Some("3D000")) => {
            "Create the database, or correct its name in DATABASE_URL or POSTGIS_DATABASE."
        }
        (_, Some(code)) if code.starts_with("53") => {
            "The server has no connection left: close some, or raise its max_connections."
        }
        (_, Some("57P03")) => "The server is starting or stopping: try again in a moment.",
        (sqlx::Error::Io(error), _) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "Start PostgreSQL there, or correct host and port in DATABASE_URL or POSTGIS_*."
        }
        (sqlx::Error::Tls(_), _) => {
            "The server must offer TLS with a certificate for its host name; name your own certificate authority with \
             sslrootcert in DATABASE_URL."
        }
        (sqlx::Error::Io(_) | sqlx::Error::Configuration(_), _) => {
            "Correct the host in DATABASE_URL or POSTGIS_HOST; let the server's firewall admit this machine."
        }
        _ => "See the server's log.",
    }
}

/// Whether the server or TLS on this machine rejected a value of the settings.
fn is_wrong_setting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("28") || code == "3D000")
        }
        _ => false,
    }
}
