//! A Functions host for one machine: it reads `host.json` and every `function.json`, starts the
//! handler as a child process, and delivers HTTP requests, queue messages and timer ticks to it
//! exactly as the real host does.
//!
//! The custom handler contract documents the real host. Each file here implements one trigger or
//! one part of the process. This module does not depend on what the functions do.

mod app;
mod callers;
mod child;
mod client;
mod http;
mod payload;
mod prefetch;
mod process;
mod queue_trigger;
mod route;
mod service_bus_trigger;
mod timer_trigger;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub use app::{AppError, Binding, Cardinality, Function, FunctionApp};
pub use child::{HandlerCommand, HandlerExit, LogSink};
pub use payload::{queue_message, service_bus_many, service_bus_one, timer};

use super::broker::{
    Endpoint, EndpointError, ServiceBus, StorageQueues,
    service_bus::{QueueOptions, is_dead_letter_queue},
};
use callers::Callers;
use child::Child;
use client::Handler;

/// The options of a host.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The folder with `host.json` and the function folders.
    pub app_root: PathBuf,
    /// Functions that need no folder in `app_root`: name and text of the `function.json`.
    pub known_functions: BTreeMap<String, String>,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The app settings: the environment of the handler, and the values of `%NAME%` in a
    /// function.json.
    pub settings: BTreeMap<String, String>,
    pub handler: HandlerCommand,
    /// Source of the messages of queue triggers.
    pub storage: StorageQueues,
    /// Source of the messages of Service Bus triggers.
    pub service_bus: ServiceBus,
    /// Receives the output lines of the handler.
    pub log: LogSink,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// `host.json` or a `function.json` is invalid.
    #[error(transparent)]
    App(#[from] AppError),
    /// The port is not available.
    #[error(transparent)]
    Listen(#[from] EndpointError),
    /// The handler did not become ready.
    #[error(transparent)]
    Handler(#[from] HandlerExit),
}

/// A running host. Dropping it kills the handler.
#[derive(Debug)]
pub struct RunningHost {
    endpoint: Endpoint,
    child: Child,
    stop: CancellationToken,
    triggers: TaskTracker,
    /// Stops the triggers if the host is dropped without `stop`.
    _on_drop: DropGuard,
}

/// Starts the host and its handler; returns when the handler is ready.
///
/// # Errors
/// The files of the app are invalid, the port is not available, or the handler does not answer.
pub async fn start(options: HostOptions) -> Result<RunningHost, HostError> {
    let app = Arc::new(FunctionApp::read(
        &options.app_root,
        &options.settings,
        &options.known_functions,
    )?);
    // Bind the port first, so that a port in use is reported before anything is started.
    let (handler, router) = http::router(
        Arc::clone(&app),
        options.storage.clone(),
        options.service_bus.clone(),
        Callers::named(options.settings.get(callers::HOSTS_SETTING).map(String::as_str)),
    );
    let endpoint = Endpoint::start("Functions host", options.port, router).await?;
    let child = Child::start(&app, &options).await?;
    let handler = handler.attach(child.process());
    let stop = CancellationToken::new();
    let triggers = TaskTracker::new();
    start_triggers(&app, &options, &handler, &stop, &triggers);
    triggers.close();
    Ok(RunningHost { endpoint, child, _on_drop: stop.clone().drop_guard(), stop, triggers })
}

fn start_triggers(
    app: &Arc<FunctionApp>,
    options: &HostOptions,
    handler: &Handler,
    stop: &CancellationToken,
    triggers: &TaskTracker,
) {
    for function in &app.functions {
        let name: Arc<str> = Arc::from(function.name.as_str());
        match &function.trigger {
            Binding::Http { .. } => {}
            Binding::Queue { binding, queue } => {
                let poison = queue_trigger::poison_queue(queue);
                options.storage.create_queue(queue);
                if let Some(poison) = &poison {
                    options.storage.create_queue(poison);
                }
                let trigger = queue_trigger::QueueTrigger {
                    function: name,
                    binding: binding.clone(),
                    queue: queue.clone(),
                    poison,
                    settings: app.queues,
                    storage: options.storage.clone(),
                    handler: handler.clone(),
                };
                triggers.spawn(stop.clone().run_until_cancelled_owned(trigger.run()));
            }
            Binding::ServiceBus { binding, queue, cardinality } => {
                // A dead-letter queue is created with its queue.
                if !is_dead_letter_queue(queue) {
                    options.service_bus.create_queue(queue, QueueOptions::default());
                }
                let trigger = service_bus_trigger::ServiceBusTrigger {
                    function: name,
                    binding: binding.clone(),
                    queue: queue.clone(),
                    settings: app.service_bus,
                    bus: options.service_bus.clone(),
                    handler: handler.clone(),
                };
                triggers.spawn(stop.clone().run_until_cancelled_owned(trigger.run(*cardinality)));
            }
            Binding::Timer { binding, schedule } => {
                let timer =
                    timer_trigger::run(name, binding.clone(), schedule.clone(), handler.clone());
                triggers.spawn(stop.clone().run_until_cancelled_owned(timer));
            }
        }
    }
}

impl RunningHost {
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// `http://127.0.0.1:<port>`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The process id of the handler, if it is a running child.
    pub fn handler_pid(&self) -> Option<u32> {
        self.child.process().pid()
    }

    /// How often the process of the handler was killed because an invocation took longer than
    /// `functionTimeout`.
    pub fn timeouts(&self) -> u64 {
        self.child.process().timeouts()
    }

    /// How often the process of the handler was restarted, for any reason.
    pub fn restarts(&self) -> u64 {
        self.child.process().restarts()
    }

    /// Returns when the handler has crashed too often to be restarted.
    pub async fn failed(&self) -> HandlerExit {
        self.child.given_up().await
    }

    /// Stops the triggers and kills the handler without a warning, as the real host does.
    pub async fn stop(self) {
        self.endpoint.stop();
        self.stop.cancel();
        self.triggers.wait().await;
        self.child.stop().await;
    }
}
