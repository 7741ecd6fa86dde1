//! Starts and stops the parts of the local cloud: database, queue services and Functions host.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use uuid::Uuid;

use super::{
    broker::{
        Endpoint, EndpointError, Faults, ServiceBus, SnapshotError, StorageQueues,
        service_bus::{self, QueueOptions, ServiceBusAccess},
        storage_queue::{self, StorageAccount},
    },
    host::{self, HandlerCommand, HostError, HostOptions, LogSink, RunningHost},
    postgres::{LocalPostgres, LocalPostgresError, POSTGRES_FOLDER},
};
use lastlight_engine::{
    config::{ConfigError, DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, DatabaseSettings, Env, Settings},
    functions::functions,
    store::{Unreachable, reach},
};

/// The options of a local cloud.
#[derive(Debug, Clone)]
pub struct CloudOptions {
    /// The folder with `host.json` and the function folders.
    pub app_root: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// The host's port; 0 takes a free one.
    pub port: u16,
    /// The Storage Queue endpoint's port; 0 takes a free one.
    pub storage_port: u16,
    /// The Service Bus endpoint's port; 0 takes a free one.
    pub service_bus_port: u16,
    /// A PostgreSQL server instead of one of its own.
    pub database_url: Option<String>,
    /// The handler that the host starts.
    pub handler: HandlerCommand,
    /// Additional settings; they override those of the local cloud.
    pub settings: BTreeMap<String, String>,
    /// Receives the output lines of the handler.
    pub log: LogSink,
}

/// Why a local cloud did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used: {error}", folder.display())]
    Data { folder: PathBuf, error: io::Error },
    /// Another local cloud uses the data folder.
    #[error("another local cloud uses {}: stop it, or use another folder with --data", folder.display())]
    InUse { folder: PathBuf },
    /// The settings of the PostgreSQL server are missing or malformed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The PostgreSQL server cannot be used.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The local cloud's own PostgreSQL server did not start.
    #[error(transparent)]
    Database(#[from] LocalPostgresError),
    /// A port is not available.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The snapshot of the queues cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The Functions host did not start.
    #[error(transparent)]
    Host(#[from] HostError),
}

const SERVICE_BUS_KEY_NAME: &str = "RootManageSharedAccessKey";

/// A running local cloud.
#[derive(Debug)]
pub struct LocalCloud {
    host: RunningHost,
    app_root: PathBuf,
    handler: HandlerCommand,
    log: LogSink,
    /// Storage Queues, for tests that inspect or change them.
    pub storage: StorageQueues,
    pub service_bus: ServiceBus,
    /// Injected faults of Storage Queues.
    pub storage_faults: Faults,
    /// Injected faults of Service Bus.
    pub service_bus_faults: Faults,
    endpoints: [Endpoint; 2],
    database: Option<LocalPostgres>,
    settings: BTreeMap<String, String>,
    data: PathBuf,
    _lock: fs::File,
}

impl CloudOptions {
    /// Checks that the given PostgreSQL server can be used, because the handler would wait for it
    /// without a limit; returns its settings, or `None` for a server of its own.
    ///
    /// # Errors
    /// The server cannot be used; reported within 5 s.
    pub async fn reach_database(&self) -> Result<Option<DatabaseSettings>, CloudError> {
        let named = self.settings.get("DATABASE_URL").or(self.database_url.as_ref());
        let Some(url) = named.cloned() else {
            return Ok(None);
        };
        // As the handler reads them: it inherits the environment of this process.
        let env = Env::from_process().with(self.settings.clone()).with([("DATABASE_URL", url)]);
        let (settings, _) = Settings::load_database(env)?;
        reach(&settings).await?;
        Ok(Some(settings))
    }
}

impl LocalCloud {
    /// Starts everything; returns when the handler is ready.
    ///
    /// # Errors
    /// A part did not start; the parts that did start are stopped.
    pub async fn start(options: CloudOptions) -> Result<Self, CloudError> {
        options.reach_database().await?;
        let data = options.data;
        let data_error = |error| CloudError::Data { folder: data.clone(), error };
        fs::create_dir_all(&data).map_err(data_error)?;
        let lock = fs::File::create(data.join("lock")).map_err(data_error)?;
        if lock.try_lock().is_err() {
            return Err(CloudError::InUse { folder: data });
        }
        let storage = StorageQueues::new();
        let service_bus = ServiceBus::new();
        let (storage_faults, service_bus_faults) = (Faults::default(), Faults::default());
        let account = StorageAccount {
            name: DEVELOPMENT_ACCOUNT.to_owned(),
            key: DEVELOPMENT_KEY.to_owned(),
        };
        let key = Uuid::new_v4().simple().to_string();
        let access =
            ServiceBusAccess { key_name: SERVICE_BUS_KEY_NAME.to_owned(), key: key.clone() };
        let storage_router =
            storage_queue::router(storage.clone(), account, storage_faults.clone());
        let bus_router =
            service_bus::router(service_bus.clone(), access, service_bus_faults.clone());
        let endpoints = [
            Endpoint::start("Storage Queues", options.storage_port, storage_router).await?,
            Endpoint::start("Service Bus", options.service_bus_port, bus_router).await?,
        ];
        let database = match &options.database_url {
            Some(_) => None,
            None => Some(LocalPostgres::start(&data.join(POSTGRES_FOLDER)).await?),
        };
        let mut settings = settings(endpoints[0].address(), endpoints[1].address(), &key);
        match (&options.database_url, &database) {
            (Some(url), _) => settings.insert("DATABASE_URL".into(), url.clone()),
            (None, Some(database)) => settings.insert("DATABASE_URL".into(), database.url()),
            (None, None) => None,
        };
        // Text logs by default, because a user reads them here.
        if std::env::var_os("LOG_FORMAT").is_none() {
            settings.insert("LOG_FORMAT".into(), "text".into());
        }
        settings.extend(options.settings);
        add_blobs(&mut settings);
        create_queues(&settings, &storage, &service_bus);
        restore(&data, &storage, &service_bus)?;
        let host = host::start(HostOptions {
            app_root: options.app_root.clone(),
            known_functions: known_functions(),
            port: options.port,
            settings: settings.clone(),
            handler: options.handler.clone(),
            storage: storage.clone(),
            service_bus: service_bus.clone(),
            log: options.log.clone(),
        })
        .await?;
        Ok(Self {
            host,
            app_root: options.app_root,
            handler: options.handler,
            log: options.log,
            storage,
            service_bus,
            storage_faults,
            service_bus_faults,
            endpoints,
            database,
            settings,
            data,
            _lock: lock,
        })
    }

    /// `http://127.0.0.1:<port>` of the host.
    pub fn base_url(&self) -> String {
        self.host.base_url()
    }

    /// The process id of the handler, if it is running.
    pub fn handler_pid(&self) -> Option<u32> {
        self.host.handler_pid()
    }

    /// The host of the local cloud.
    pub fn host(&self) -> &RunningHost {
        &self.host
    }

    /// The settings of the handler, including connection strings.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Starts another host with its own handler on the same queues and the same database, as Azure
    /// does under load. `settings` override those of the local cloud. The caller must stop it
    /// before the local cloud.
    ///
    /// # Errors
    /// The host or its handler did not start.
    pub async fn another_host(
        &self,
        settings: BTreeMap<String, String>,
    ) -> Result<RunningHost, HostError> {
        let mut all = self.settings.clone();
        all.extend(settings);
        host::start(HostOptions {
            app_root: self.app_root.clone(),
            known_functions: known_functions(),
            port: 0,
            settings: all,
            handler: self.handler.clone(),
            storage: self.storage.clone(),
            service_bus: self.service_bus.clone(),
            log: self.log.clone(),
        })
        .await
    }

    /// Stops the host of the local cloud and replaces it with another one, whose port differs.
    pub async fn replace_host(&mut self, host: RunningHost) {
        std::mem::replace(&mut self.host, host).stop().await;
    }

    /// The address of the Storage Queue endpoint.
    pub fn storage_address(&self) -> SocketAddr {
        self.endpoints[0].address()
    }

    /// The address of the Service Bus endpoint.
    pub fn service_bus_address(&self) -> SocketAddr {
        self.endpoints[1].address()
    }

    /// Returns when the handler has crashed too often to be restarted.
    pub async fn failed(&self) -> HostError {
        self.host.failed().await.into()
    }

    /// Stops everything and saves the messages of the queues.
    ///
    /// # Errors
    /// The messages could not be saved; jobs continue after the next start all the same, a minute
    /// later, when `reconcile` sends them again.
    pub async fn stop(self) -> Result<(), CloudError> {
        self.host.stop().await;
        for endpoint in self.endpoints {
            endpoint.shutdown(Duration::from_secs(1)).await;
        }
        if let Some(database) = self.database {
            database.stop().await;
        }
        self.storage.snapshot(&self.data.join(STORAGE_FILE))?;
        self.service_bus.snapshot(&self.data.join(SERVICE_BUS_FILE))?;
        Ok(())
    }
}

const STORAGE_FILE: &str = "storage-queues.jsonl";
const SERVICE_BUS_FILE: &str = "service-bus.jsonl";

fn restore(
    data: &Path,
    storage: &StorageQueues,
    service_bus: &ServiceBus,
) -> Result<(), SnapshotError> {
    let (storage_file, bus_file) = (data.join(STORAGE_FILE), data.join(SERVICE_BUS_FILE));
    storage.restore(&storage_file)?;
    service_bus.restore(&bus_file)?;
    // A snapshot is valid for one start: after a kill, the next start must not restore messages
    // that were processed in the meantime.
    for file in [storage_file, bus_file] {
        let _ = fs::remove_file(file);
    }
    Ok(())
}

fn settings(storage: SocketAddr, service_bus: SocketAddr, key: &str) -> BTreeMap<String, String> {
    let bus = format!(
        "Endpoint=sb://{service_bus};SharedAccessKeyName={SERVICE_BUS_KEY_NAME};SharedAccessKey={key};\
         UseDevelopmentEmulator=true"
    );
    let storage = format!(
        "DefaultEndpointsProtocol=http;AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};\
         QueueEndpoint=http://{storage}/{DEVELOPMENT_ACCOUNT}"
    );
    [
        ("FUNCTIONS_WORKER_RUNTIME", "custom"),
        ("AZURE_FUNCTIONS_ENVIRONMENT", "Local"),
        ("AzureWebJobsStorage", &storage),
        ("JOB_PROCESSING_QUEUE", "geospatial-jobs"),
        ("TASK_PROCESSING_QUEUE", "geospatial-tasks"),
        ("POISON_QUEUE", "geospatial-poison"),
        ("ENABLE_SERVICE_BUS", "true"),
        ("SERVICE_BUS_CONNECTION_STRING", &bus),
        ("ServiceBusConnection", &bus),
        ("SERVICE_BUS_JOB_QUEUE", "sb-jobs"),
        ("SERVICE_BUS_TASK_QUEUE", "sb-tasks"),
        ("SERVICE_BUS_POISON_QUEUE", "sb-poison"),
        ("APP_SCHEMA", "app"),
        // Local messages are fast, so presume them lost sooner.
        ("LASTLIGHT_LOST_AFTER_SECONDS", "20"),
        // A developer's RUST_BACKTRACE=1 is meant for panics; without this setting, libraries would
        // also capture a backtrace for each error that they handle.
        ("RUST_LIB_BACKTRACE", "0"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// The setting that names a blob service, such as that of Azurite: the local cloud has none of its own.
const BLOB_ENDPOINT_SETTING: &str = "LASTLIGHT_LOCAL_BLOB_ENDPOINT";

/// Adds the blob service to the storage account, if a setting or the environment names one.
fn add_blobs(settings: &mut BTreeMap<String, String>) {
    let named = settings.get(BLOB_ENDPOINT_SETTING).cloned();
    let Some(endpoint) = named.or_else(|| std::env::var(BLOB_ENDPOINT_SETTING).ok()) else {
        return;
    };
    if let Some(storage) = settings.get_mut("AzureWebJobsStorage")
        && !storage.contains("BlobEndpoint=")
    {
        storage.push_str(&format!(";BlobEndpoint={endpoint}"));
    }
}

/// The functions of lastlight, so that an app needs no function folders to run on this machine.
fn known_functions() -> BTreeMap<String, String> {
    functions()
        .iter()
        .map(|function| (function.name.to_owned(), function.function_json()))
        .collect()
}

fn create_queues(
    settings: &BTreeMap<String, String>,
    storage: &StorageQueues,
    service_bus: &ServiceBus,
) {
    for name in ["JOB_PROCESSING_QUEUE", "TASK_PROCESSING_QUEUE", "POISON_QUEUE"] {
        if let Some(queue) = settings.get(name) {
            storage.create_queue(queue);
        }
    }
    for name in ["SERVICE_BUS_JOB_QUEUE", "SERVICE_BUS_TASK_QUEUE", "SERVICE_BUS_POISON_QUEUE"] {
        if let Some(queue) = settings.get(name) {
            service_bus.create_queue(queue, QueueOptions::default());
        }
    }
}
