//! The process of the handler. It is started with the variables of the host, restarted after a
//! crash, killed and restarted when one of its invocations takes longer than `functionTimeout`, and
//! killed when the host stops. Only crashes count towards giving up.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fmt::{self, Debug},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::TcpListener,
    process::{ChildStdin, Command},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

use super::{FunctionApp, HostOptions, process::Process};
use lastlight_engine::{
    config::{Env, Settings},
    job::erased::Catalog,
    server::serve,
};

/// How the host gets its handler.
#[derive(Debug, Clone)]
pub enum HandlerCommand {
    /// The executable that host.json names.
    FromHostJson,
    Program {
        program: PathBuf,
        arguments: Vec<OsString>,
    },
    /// Start none: a handler already listens on this port.
    Running {
        port: u16,
    },
    /// Run the handler of these job types in this process, for tests of an app.
    InThisProcess(Catalog),
}

/// Receives the output lines of the handler.
#[derive(Clone)]
pub struct LogSink(Arc<dyn Fn(&str) + Send + Sync>);

impl LogSink {
    /// Calls `take` for each line.
    pub fn new(take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Takes a line.
    pub fn line(&self, line: &str) {
        (self.0)(line);
    }
}

impl Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// The handler ended, or did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the handler {how}{}", if last_lines.is_empty() { String::new() } else { format!("; its last output:\n{last_lines}") })]
pub struct HandlerExit {
    how: String,
    /// The last lines of its output.
    last_lines: String,
    code: Option<i32>,
}

impl HandlerExit {
    /// The exit code; `None` if it was killed or did not start.
    pub fn code(&self) -> Option<i32> {
        self.code
    }
}

/// Time for the handler to answer on `/` after its start.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Number of crashes within [`CRASH_WINDOW`] after which the host gives up.
const MOST_CRASHES: usize = 3;
/// The app setting for a different limit, for tests that kill the handler on purpose.
const MOST_CRASHES_SETTING: &str = "LASTLIGHT_LOCAL_MOST_CRASHES";
const CRASH_WINDOW: Duration = Duration::from_secs(30 * 60);
/// The exit code with which the handler asks for a restart.
const RESTART_CODE: i32 = 200;
const KEPT_LINES: usize = 20;

type Lines = Arc<Mutex<VecDeque<String>>>;

#[derive(Debug)]
pub(super) struct Child {
    process: Arc<Process>,
    given_up: watch::Receiver<Option<HandlerExit>>,
    supervisor: Option<JoinHandle<()>>,
}

/// A process that has answered a request.
struct Started {
    process: tokio::process::Child,
    lines: Lines,
    /// Kept open and never written to; otherwise waiting for the process would close it.
    input: Option<ChildStdin>,
}

struct Spec {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    root: PathBuf,
    log: LogSink,
    most_crashes: usize,
}

impl Child {
    pub(super) async fn start(
        app: &FunctionApp,
        options: &HostOptions,
    ) -> Result<Self, HandlerExit> {
        let current = Arc::new(Process::default());
        let (give_up, given_up) = watch::channel(None);
        let (program, arguments) = match &options.handler {
            HandlerCommand::Running { port: running } => {
                current.starts(0);
                current.listens(*running);
                // The sender of the channel is dropped here: the host never gives up on a process
                // that it did not start.
                return Ok(Self { process: current, given_up, supervisor: None });
            }
            HandlerCommand::InThisProcess(catalog) => {
                let (port, serving) = serve_here(catalog, options).await?;
                current.starts(0);
                current.listens(port);
                return Ok(Self { process: current, given_up, supervisor: Some(serving) });
            }
            HandlerCommand::FromHostJson => {
                (app.root.join(&app.executable), app.arguments.iter().map(OsString::from).collect())
            }
            HandlerCommand::Program { program, arguments } => (program.clone(), arguments.clone()),
        };
        let spec = Spec {
            program,
            arguments,
            environment: options.settings.clone().into_iter().collect(),
            root: app.root.clone(),
            log: options.log.clone(),
            most_crashes: options
                .settings
                .get(MOST_CRASHES_SETTING)
                .and_then(|text| text.parse().ok())
                .unwrap_or(MOST_CRASHES),
        };
        let started = spec.start_ready(&current).await?;
        let supervisor = tokio::spawn(supervise(spec, started, Arc::clone(&current), give_up));
        Ok(Self { process: current, given_up, supervisor: Some(supervisor) })
    }

    /// The current process; it changes with each restart.
    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    pub(super) async fn given_up(&self) -> HandlerExit {
        let mut given_up = self.given_up.clone();
        match given_up.wait_for(Option::is_some).await {
            Ok(exit) => match &*exit {
                Some(exit) => exit.clone(),
                None => std::future::pending().await,
            },
            Err(_) => std::future::pending().await,
        }
    }

    pub(super) async fn stop(mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            // The process is killed when the supervisor drops it.
            supervisor.abort();
            let _ = supervisor.await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.abort();
        }
    }
}

async fn supervise(
    spec: Spec,
    mut running: Started,
    current: Arc<Process>,
    give_up: watch::Sender<Option<HandlerExit>>,
) {
    let mut crashes: VecDeque<Instant> = VecDeque::new();
    loop {
        let status = tokio::select! {
            status = running.process.wait() => status,
            () = current.condemned() => {
                // Kill it with everything that runs in it, without a warning, as the real host
                // does.
                let _ = running.process.start_kill();
                running.process.wait().await
            }
        };
        let code = status.ok().and_then(|status| status.code());
        let mut timed_out = current.ended();
        let mut exit = HandlerExit {
            how: code.map_or("was killed".to_owned(), |code| format!("ended with code {code}")),
            last_lines: joined(&running.lines),
            code,
        };
        drop(running.input.take());
        loop {
            let timed_out = timed_out.take();
            if timed_out.is_none() && exit.code != Some(RESTART_CODE) {
                crashes.push_back(Instant::now());
                while crashes.front().is_some_and(|crash| crash.elapsed() > CRASH_WINDOW) {
                    crashes.pop_front();
                }
            }
            let why = timed_out.map(|why| format!(", because {why}")).unwrap_or_default();
            (spec.log.0)(&format!("the handler {}{why}; it is restarted", exit.how));
            if crashes.len() >= spec.most_crashes {
                exit.how = format!("{}, {} times within half an hour", exit.how, crashes.len());
                give_up.send_replace(Some(exit));
                return;
            }
            match spec.start_ready(&current).await {
                Ok(started) => {
                    running = started;
                    break;
                }
                Err(failed) => exit = failed,
            }
        }
    }
}

impl Spec {
    /// Starts a process and waits until it answers on `/`.
    async fn start_ready(&self, current: &Process) -> Result<Started, HandlerExit> {
        let failed = |how: String| HandlerExit { how, last_lines: String::new(), code: None };
        let free = free_port()
            .await
            .map_err(|error| failed(format!("has no free port to listen on: {error}")))?;
        let mut process = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.root)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", free.to_string())
            .env("FUNCTIONS_HTTPWORKER_PORT", free.to_string())
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", uuid::Uuid::new_v4().to_string())
            .env("FUNCTIONS_APP_ROOT_PATH", &self.root)
            // This process holds the other end of its input: when this process ends for any reason,
            // the handler reads the end of its input and exits as well.
            .env("LASTLIGHT_EXIT_WITH_PARENT", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal goes to the local cloud only, which then stops the handler.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                failed(format!("{} cannot be started: {error}", self.program.display()))
            })?;
        let input = process.stdin.take();
        let lines = Lines::default();
        if let Some(output) = process.stdout.take() {
            tokio::spawn(take_lines(output, self.log.clone(), Arc::clone(&lines)));
        }
        if let Some(output) = process.stderr.take() {
            tokio::spawn(take_lines(output, self.log.clone(), Arc::clone(&lines)));
        }
        current.starts(process.id().unwrap_or(0));
        let client = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
        let began = Instant::now();
        loop {
            if let Ok(Some(status)) = process.try_wait() {
                current.ended();
                // Its last lines may still be in the pipe.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let how = status
                    .code()
                    .map_or("was killed".to_owned(), |code| format!("ended with code {code}"));
                return Err(HandlerExit { how, last_lines: joined(&lines), code: status.code() });
            }
            let request =
                client.get(format!("http://127.0.0.1:{free}/")).timeout(Duration::from_secs(5));
            if request.send().await.is_ok() {
                current.listens(free);
                return Ok(Started { process, lines, input });
            }
            if began.elapsed() > READY_WITHIN {
                let how =
                    format!("did not answer on port {free} within {} s", READY_WITHIN.as_secs());
                return Err(HandlerExit { how, last_lines: joined(&lines), code: None });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

/// Runs the handler in this process; returns its port once it answers.
async fn serve_here(
    catalog: &Catalog,
    options: &HostOptions,
) -> Result<(u16, JoinHandle<()>), HandlerExit> {
    let failed = |how: String| HandlerExit { how, last_lines: String::new(), code: None };
    let port = free_port()
        .await
        .map_err(|error| failed(format!("has no free port to listen on: {error}")))?;
    let env = Env::from_pairs(options.settings.clone())
        .with([("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())]);
    let settings = Settings::load(env).map_err(|error| failed(format!("cannot start: {error}")))?;
    let serving = serve(settings, catalog.clone());
    let mut serving = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the handler in this process ended");
        }
    });
    let client = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
    let ready = async {
        while client.get(format!("http://127.0.0.1:{port}/")).send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::select! {
        () = ready => Ok((port, serving)),
        _ = &mut serving => Err(failed("ended at its start".to_owned())),
    }
}

async fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?.port())
}

async fn take_lines(output: impl AsyncRead + Unpin, log: LogSink, kept: Lines) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        (log.0)(&line);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

fn joined(lines: &Lines) -> String {
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}
