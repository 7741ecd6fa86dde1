//! Database errors, in the classes that callers need to distinguish.

use std::sync::Arc;

/// Why a pooler cannot be used.
pub(super) const LOSES_STATEMENTS: &str = "the connection leads through a pooler in transaction mode that does not keep prepared statements (PgBouncer before \
     1.21, or with max_prepared_statements = 0)";

/// What to do about such a pooler.
pub(super) const POOLER_REMEDY: &str = "Use PgBouncer 1.21 or later with max_prepared_statements = 200, or its pool_mode = session, or connect directly to \
     the server (on Azure: port 5432; the pooler is at port 6432).";

/// A database error. Cheap to clone: all requests of a group receive the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The database cannot be reached, is starting or shutting down, or has no connection left. The
    /// caller may try again later.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// The driver's message; contains no password.
        detail: Arc<str>,
    },
    /// The schema is missing, is not of this version, or this role may not use it.
    #[error("the database schema does not fit: {detail}")]
    Schema {
        /// What is wrong, and what to do.
        detail: Arc<str>,
    },
    /// The connection leads through a pooler that loses prepared statements.
    #[error("{}. {}", LOSES_STATEMENTS, POOLER_REMEDY)]
    Pooler,
    /// The statement failed because of a defect in lastlight or in the stored data.
    #[error("a statement failed: {0}")]
    Statement(Arc<sqlx::Error>),
}

impl DatabaseError {
    /// The error that a fail point returns in place of the server's answer.
    #[cfg(feature = "fault-injection")]
    pub(in crate::store) fn lost() -> Self {
        Self::Unavailable { detail: Arc::from("a fail point withholds the answer") }
    }

    /// Whether this is a lock conflict after which the statement can be run again at once: a
    /// deadlock or a serialisation failure.
    pub(in crate::store) fn is_conflict(&self) -> bool {
        match self {
            Self::Statement(error) => {
                matches!(code(error).as_deref(), Some("40P01" | "40001"))
            }
            _ => false,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let unavailable = match &error {
            E::Io(_)
            | E::Tls(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::Protocol(_) => true,
            // 08 connection; 53 insufficient resources; 57P operator intervention; 28
            // authentication; 3D000 no such database; 57014 cancelled; 55P03 lock timeout; 25P03
            // idle in a transaction for too long.
            E::Database(_) => code(&error).is_some_and(|code| {
                code.starts_with("08")
                    || code.starts_with("53")
                    || code.starts_with("57P")
                    || code.starts_with("28")
                    || code == "3D000"
                    || matches!(code.as_str(), "57014" | "55P03" | "25P03")
            }),
            _ => false,
        };
        if unavailable {
            let what_to_do = if is_about_tls(&error) {
                "; the server must offer TLS with a certificate for its host name: name your own certificate authority \
                 with sslrootcert in DATABASE_URL, or choose another sslmode there"
            } else {
                ""
            };
            return Self::Unavailable {
                detail: match error {
                    // The driver retries until the timeout and does not report why it failed.
                    E::PoolTimedOut => Arc::from(
                        "no connection was available in time: the database cannot be reached, or all connections of this \
                         process are in use",
                    ),
                    error => Arc::from(format!("{error}{what_to_do}")),
                },
            };
        }
        if is_lost_statement(&error) {
            return Self::Pooler;
        }
        // 42501: the role lacks a right. 3F000: the schema does not exist, or the role may not use
        // it.
        if code(&error).is_some_and(|code| matches!(code.as_str(), "42501" | "3F000")) {
            return Self::Schema {
                detail: Arc::from(format!(
                    "{error}; run `lastlight migrate` with a role that may change the schema, and grant the app's role the \
                     rights that SECURITY.md lists"
                )),
            };
        }
        // 42P01, 42704, 42703: a table, type or column is missing: the schema was dropped while the
        // app ran, or migrations did not run.
        if code(&error).is_some_and(|code| matches!(code.as_str(), "42P01" | "42704" | "42703")) {
            return Self::Schema { detail: Arc::from(format!("{error}; run `lastlight migrate`")) };
        }
        Self::Statement(Arc::new(error))
    }
}

/// Whether a statement that was prepared is missing (26000), or one that was not prepared exists
/// (42P05): the connection leads to another server process than before.
pub(super) fn is_lost_statement(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("26000" | "42P05"))
}

/// Whether the role lacks a right.
pub(super) fn is_refused(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("42501")
}

/// Whether the error is about TLS. A rejected certificate is reported as an I/O error.
fn is_about_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => {
            error.kind() == std::io::ErrorKind::InvalidData
                && error.to_string().contains("certificate")
        }
        _ => false,
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned)
}
