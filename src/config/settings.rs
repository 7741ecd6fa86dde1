//! All settings together, as the handler needs them.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::{
    ConfigError, Env, LogSettings, OtlpSettings, ServiceBusSettings, SettingProblem, StorageSettings,
    declaration::{Given, Number},
    endpoint::is_this_machine,
    env::shown,
    prices::prices,
    reference as setting,
};
use crate::{
    controller::{Prices, Timing},
    jobs::Backoff,
    repositories::postgres::DatabaseSettings,
};

/// Everything that the handler needs to know, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the handler listens.
    pub listen: SocketAddr,
    /// The database.
    pub database: DatabaseSettings,
    /// Storage Queues.
    pub storage: StorageSettings,
    /// Service Bus, where it is switched on.
    pub service_bus: Option<ServiceBusSettings>,
    /// Leases, graces and concurrency.
    pub timing: Timing,
    /// What messages cost.
    pub prices: Prices,
    /// The log.
    pub log: LogSettings,
    /// Where spans go, if anywhere.
    pub otlp: Option<OtlpSettings>,
    /// The environment's name in `health`.
    pub environment: String,
    /// `ENABLE_SCHEMA_ADMIN`: the schema may be dropped over HTTP.
    pub allows_schema_admin: bool,
    /// End when standard input does; the local cloud sets it, so that no handler outlives it.
    pub exit_with_parent: bool,
    /// What works and should not stay; the handler logs it at its start.
    pub warnings: Vec<SettingProblem>,
}

/// What can be had of settings of which some may be wrong, for `doctor`: each part that is whole.
#[derive(Debug)]
pub struct SettingsSoFar {
    /// The database.
    pub database: Option<DatabaseSettings>,
    /// Storage Queues.
    pub storage: Option<StorageSettings>,
    /// Service Bus, where it is switched on.
    pub service_bus: Option<ServiceBusSettings>,
    /// Leases, graces and concurrency, with the default in the place of what is wrong.
    pub timing: Timing,
}

impl Settings {
    /// Reads what can be read. What is wrong is [`Settings::load_without_host`]'s to say.
    pub fn load_so_far(mut env: Env) -> SettingsSoFar {
        SettingsSoFar {
            database: database(&mut env),
            storage: StorageSettings::from_env(&mut env),
            service_bus: service_bus(&mut env),
            timing: timing(&mut env),
        }
    }

    /// Reads and checks everything that the handler needs.
    ///
    /// # Errors
    /// All settings that are missing or malformed, with what to do about each.
    pub fn load(mut env: Env) -> Result<Self, ConfigError> {
        let listen = listen(&mut env);
        Self::with_listen(env, listen)
    }

    /// The same for a command that serves nobody: there need be no host that gives it a port.
    ///
    /// # Errors
    /// All settings that are missing or malformed, with what to do about each.
    pub fn load_without_host(env: Env) -> Result<Self, ConfigError> {
        Self::with_listen(env, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn with_listen(mut env: Env, listen: SocketAddr) -> Result<Self, ConfigError> {
        let database = database(&mut env);
        let problems = env.problems();
        let storage = StorageSettings::from_env(&mut env);
        // One that cannot be used has said so itself.
        if storage.is_none() && env.problems() == problems {
            env.problem(
                setting::STORAGE.name,
                "is not set",
                "Set it to a storage connection string, to UseDevelopmentStorage=true for Azurite, or set \
                 AzureWebJobsStorage__accountName for sign-in by identity.",
            );
        }
        let service_bus = service_bus(&mut env);
        let timing = timing(&mut env);
        let prices = prices(&mut env);
        let log = LogSettings::from_env(&mut env);
        let otlp = OtlpSettings::from_env(&mut env);
        let environment = env.text(&setting::AZURE_FUNCTIONS_ENVIRONMENT);
        let allows_schema_admin = env.flag(&setting::ENABLE_SCHEMA_ADMIN);
        let exit_with_parent = env.flag(&setting::EXIT_WITH_PARENT);
        let warnings = env.finish()?;
        match (database, storage) {
            (Some(database), Some(storage)) => Ok(Self {
                listen,
                database,
                storage,
                service_bus,
                timing,
                prices,
                log,
                otlp,
                environment,
                allows_schema_admin,
                exit_with_parent,
                warnings,
            }),
            // Each of them noted a problem when it came to nothing.
            _ => Err(ConfigError { problems: Vec::new() }),
        }
    }

    /// Reads what `migrate` needs: the database alone, and the warnings about it.
    ///
    /// # Errors
    /// All settings of the database that are missing or malformed.
    pub fn load_database(mut env: Env) -> Result<(DatabaseSettings, Vec<SettingProblem>), ConfigError> {
        let database = database(&mut env);
        let warnings = env.finish()?;
        database
            .map(|database| (database, warnings))
            .ok_or(ConfigError { problems: Vec::new() })
    }
}

fn listen(env: &mut Env) -> SocketAddr {
    let given = [&setting::CUSTOMHANDLER_PORT, &setting::HTTPWORKER_PORT]
        .into_iter()
        .find(|given| env.is_set(*given));
    let port = match given {
        Some(given) => env.number(given),
        None => {
            env.problem(
                setting::CUSTOMHANDLER_PORT.name,
                "is not set: this is the custom handler of a Functions host, which sets it",
                "Run `lastlight local` for everything on this machine, or `func start` in the app's folder.",
            );
            0
        }
    };
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn database(env: &mut Env) -> Option<DatabaseSettings> {
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

/// What the driver reads of a URL's query, beside `options[…]`. It ignores the rest and logs each with its value, which
/// may be a secret whose name was misspelt.
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
                          digit in the password percent-encoded.";
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        env.problem(
            setting::DATABASE_URL.name,
            "does not begin with postgresql:// (its value is a secret)",
            REMEDY,
        );
        return None;
    }
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            // The words name the part; the URL itself is not repeated.
            env.problem(
                setting::DATABASE_URL.name,
                format!("cannot be read: {error}"),
                REMEDY,
            );
            return None;
        }
    };
    let (known, ignored): (Vec<_>, Vec<_>) = url
        .query_pairs()
        .into_owned()
        .partition(|(name, _)| URL_PARAMETERS.contains(&name.as_str()) || name.starts_with("options["));
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
    let is_name = (1..=40).contains(&name.len()) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if is_name {
        format!("its parameter {name}")
    } else {
        "one of its parameters".to_owned()
    }
}

/// The driver's default, `prefer`, goes on without TLS where the server, or whoever answers in its place, has none. A
/// database on another machine is reached with verified TLS, unless the URL says otherwise.
fn with_tls(env: &mut Env, options: PgConnectOptions, explicit: Option<(&str, &str)>) -> PgConnectOptions {
    let is_here = options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || is_this_machine(options.get_host());
    let Some((said_in, mode)) = explicit else {
        return options.ssl_mode(if is_here {
            PgSslMode::Prefer
        } else {
            PgSslMode::VerifyFull
        });
    };
    let mode = mode.parse().unwrap_or(PgSslMode::VerifyFull);
    if !is_here && !matches!(mode, PgSslMode::VerifyFull) {
        let what = match mode {
            PgSslMode::Disable | PgSslMode::Allow => "sends password and data in the clear",
            PgSslMode::Prefer => "goes on in the clear where the server offers no TLS, and verifies nothing",
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
    let is_address = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
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
        .ssl_mode(if is_here {
            PgSslMode::Prefer
        } else {
            PgSslMode::VerifyFull
        });
    if let Some(password) = env.get(&setting::POSTGIS_PASSWORD) {
        options = options.password(password);
    }
    Some(options)
}

/// `ENABLE_SERVICE_BUS` decides; without it, Service Bus is on where a connection to it is configured.
fn service_bus(env: &mut Env) -> Option<ServiceBusSettings> {
    let said = env.said_flag(&setting::ENABLE_SERVICE_BUS);
    if said == Some(false) {
        return None;
    }
    let settings = ServiceBusSettings::from_env(env);
    if settings.is_none() && said.is_some() {
        env.problem(
            setting::SERVICE_BUS_CONNECTION_STRING.name,
            "is not set, though ENABLE_SERVICE_BUS is true",
            "Set it to Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…, or \
             set SERVICE_BUS_NAMESPACE for sign-in by identity, or set ENABLE_SERVICE_BUS=false.",
        );
    }
    settings
}

fn timing(env: &mut Env) -> Timing {
    let seconds = |env: &mut Env, setting: &Number<f64>| Duration::from_secs_f64(env.number(setting));
    Timing {
        lease: seconds(env, &setting::LEASE_SECONDS),
        send_grace: seconds(env, &setting::SEND_GRACE_SECONDS),
        lost_after: seconds(env, &setting::LOST_AFTER_SECONDS),
        sends_in_flight: env.number(&setting::SENDS_IN_FLIGHT),
        tasks_in_flight: env.number(&setting::TASKS_IN_FLIGHT),
        task_timeout: Duration::from_secs(60 * env.number(&setting::FUNCTION_TIMEOUT_MINUTES)),
        // Retries are what comes after the first attempt.
        max_attempts: 1 + env.number(&setting::MAX_RETRY_ATTEMPTS),
        backoff: Backoff {
            first: seconds(env, &setting::RETRY_FIRST_SECONDS),
            largest: seconds(env, &setting::RETRY_LARGEST_SECONDS),
        },
        instances: {
            let platform = env.number(&setting::SCALE_OUT);
            env.number_or(&setting::INSTANCES, platform)
        },
        job_timeout: Duration::from_secs(3600 * env.number(&setting::JOB_TIMEOUT_HOURS)),
    }
}
