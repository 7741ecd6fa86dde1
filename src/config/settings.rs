//! All settings together, as the handler needs them.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{ConfigError, Env, ServiceBusSettings, StorageSettings};
use crate::{controller::Timing, jobs::Backoff, repositories::postgres::DatabaseSettings};

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
    /// `LOG_LEVEL`: error, warn, info, debug or trace, or a filter such as `info,lastlight=debug`.
    pub log_level: String,
    /// The environment's name in `health`.
    pub environment: String,
    /// `ENABLE_SCHEMA_ADMIN`: the schema may be dropped over HTTP.
    pub allows_schema_admin: bool,
    /// End when standard input does; the local cloud sets it, so that no handler outlives it.
    pub exit_with_parent: bool,
}

impl Settings {
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
        let storage = StorageSettings::from_env(&mut env);
        if storage.is_none() {
            env.problem(
                "AzureWebJobsStorage",
                "is not set",
                "Set it to a storage connection string, to UseDevelopmentStorage=true for Azurite, or set \
                 AzureWebJobsStorage__accountName for sign-in by identity.",
            );
        }
        let service_bus = service_bus(&mut env);
        let timing = timing(&mut env);
        let log_level = log_level(&mut env);
        let environment = env.get_or("AZURE_FUNCTIONS_ENVIRONMENT", "Production");
        let allows_schema_admin = env.flag("ENABLE_SCHEMA_ADMIN", false);
        let exit_with_parent = env.flag("LASTLIGHT_EXIT_WITH_PARENT", false);
        env.finish()?;
        match (database, storage) {
            (Some(database), Some(storage)) => Ok(Self {
                listen,
                database,
                storage,
                service_bus,
                timing,
                log_level,
                environment,
                allows_schema_admin,
                exit_with_parent,
            }),
            // Each of them noted a problem when it came to nothing.
            _ => Err(ConfigError { problems: Vec::new() }),
        }
    }

    /// Reads what `migrate` needs: the database alone.
    ///
    /// # Errors
    /// All settings of the database that are missing or malformed.
    pub fn load_database(mut env: Env) -> Result<DatabaseSettings, ConfigError> {
        let database = database(&mut env);
        env.finish()?;
        database.ok_or(ConfigError { problems: Vec::new() })
    }
}

fn listen(env: &mut Env) -> SocketAddr {
    let setting = ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"]
        .into_iter()
        .find(|setting| env.get(setting).is_some());
    let port = match setting {
        Some(setting) => env.number(setting, 0_u16, 1, u16::MAX),
        None => {
            env.problem(
                "FUNCTIONS_CUSTOMHANDLER_PORT",
                "is not set: this is the custom handler of a Functions host, which sets it",
                "Run `lastlight local` for everything on this machine, or `func start` in the app's folder.",
            );
            0
        }
    };
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn database(env: &mut Env) -> Option<DatabaseSettings> {
    let connect = match env.get("DATABASE_URL").map(str::to_owned) {
        Some(url) => from_url(env, &url),
        None => from_parts(env),
    };
    let schema = env.get_or("APP_SCHEMA", "app");
    let mut characters = schema.chars();
    let begins_well = characters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let goes_on_well = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !begins_well || !goes_on_well || schema.len() > 63 || schema.starts_with("pg_") {
        env.problem(
            "APP_SCHEMA",
            format!("{schema:?} is not a schema name"),
            "Use a-z, 0-9 and _, not beginning with a digit or pg_, at most 63 characters; or leave it out for app.",
        );
    }
    let connections = env.number("LASTLIGHT_DATABASE_CONNECTIONS", 8, 1, 100);
    let acquire = env.number("LASTLIGHT_DATABASE_WAIT_SECONDS", 5, 1, 60);
    connect.map(|connect| DatabaseSettings {
        connect,
        schema,
        connections,
        acquire_timeout: Duration::from_secs(acquire),
    })
}

fn from_url(env: &mut Env, url: &str) -> Option<PgConnectOptions> {
    const REMEDY: &str = "Write it as postgresql://user:password@host:5432/database?sslmode=require.";
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        env.problem(
            "DATABASE_URL",
            "does not begin with postgresql:// (its value is a secret)",
            REMEDY,
        );
        return None;
    }
    match PgConnectOptions::from_str(url) {
        Ok(options) => Some(options),
        Err(error) => {
            // The driver's words name the part, not the password; the URL itself is not repeated.
            env.problem("DATABASE_URL", format!("cannot be read: {error}"), REMEDY);
            None
        }
    }
}

fn from_parts(env: &mut Env) -> Option<PgConnectOptions> {
    let Some(host) = env.get("POSTGIS_HOST").map(str::to_owned) else {
        env.problem(
            "DATABASE_URL",
            "is not set, and neither is POSTGIS_HOST",
            "Set DATABASE_URL to postgresql://user:password@host:5432/database, or POSTGIS_HOST, POSTGIS_PORT, \
             POSTGIS_USER, POSTGIS_PASSWORD and POSTGIS_DATABASE.",
        );
        return None;
    };
    let port = env.number("POSTGIS_PORT", 5432_u16, 1, u16::MAX);
    let mut missing = false;
    let mut required = |env: &mut Env, setting: &str| {
        env.get(setting).map(str::to_owned).unwrap_or_else(|| {
            env.problem(
                setting,
                "is not set, though POSTGIS_HOST is",
                "Set it, or set DATABASE_URL instead.",
            );
            missing = true;
            String::new()
        })
    };
    let user = required(env, "POSTGIS_USER");
    let database = required(env, "POSTGIS_DATABASE");
    if missing {
        return None;
    }
    let is_here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1") || host.starts_with('/');
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
    if let Some(password) = env.get("POSTGIS_PASSWORD") {
        options = options.password(password);
    }
    Some(options)
}

/// `ENABLE_SERVICE_BUS` decides; without it, Service Bus is on where a connection to it is configured.
fn service_bus(env: &mut Env) -> Option<ServiceBusSettings> {
    let is_said = env.get("ENABLE_SERVICE_BUS").is_some();
    if is_said && !env.flag("ENABLE_SERVICE_BUS", false) {
        return None;
    }
    let settings = ServiceBusSettings::from_env(env);
    if settings.is_none() && is_said {
        env.problem(
            "SERVICE_BUS_CONNECTION_STRING",
            "is not set, though ENABLE_SERVICE_BUS is true",
            "Set it to Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…, or \
             set SERVICE_BUS_NAMESPACE for sign-in by identity, or set ENABLE_SERVICE_BUS=false.",
        );
    }
    settings
}

fn timing(env: &mut Env) -> Timing {
    let default = Timing::default();
    let seconds = |env: &mut Env, setting: &str, default: Duration| {
        Duration::from_secs_f64(env.number(setting, default.as_secs_f64(), 0.1, 86_400.0))
    };
    Timing {
        lease: seconds(env, "LASTLIGHT_LEASE_SECONDS", default.lease),
        send_grace: seconds(env, "LASTLIGHT_SEND_GRACE_SECONDS", default.send_grace),
        lost_after: seconds(env, "LASTLIGHT_LOST_AFTER_SECONDS", default.lost_after),
        sends_in_flight: env.number("LASTLIGHT_SENDS_IN_FLIGHT", default.sends_in_flight, 1, 64),
        tasks_in_flight: env.number("LASTLIGHT_TASKS_IN_FLIGHT", default.tasks_in_flight, 1, 1024),
        task_timeout: Duration::from_secs(60 * env.number("FUNCTION_TIMEOUT_MINUTES", 30, 1, 24 * 60)),
        // Retries are what comes after the first attempt.
        max_attempts: 1 + env.number("MAX_RETRY_ATTEMPTS", default.max_attempts - 1, 0, 1000),
        backoff: Backoff {
            first: seconds(env, "LASTLIGHT_RETRY_FIRST_SECONDS", default.backoff.first),
            largest: seconds(env, "LASTLIGHT_RETRY_LARGEST_SECONDS", default.backoff.largest),
        },
        instances: {
            // The platform's own bound on scaling out, where it is set.
            let platform = env.number(
                "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
                default.instances,
                1,
                1000,
            );
            env.number("LASTLIGHT_INSTANCES", platform, 1, 1000)
        },
        job_timeout: Duration::from_secs(
            3600 * env.number(
                "LASTLIGHT_JOB_TIMEOUT_HOURS",
                default.job_timeout.as_secs() / 3600,
                1,
                24 * 365,
            ),
        ),
    }
}

fn log_level(env: &mut Env) -> String {
    let level = env.get_or("LOG_LEVEL", "info").to_ascii_lowercase();
    // Python's names for the same.
    let level = match level.as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        _ => level,
    };
    if let Err(error) = level.parse::<tracing_subscriber::EnvFilter>() {
        env.problem(
            "LOG_LEVEL",
            format!("{level:?} is not a log level: {error}"),
            "Set it to info, debug or warning.",
        );
    }
    level
}
