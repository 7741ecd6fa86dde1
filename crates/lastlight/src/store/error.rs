//! What can go wrong with the database, as the controller needs to tell it apart.

use std::sync::Arc;

use super::pooler;

/// A statement that did not succeed. Cheap to clone: a group of requests shares one failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached, is starting, is shutting down, or has no connection left. Nothing was
    /// decided; try again later.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// What the driver said; holds no password.
        detail: Arc<str>,
    },
    /// The schema is not there or not of this version.
    #[error("the database's schema does not fit: {detail}")]
    Schema {
        /// What does not fit, and what to do.
        detail: Arc<str>,
    },
    /// A pooler stands before the database that loses prepared statements.
    #[error("{}. {}", pooler::LOSES_STATEMENTS, pooler::REMEDY)]
    Pooler,
    /// The statement failed for a reason of its own: a defect in lastlight or in the stored data.
    #[error("a statement failed: {0}")]
    Statement(Arc<sqlx::Error>),
}

impl DatabaseError {
    /// What a fail point says in place of the server.
    #[cfg(feature = "fault-injection")]
    pub(super) fn lost() -> Self {
        Self::Unavailable { detail: Arc::from("a fail point keeps its answer back") }
    }

    /// A lock conflict that goes away by trying again at once: deadlock or serialisation failure.
    pub(super) fn is_conflict(&self) -> bool {
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
            // 08 connection; 53 insufficient resources; 57P operator intervention; 28 sign-in;
            // 3D000 no such database; 57014 cancelled; 55P03 a lock that was not to be had in time;
            // 25P03 idle in a transaction for too long.
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
                "; the server must offer TLS, with a certificate for its host name: name a certificate authority of your \
                 own with sslrootcert in DATABASE_URL, or choose another sslmode there"
            } else {
                ""
            };
            return Self::Unavailable {
                detail: match error {
                    // The driver tries for as long as that and keeps to itself why it failed.
                    E::PoolTimedOut => Arc::from(
                        "no connection was to be had in time: it cannot be reached, or all connections of this process are \
                         in use",
                    ),
                    error => Arc::from(format!("{error}{what_to_do}")),
                },
            };
        }
        if is_lost_statement(&error) {
            return Self::Pooler;
        }
        // 42501: the role may not do it. 3F000: nor may it see the schema, or there is none.
        if code(&error).is_some_and(|code| matches!(code.as_str(), "42501" | "3F000")) {
            return Self::Schema {
                detail: Arc::from(format!(
                    "{error}; run `lastlight migrate` with a role that may change the schema, and grant the app's role what \
                     SECURITY.md lists"
                )),
            };
        }
        // 42P01: a table is missing: the schema was dropped under us, or migrations did not run.
        if code(&error).is_some_and(|code| matches!(code.as_str(), "42P01" | "42704" | "42703")) {
            return Self::Schema { detail: Arc::from(format!("{error}; run `lastlight migrate`")) };
        }
        Self::Statement(Arc::new(error))
    }
}

/// A statement that was prepared is not there (26000), or one that was not is (42P05): the
/// connection's other end changed.
pub(super) fn is_lost_statement(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("26000" | "42P05"))
}

/// The role may not do it.
pub(super) fn is_refused(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("42501")
}

/// A certificate that was refused comes as an error of the connection.
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
