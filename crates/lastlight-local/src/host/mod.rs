//! A Functions host for one machine: reads `host.json` and every `function.json`, starts the
//! handler as a child process, and brings it HTTP requests, queue messages and timer ticks exactly
//! as the real host does.
//!
//! What the real host does is written down in the custom handler contract; each file here is one
//! trigger or one part of the process. Nothing here knows what the functions mean.

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

/// What a host runs.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The folder with `host.json` and the function folders.
    pub app_root: PathBuf,
    /// Functions that are there without a folder in `app_root`: what each one's `function.json`
    /// would say.
    pub known_functions: BTreeMap<String, String>,
    /// Where it listens on 127.0.0.1; 0 takes a free port.
    pub port: u16,
    /// The app's settings: the handler's environment, and what `%NAME%` in a function.json means.
    pub settings: BTreeMap<String, String>,
    pub handler: HandlerCommand,
    /// Where queue triggers get their messages.
    pub storage: StorageQueues,
    /// Where Service Bus triggers get theirs.
    pub service_bus: ServiceBus,
    /// Where the handler's lines go.
    pub log: LogSink,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// `host.json` or a `function.json` cannot be used.
    #[error(transparent)]
    App(#[from] AppError),
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] EndpointError),
    /// The handler did not become ready.
    #[error(transparent)]
    Handler(#[from] HandlerExit),
}

/// A host that runs. Dropping it kills the handler.
#[derive(Debug)]
pub struct RunningHost {
    endpoint: Endpoint,
    child: Child,
    stop: CancellationToken,
    triggers: TaskTracker,
    /// Ends the triggers of a host that was dropped rather than stopped.
    _on_drop: DropGuard,
}

/// Starts the host and its handler; returns when the handler is ready.
///
/// # Errors
/// The app's files cannot be used, the port cannot be had, or the handler does not answer.
pub async fn start(options: HostOptions) -> Result<RunningHost, HostError> {
    let app = Arc::new(FunctionApp::read(
        &options.app_root,
        &options.settings,
        &options.known_functions,
    )?);
    // The port first: who listens there already should be told before anything is started.
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
                // A queue's dead letters come into being with it.
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

    /// The handler's process id, if it is a child and runs.
    pub fn handler_pid(&self) -> Option<u32> {
        self.child.process().pid()
    }

    /// How often the handler's process was killed because one of its invocations took longer than
    /// `functionTimeout`.
    pub fn timeouts(&self) -> u64 {
        self.child.process().timeouts()
    }

    /// How often the handler's process was started again, for whatever reason.
    pub fn restarts(&self) -> u64 {
        self.child.process().restarts()
    }

    /// Returns when the handler has crashed too often to be started again.
    pub async fn failed(&self) -> HandlerExit {
        self.child.given_up().await
    }

    /// Stops the triggers and kills the handler, as the real host does: without asking.
    pub async fn stop(self) {
        self.endpoint.stop();
        self.stop.cancel();
        self.triggers.wait().await;
        self.child.stop().await;
    }
}
