//! The settings of the database: address, credentials, TLS and pool.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{
    Env, database_text::url_of, declaration::Given, endpoint::is_this_machine, env::shown,
    reference as setting,
};

/// The connection to the database and the limits of its pool.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// Host, credentials, TLS.
    pub connect: PgConnectOptions,
    /// The schema of all tables; created if it is missing.
    pub schema: String,
    /// Maximum number of connections of the pool.
    pub connections: u32,
    /// Timeout of a request for a connection; after it, the database counts as unavailable.
    pub acquire_timeout: Duration,
}

impl DatabaseSettings {
    /// Whether the server is on this machine, so that traffic to it cannot be read on a network.
    pub fn is_on_this_machine(&self) -> bool {
        let host = self.connect.get_host();
        self.connect.get_socket().is_some() || host.starts_with('/') || is_this_machine(host)
    }
}

impl fmt::Debug for DatabaseSettings {
    /// `Debug` of the driver's type prints the password, so the fields are listed one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseSettings")
            .field("host", &self.connect.get_host())
            .field("port", &self.connect.get_port())
            .field("user", &self.connect.get_username())
            .field("database", &self.connect.get_database())
            .field("ssl_mode", &self.connect.get_ssl_mode())
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}

/// Reads the settings of the database; `None` if they are invalid, with the problems recorded.
pub(super) fn database(env: &mut Env) -> Option<DatabaseSettings> {
    let connect = match env.get(&setting::DATABASE_URL).map(str::to_owned) {
        Some(url) => from_url(env, &url),
        None => from_parts(env),
    };
    let schema = env.text(&setting::APP_SCHEMA);
    let connections = env.number(&setting::DATABASE_CONNECTIONS);
    let acquire = env.number(&setting::DATABASE_WAIT_SECONDS);
    connect.map(|connect| DatabaseSettings {
        connect,
        schema,
        connections,
        acquire_timeout: Duration::from_secs(acquire),
    })
}

/// The URL parameters that the driver reads, besides `options[…]`. It ignores others and logs each
/// with its value, which may be a secret under a misspelt name.
const URL_PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

fn from_url(env: &mut Env, text: &str) -> Option<PgConnectOptions> {
    const REMEDY: &str = "Write it as postgresql://user:password@host:5432/database, with characters other than letters \
                          and digits in the password percent-encoded; or in the format of ADO.NET or libpq: \
                          Host=…;Database=…;Username=…;Password=…, or host=… dbname=… user=… password=….";
    let mut url = match url_of(text) {
        Ok(url) => url,
        Err(problem) => {
            env.problem(setting::DATABASE_URL.name, problem, REMEDY);
            return None;
        }
    };
    let (known, ignored): (Vec<_>, Vec<_>) =
        url.query_pairs().into_owned().partition(|(name, _)| {
            URL_PARAMETERS.contains(&name.as_str()) || name.starts_with("options[")
        });
    url.set_query(None);
    if !known.is_empty() {
        url.query_pairs_mut().extend_pairs(&known);
    }
    for (name, _) in ignored {
        env.warning(
            setting::DATABASE_URL.name,
            format!("{} is unknown and is ignored", parameter(&name)),
            "Remove it, or correct its name.",
        );
    }
    let in_url = known
        .iter()
        .rev()
        .find(|(name, _)| matches!(name.as_str(), "sslmode" | "ssl-mode"))
        .map(|(_, mode)| (&setting::DATABASE_URL, mode.clone()));
    let explicit = in_url.or_else(|| {
        let mode = env.get(&setting::PGSSLMODE)?;
        Some((&setting::PGSSLMODE, mode.to_owned()))
    });
    if let Some((given, mode)) = &explicit
        && mode.parse::<PgSslMode>().is_err()
    {
        env.problem(
            given.name,
            "its sslmode is unknown",
            "Set sslmode to verify-full, verify-ca, require, prefer or disable; or omit it.",
        );
        return None;
    }
    let Ok(options) = PgConnectOptions::from_str(url.as_str()) else {
        // The driver's error may contain a value, so it is not shown.
        env.problem(
            setting::DATABASE_URL.name,
            "cannot be parsed: a part of it has an invalid value",
            REMEDY,
        );
        return None;
    };
    let explicit = explicit.as_ref().map(|(given, mode)| (given.name, &**mode));
    Some(with_tls(env, options, explicit))
}

/// A parameter for a warning. A name that does not look like one may be a part of the password and
/// is not shown.
fn parameter(name: &str) -> String {
    let is_name =
        (1..=40).contains(&name.len()) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if is_name { format!("its parameter {name}") } else { "one of its parameters".to_owned() }
}

/// Sets the TLS mode. The driver's default, `prefer`, connects without TLS if the server, or an
/// impostor, offers none. So a database on another machine gets verified TLS unless the settings
/// say otherwise.
fn with_tls(
    env: &mut Env,
    options: PgConnectOptions,
    explicit: Option<(&str, &str)>,
) -> PgConnectOptions {
    let is_here = options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || is_this_machine(options.get_host());
    let Some((said_in, mode)) = explicit else {
        return options.ssl_mode(if is_here { PgSslMode::Prefer } else { PgSslMode::VerifyFull });
    };
    let mode = mode.parse().unwrap_or(PgSslMode::VerifyFull);
    if !is_here && !matches!(mode, PgSslMode::VerifyFull) {
        let what = match mode {
            PgSslMode::Disable | PgSslMode::Allow => "sends password and data unencrypted",
            PgSslMode::Prefer => {
                "connects unencrypted if the server offers no TLS, and does not verify the server"
            }
            PgSslMode::Require => "encrypts but does not verify the server",
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => "does not verify the server's name",
        };
        env.warning(
            said_in,
            format!("the database is on another machine, and this sslmode {what}"),
            "Omit sslmode, or set it to verify-full; set your own certificate authority with sslrootcert.",
        );
    }
    options.ssl_mode(mode)
}

fn from_parts(env: &mut Env) -> Option<PgConnectOptions> {
    let Some(host) = env.get(&setting::POSTGIS_HOST).map(str::to_owned) else {
        env.problem(
            setting::DATABASE_URL.name,
            "is not set, and neither is POSTGIS_HOST",
            "Set DATABASE_URL to postgresql://user:password@host:5432/database, or POSTGIS_HOST, POSTGIS_PORT, \
             POSTGIS_USER, POSTGIS_PASSWORD and POSTGIS_DATABASE.",
        );
        return None;
    };
    let port = env.number(&setting::POSTGIS_PORT);
    let mut missing = false;
    let mut required = |env: &mut Env, given: &Given| {
        env.get(given).map(str::to_owned).unwrap_or_else(|| {
            env.problem(
                given.name,
                "is not set, but POSTGIS_HOST is",
                "Set it, or set DATABASE_URL instead.",
            );
            missing = true;
            String::new()
        })
    };
    let user = required(env, &setting::POSTGIS_USER);
    let database = required(env, &setting::POSTGIS_DATABASE);
    if missing {
        return None;
    }
    let is_address =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if !host.starts_with('/') && !host.chars().all(is_address) {
        env.problem(
            setting::POSTGIS_HOST.name,
            format!("{} is not a host name", shown(&host)),
            "Set it to the server's host name only: myserver.postgres.database.azure.com.",
        );
        return None;
    }
    let is_here = is_this_machine(&host) || host.starts_with('/');
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(port)
        .username(&user)
        .database(&database)
        // Azure's PostgreSQL requires TLS; traffic on this machine needs no protection.
        .ssl_mode(if is_here { PgSslMode::Prefer } else { PgSslMode::VerifyFull });
    if let Some(password) = env.get(&setting::POSTGIS_PASSWORD) {
        options = options.password(password);
    }
    Some(options)
}
