//! The database: where it is, who signs in, and how safe the way there is.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{
    Env, database_text::url_of, declaration::Given, endpoint::is_this_machine, env::shown,
    reference as setting,
};

/// How to reach the database.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// Host, credentials, TLS.
    pub connect: PgConnectOptions,
    /// The schema of all tables; created if it is missing.
    pub schema: String,
    /// At most this many connections.
    pub connections: u32,
    /// How long a request waits for a connection before it counts as unavailable.
    pub acquire_timeout: Duration,
}

impl DatabaseSettings {
    /// The server is on this machine, where nobody listens in.
    pub fn is_on_this_machine(&self) -> bool {
        let host = self.connect.get_host();
        self.connect.get_socket().is_some() || host.starts_with('/') || is_this_machine(host)
    }
}

impl fmt::Debug for DatabaseSettings {
    /// `Debug` of the driver's type prints the password, so its parts are named one by one.
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

/// Reads how to reach it; `None`: what is wrong has been noted.
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

/// What the driver reads of a URL's query, beside `options[…]`. It ignores the rest and logs each
/// with its value, which may be a secret whose name was misspelt.
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
    const REMEDY: &str = "Write it as postgresql://user:password@host:5432/database, with what is not a letter or a \
                          digit in the password percent-encoded; or as ADO.NET and libpq do: \
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
            format!("{} is not known and is ignored", parameter(&name)),
            "Leave it out, or correct its name.",
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
            "its sslmode is not known",
            "Set sslmode to verify-full, verify-ca, require, prefer or disable; or leave it out.",
        );
        return None;
    }
    let Ok(options) = PgConnectOptions::from_str(url.as_str()) else {
        // The driver's words may repeat a value.
        env.problem(
            setting::DATABASE_URL.name,
            "cannot be read: a part of it has no valid value",
            REMEDY,
        );
        return None;
    };
    let explicit = explicit.as_ref().map(|(given, mode)| (given.name, &**mode));
    Some(with_tls(env, options, explicit))
}

/// A parameter as a warning names it: what does not look like a name may be a part of the password.
fn parameter(name: &str) -> String {
    let is_name =
        (1..=40).contains(&name.len()) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if is_name { format!("its parameter {name}") } else { "one of its parameters".to_owned() }
}

/// The driver's default, `prefer`, goes on without TLS where the server, or whoever answers in its
/// place, has none. A database on another machine is reached with verified TLS, unless the URL says
/// otherwise.
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
            PgSslMode::Disable | PgSslMode::Allow => "sends password and data in the clear",
            PgSslMode::Prefer => {
                "goes on in the clear where the server offers no TLS, and verifies nothing"
            }
            PgSslMode::Require => "encrypts and does not verify who answers",
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => "does not verify the server's name",
        };
        env.warning(
            said_in,
            format!("the database is on another machine, and this sslmode {what}"),
            "Leave sslmode out, or set it to verify-full; name a certificate authority of your own with sslrootcert.",
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
                "is not set, though POSTGIS_HOST is",
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
            format!("{} is not a host", shown(&host)),
            "Set it to the server's name alone: myserver.postgres.database.azure.com.",
        );
        return None;
    }
    let is_here = is_this_machine(&host) || host.starts_with('/');
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(port)
        .username(&user)
        .database(&database)
        // Azure's PostgreSQL asks for TLS; on this machine there is nothing to protect it from.
        .ssl_mode(if is_here { PgSslMode::Prefer } else { PgSslMode::VerifyFull });
    if let Some(password) = env.get(&setting::POSTGIS_PASSWORD) {
        options = options.password(password);
    }
    Some(options)
}
