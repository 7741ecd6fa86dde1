//! All settings of the handler.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    ArchiveSettings, BlobSettings, ConfigError, DatabaseSettings, Env, HttpCallAllow, LogSettings,
    NotificationSettings, OtlpSettings, Prices, ServiceBusSettings, SettingProblem,
    StorageSettings, Timing, database::database, prices::prices, reference as setting,
    timing::timing,
};

/// The checked settings of the handler.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address on which the handler listens.
    pub listen: SocketAddr,
    /// The database.
    pub database: DatabaseSettings,
    /// Storage Queues.
    pub storage: StorageSettings,
    /// The storage accounts whose blobs submissions may name.
    pub blobs: BlobSettings,
    /// The archive of jobs, if there is one.
    pub archive: Option<ArchiveSettings>,
    /// Service Bus, if it is enabled.
    pub service_bus: Option<ServiceBusSettings>,
    /// Time limits, retries and concurrency.
    pub timing: Timing,
    /// What the built-in handler `http_call` may call.
    pub http_call: HttpCallAllow,
    /// Whom to notify of the ends of jobs.
    pub notifications: NotificationSettings,
    /// The prices of messages.
    pub prices: Prices,
    /// The log.
    pub log: LogSettings,
    /// The collector of spans, if one is set.
    pub otlp: Option<OtlpSettings>,
    /// The name of the environment, for `health`.
    pub environment: String,
    /// `ENABLE_SCHEMA_ADMIN`: whether the schema may be dropped over HTTP.
    pub allows_schema_admin: bool,
    /// The app's folder, if the host sets it.
    pub app_root: Option<PathBuf>,
    /// The folder of the workflow files.
    pub workflows: PathBuf,
    /// Exit when standard input ends; the local cloud sets it, so that no handler outlives it.
    pub exit_with_parent: bool,
    /// Settings that work but should be changed; the handler logs them at start.
    pub warnings: Vec<SettingProblem>,
}

/// The valid parts of settings of which some may be invalid, for `doctor`.
#[derive(Debug)]
pub struct SettingsSoFar {
    /// The database.
    pub database: Option<DatabaseSettings>,
    /// Storage Queues.
    pub storage: Option<StorageSettings>,
    /// The archive of jobs, if there is one.
    pub archive: Option<ArchiveSettings>,
    /// Service Bus, if it is enabled.
    pub service_bus: Option<ServiceBusSettings>,
    /// Time limits, retries and concurrency, with defaults in place of invalid values.
    pub timing: Timing,
}

impl Settings {
    /// Reads the valid parts. [`Settings::load_without_host`] reports the problems.
    pub fn load_so_far(mut env: Env) -> SettingsSoFar {
        let blobs = BlobSettings::from_env(&mut env);
        SettingsSoFar {
            database: database(&mut env),
            storage: StorageSettings::from_env(&mut env),
            archive: ArchiveSettings::from_env(&mut env, &blobs),
            service_bus: service_bus(&mut env),
            timing: timing(&mut env),
        }
    }

    /// Reads and checks all settings of the handler.
    ///
    /// # Errors
    /// All settings that are missing or invalid, each with its remedy.
    pub fn load(mut env: Env) -> Result<Self, ConfigError> {
        let listen = listen(&mut env);
        Self::with_listen(env, listen)
    }

    /// Like [`Settings::load`], for commands that do not listen: the host's port need not be set.
    ///
    /// # Errors
    /// All settings that are missing or invalid, each with its remedy.
    pub fn load_without_host(env: Env) -> Result<Self, ConfigError> {
        Self::with_listen(env, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn with_listen(mut env: Env, listen: SocketAddr) -> Result<Self, ConfigError> {
        let database = database(&mut env);
        let problems = env.problems();
        let storage = StorageSettings::from_env(&mut env);
        // An invalid connection has already recorded a problem.
        if storage.is_none() && env.problems() == problems {
            env.problem(
                setting::STORAGE.name,
                "is not set",
                "Set it to a storage connection string, to UseDevelopmentStorage=true for Azurite, or set \
                 AzureWebJobsStorage__accountName for sign-in by identity.",
            );
        }
        let blobs = BlobSettings::from_env(&mut env);
        let archive = ArchiveSettings::from_env(&mut env, &blobs);
        let service_bus = service_bus(&mut env);
        let timing = timing(&mut env);
        let http_call = HttpCallAllow::from_env(&mut env);
        let notifications = NotificationSettings::from_env(&mut env);
        let prices = prices(&mut env);
        let log = LogSettings::from_env(&mut env);
        let otlp = OtlpSettings::from_env(&mut env);
        let environment = env.text(&setting::AZURE_FUNCTIONS_ENVIRONMENT);
        let allows_schema_admin = env.flag(&setting::ENABLE_SCHEMA_ADMIN);
        let app_root = env.get(&setting::APP_ROOT_PATH).map(PathBuf::from);
        let workflows = workflows(&mut env, app_root.as_deref());
        let exit_with_parent = env.flag(&setting::EXIT_WITH_PARENT);
        let warnings = env.finish()?;
        match (database, storage) {
            (Some(database), Some(storage)) => Ok(Self {
                listen,
                database,
                storage,
                blobs,
                archive,
                service_bus,
                timing,
                http_call,
                notifications,
                prices,
                log,
                otlp,
                environment,
                allows_schema_admin,
                app_root,
                workflows,
                exit_with_parent,
                warnings,
            }),
            // Not reached: each of them records a problem when it returns `None`.
            _ => Err(ConfigError { problems: Vec::new() }),
        }
    }

    /// The folder of the workflow files, for commands that read nothing else.
    pub fn load_workflows(mut env: Env) -> PathBuf {
        let app_root = env.get(&setting::APP_ROOT_PATH).map(PathBuf::from);
        workflows(&mut env, app_root.as_deref())
    }

    /// Reads the settings of the archive only; `None` if there is no archive.
    ///
    /// # Errors
    /// All settings of the archive that are invalid.
    pub fn load_archive(mut env: Env) -> Result<Option<ArchiveSettings>, ConfigError> {
        let blobs = BlobSettings::from_env(&mut env);
        let archive = ArchiveSettings::from_env(&mut env, &blobs);
        env.finish()?;
        Ok(archive)
    }

    /// Reads the settings of the database only, for `migrate`, and the warnings about them.
    ///
    /// # Errors
    /// All settings of the database that are missing or invalid.
    pub fn load_database(
        mut env: Env,
    ) -> Result<(DatabaseSettings, Vec<SettingProblem>), ConfigError> {
        let database = database(&mut env);
        let warnings = env.finish()?;
        database.map(|database| (database, warnings)).ok_or(ConfigError { problems: Vec::new() })
    }
}

/// The folder that a setting names, or the one beside host.json.
fn workflows(env: &mut Env, app_root: Option<&Path>) -> PathBuf {
    let named = env.get(&setting::WORKFLOWS).map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from("workflows"));
    match app_root {
        Some(root) if folder.is_relative() => root.join(folder),
        _ => folder,
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
                "is not set; the Functions host that runs this custom handler sets it",
                "Run `lastlight local` to run everything on this machine, or `func start` in the app's folder.",
            );
            0
        }
    };
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Service Bus is used if `ENABLE_SERVICE_BUS` says so; if that is not set, it is used if a
/// connection is configured.
fn service_bus(env: &mut Env) -> Option<ServiceBusSettings> {
    let said = env.said_flag(&setting::ENABLE_SERVICE_BUS);
    if said == Some(false) {
        return None;
    }
    let settings = ServiceBusSettings::from_env(env);
    if settings.is_none() && said.is_some() {
        env.problem(
            setting::SERVICE_BUS_CONNECTION_STRING.name,
            "is not set, but ENABLE_SERVICE_BUS is true",
            "Set it to Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…, or \
             set SERVICE_BUS_NAMESPACE for sign-in by identity, or set ENABLE_SERVICE_BUS=false.",
        );
    }
    settings
}
