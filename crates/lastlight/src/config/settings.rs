//! All settings together, as the handler needs them.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    ConfigError, DatabaseSettings, Env, LogSettings, OtlpSettings, Prices, ServiceBusSettings,
    SettingProblem, StorageSettings, Timing, database::database, prices::prices,
    reference as setting, timing::timing,
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
    /// The app's folder, where the host says it.
    pub app_root: Option<PathBuf>,
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
        let app_root = env.get(&setting::APP_ROOT_PATH).map(PathBuf::from);
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
                app_root,
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
    pub fn load_database(
        mut env: Env,
    ) -> Result<(DatabaseSettings, Vec<SettingProblem>), ConfigError> {
        let database = database(&mut env);
        let warnings = env.finish()?;
        database.map(|database| (database, warnings)).ok_or(ConfigError { problems: Vec::new() })
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

/// `ENABLE_SERVICE_BUS` decides; without it, Service Bus is on where a connection to it is
/// configured.
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
