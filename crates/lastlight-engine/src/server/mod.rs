//! The custom handler as a process: bind first, connect later, stop on request. The host stops it
//! with SIGKILL, so correctness does not depend on a graceful stop.

use std::{io, path::Path, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    archive::ArchiveStorage,
    builtin::{self, HttpCalls},
    config::{ConfigError, Settings},
    functions::{self, AppState, compare_folders},
    job::erased::Catalog,
    queries::Queries,
    store::{Database, Unreachable, reach},
    transport::{
        blob_storage::{BlobStorage, ContainerError},
        dead_letters::QueueService,
        sender::SendError,
        service_bus::create_service_bus_repository,
        storage_queue::create_queue_repository,
        webhooks::Webhooks,
    },
    workflow::{Controller, ControllerError, ReconcileReport, Senders},
    workflow_files,
};
use std::sync::Arc;

/// Why the handler did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings are missing or malformed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port cannot be bound.
    #[error("cannot listen on {address}: {error}; is another handler running on this port?")]
    Listen {
        address: std::net::SocketAddr,
        /// The reason.
        error: io::Error,
    },
    /// A client cannot be set up.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    #[error("the server ended: {0}")]
    Serve(io::Error),
}

/// Runs the handler until it is asked to stop. `catalog` has the app's job types.
///
/// # Errors
/// It could not start.
pub async fn serve(settings: Settings, catalog: Catalog) -> Result<(), ServeError> {
    // The host waits for a response on the port: bind before anything that may take time.
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| ServeError::Listen { address: settings.listen, error })?;
    let database = Database::new(&settings.database);
    database.migrate_in_background();
    let controller = controller(&settings, catalog, database.clone())?;
    controller.report_in_background();
    controller.send_deferred_in_background();
    controller.declare_schedules_in_background();
    controller.fire_schedules_in_background();
    let app = AppState {
        queries: Queries::of(&controller),
        controller,
        environment: Arc::from(settings.environment),
        allows_schema_admin: settings.allows_schema_admin,
        prices: Arc::new(settings.prices),
    };
    tracing::info!(address = %settings.listen, "lastlight is listening");
    // The local cloud needs no function folders.
    if let Some(app_root) = settings.app_root.filter(|_| !settings.exit_with_parent) {
        tokio::task::spawn_blocking(move || warn_of_folders(&app_root));
    }
    let serving =
        axum::serve(listener, functions::router(app)).with_graceful_shutdown(asked_to_stop());
    tokio::select! {
        served = serving => served.map_err(ServeError::Serve)?,
        // No client is left, and the database may have ended with the parent: stop at once.
        () = orphaned(), if settings.exit_with_parent => return Ok(()),
    }
    // Connections in use end with the process.
    let _ = tokio::time::timeout(Duration::from_secs(2), database.close()).await;
    Ok(())
}

/// The host finds functions by their folders and never calls one without a folder.
fn warn_of_folders(app_root: &Path) {
    let Ok(differences) = compare_folders(app_root) else {
        return;
    };
    if !differences.missing.is_empty() || !differences.unknown.is_empty() {
        tracing::warn!(
            %differences,
            remedy = format!("lastlight functions --write {}", app_root.display()),
            "the function folders do not match this version"
        );
    }
}

/// Runs one sweep without a host, as the timer would.
///
/// # Errors
/// A queue's client cannot be set up, or the database failed.
pub async fn reconcile_once(
    settings: Settings,
    catalog: Catalog,
) -> Result<ReconcileReport, ReconcileError> {
    reach(&settings.database).await?;
    let database = Database::new(&settings.database);
    database.migrate().await.map_err(ControllerError::from)?;
    let controller = controller(&settings, catalog, database.clone())?;
    let report = controller.reconcile().await?;
    database.close().await;
    Ok(report)
}

/// Why a sweep failed.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The database cannot be used.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A client cannot be set up.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    #[error(transparent)]
    Sweep(#[from] ControllerError),
}

/// A client of another service cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// That of a queue.
    #[error("a queue's client cannot be set up: {0}")]
    Sender(#[from] SendError),
    /// That of the archive.
    #[error("the archive's client cannot be set up: {0}")]
    Archive(#[from] ContainerError),
}

fn controller(
    settings: &Settings,
    catalog: Catalog,
    database: Database,
) -> Result<Controller, SetUpError> {
    let queue_storage: Arc<dyn QueueService> = create_queue_repository(settings.storage.clone())?;
    let service_bus = settings
        .service_bus
        .clone()
        .map(|settings| {
            create_service_bus_repository(settings).map(|sender| sender as Arc<dyn QueueService>)
        })
        .transpose()?;
    let senders = Senders::new(queue_storage, service_bus);
    let catalog = builtin::add_to(catalog, HttpCalls::new(settings.http_call.clone()));
    let blobs = Arc::new(BlobStorage::new(settings.blobs.clone()));
    let catalog = workflow_files::load(&settings.workflows, catalog, blobs);
    for wrong in catalog.wrong_files() {
        tracing::error!(file = wrong.file, problems = wrong.problems, "a workflow file is wrong");
    }
    let webhooks = Webhooks::new(settings.notifications.clone());
    let archive = settings.archive.as_ref().map(ArchiveStorage::new).transpose()?;
    Ok(Controller::archiving(catalog, database, senders, settings.timing, webhooks, archive))
}

/// Returns when the process is asked to stop: SIGTERM, or Ctrl-C.
pub async fn asked_to_stop() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Returns when the parent has ended: it holds the other end of standard input and never writes.
async fn orphaned() {
    let mut input = tokio::io::stdin();
    let mut unused = [0; 64];
    while matches!(input.read(&mut unused).await, Ok(1..)) {}
}
