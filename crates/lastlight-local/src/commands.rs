//! The commands `lastlight local` and `lastlight demo`, and the list of all commands for
//! development machines.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use crate::{
    CloudError, CloudOptions, DemoError, DemoJob, DemoOptions, DemoReport, LocalCloud, PathReport,
    host::{HandlerCommand, LogSink},
    new::{NewArguments, NewJobArguments, new_app, new_job},
    remove_data,
    worker::LocalWorker,
    workflow::WorkflowCommand,
};
use clap::{Args, Subcommand};
use lastlight_engine::{App, server::asked_to_stop};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use lastlight_cli::exit::{failed, stopped, unreachable};
use lastlight_cli::{output, parameter, say, tell};

/// The commands of the local cloud.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Run everything on this machine: database, queues, Functions host and handler.
    Local(LocalArguments),
    /// Run a job over both paths on a temporary local cloud, and compare them.
    Demo(DemoArguments),
    /// Check, draw and run workflow files.
    #[command(subcommand)]
    Workflow(WorkflowCommand),
    /// Write a new app: a package with one job, its test, and the files of a function app.
    New(NewArguments),
    /// Write a new job of an app, with its test, and add it to the app.
    NewJob(NewJobArguments),
}

impl lastlight_cli::Commands for Commands {
    async fn run(self, app: &App) -> ExitCode {
        match self {
            Self::Local(arguments) => local(arguments, app).await,
            Self::Demo(arguments) => demo(arguments, app).await,
            Self::Workflow(command) => command.run(app).await,
            Self::New(arguments) => new_app(&arguments),
            Self::NewJob(arguments) => new_job(&arguments),
        }
    }
}

/// The arguments that both commands share.
#[derive(Debug, Args)]
pub struct CloudArguments {
    /// The folder with host.json and the function folders.
    #[arg(long, default_value = ".")]
    app_root: PathBuf,
    /// Use this PostgreSQL server instead of one of its own.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `lastlight local`.
#[derive(Debug, Args)]
pub struct LocalArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// The port of the Functions host.
    #[arg(long, default_value_t = 7071)]
    port: u16,
    /// The port of the Storage Queue endpoint; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    storage_port: u16,
    /// The port of the Service Bus endpoint; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    service_bus_port: u16,
    /// Data folder; the data survives a restart.
    #[arg(long, default_value = ".lastlight")]
    data: PathBuf,
    /// Empty the data folder first.
    #[arg(long)]
    fresh: bool,
    /// Additional app setting; overrides those of the local cloud. Can be repeated.
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,
    /// Start a worker beside the local cloud with this command, and again when it ends. Can be
    /// repeated.
    #[arg(long = "worker", value_name = "COMMAND", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    workers: Vec<String>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as LASTLIGHT_LEASE_SECONDS=5".to_owned()),
    }
}

/// `lastlight demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    #[command(flatten)]
    cloud: CloudArguments,
    /// Job type; the app's first one if omitted.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job_type: Option<String>,
    /// Parameter n of the job: the amount of work. Defaults to 1000 for hello_world.
    #[arg(long)]
    n: Option<u64>,
    /// Another parameter; see `lastlight submit --help`. A required one that is omitted has the
    /// first example in its JSON Schema, or else the smallest value that is allowed.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// Seconds after which a job that is not completed counts as failed.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

impl DemoArguments {
    /// The job to run.
    ///
    /// # Errors
    /// There is no such job type, or a parameter is not valid.
    fn job(&self, app: &App) -> Result<DemoJob, String> {
        let catalog = app.catalog();
        let name = self.job_type.as_deref();
        let is_hello_world =
            name.or(catalog.names().first().copied()).is_some_and(|name| name == "hello_world");
        let n = self.n.or(is_hello_world.then_some(1000));
        let mut parameters: Map<String, Value> =
            n.map(|n| ("n".to_owned(), json!(n))).into_iter().collect();
        parameters.extend(self.parameters.iter().cloned());
        DemoJob::new(&catalog, name, parameters)
    }
}

impl CloudArguments {
    /// Options for a local cloud with the data folder `data`.
    ///
    /// # Errors
    /// The app folder contains no host.json, or a path cannot be resolved.
    pub fn options(&self, data: PathBuf, log: LogSink) -> Result<CloudOptions, String> {
        let (app_root, handler) = this_app(&self.app_root)?;
        let mut settings = BTreeMap::new();
        // LOG_LEVEL is the only variable of the environment that is taken over as an app setting.
        if let Ok(level) = std::env::var("LOG_LEVEL") {
            settings.insert("LOG_LEVEL".to_owned(), level);
        }
        Ok(CloudOptions {
            app_root,
            data,
            port: 0,
            storage_port: 0,
            service_bus_port: 0,
            database_url: self.database_url.clone(),
            handler,
            settings,
            log,
        })
    }
}

/// The app in the folder `app_root`: the whole path, and this program as its handler.
///
/// # Errors
/// The folder contains no host.json, or a path cannot be resolved.
pub fn this_app(app_root: &Path) -> Result<(PathBuf, HandlerCommand), String> {
    let program = std::env::current_exe()
        .map_err(|error| format!("the path of this program is unknown: {error}"))?;
    if !app_root.join("host.json").is_file() {
        return Err(format!(
            "there is no host.json in {}; run this in the app's folder, or set the folder with --app-root",
            app_root.display()
        ));
    }
    let app_root = app_root.canonicalize().map_err(|error| error.to_string())?;
    Ok((app_root, HandlerCommand::Program { program, arguments: vec!["serve".into()] }))
}

/// Runs the local cloud until Ctrl-C.
pub async fn local(arguments: LocalArguments, app: &App) -> ExitCode {
    log_to_stderr();
    if arguments.fresh
        && let Err(error) = remove_data(&arguments.data)
    {
        return failed(&format!("{} cannot be emptied: {error}", arguments.data.display()), 1);
    }
    let log = LogSink::new(|line| tell!("{line}"));
    let mut options = match arguments.cloud.options(arguments.data.clone(), log.clone()) {
        Ok(options) => options,
        Err(problem) => return failed(&problem, 2),
    };
    options.port = arguments.port;
    options.storage_port = arguments.storage_port;
    options.service_bus_port = arguments.service_bus_port;
    options.settings.extend(arguments.settings.iter().cloned());
    let cloud = tokio::select! {
        started = LocalCloud::start(options) => match started {
            Ok(cloud) => cloud,
            Err(error) => return no_cloud(&error),
        },
        () = asked_to_stop() => return ExitCode::SUCCESS,
    };
    announce(&cloud, &arguments, app);
    let workers: Vec<LocalWorker> = arguments
        .workers
        .iter()
        .map(|command| LocalWorker::start(command.clone(), &cloud.base_url(), log.clone()))
        .collect();
    let mut code = ExitCode::SUCCESS;
    tokio::select! {
        () = asked_to_stop() => tell!("stopping"),
        error = cloud.failed() => code = failed(&error, 1),
    }
    // A second signal does not wait for what the workers still do.
    let stopping: JoinSet<()> = workers.into_iter().map(LocalWorker::stop).collect();
    tokio::select! {
        _ = stopping.join_all() => {}
        () = asked_to_stop() => {}
    }
    match cloud.stop().await {
        Ok(()) => code,
        Err(error) => failed(&error, 1),
    }
}

fn announce(cloud: &LocalCloud, arguments: &LocalArguments, app: &App) {
    let base = cloud.base_url();
    let setting = |name: &str| cloud.settings().get(name).cloned().unwrap_or_default();
    if arguments.cloud.json {
        say!(
            "{}",
            json!({
                "url": base,
                "database_url": setting("DATABASE_URL"),
                "storage_connection_string": setting("AzureWebJobsStorage"),
                "service_bus_connection_string": setting("SERVICE_BUS_CONNECTION_STRING"),
                "data": arguments.data,
            })
        );
        return;
    }
    let database = match &arguments.cloud.database_url {
        Some(_) => "the server of --database-url".to_owned(),
        None => format!("PostgreSQL of its own, in {}", arguments.data.join("postgres").display()),
    };
    let submit = match DemoJob::new(&app.catalog(), None, Map::new()) {
        Ok(DemoJob { job_type, parameters, .. }) => {
            format!(
                "curl -X POST {base}/api/jobs/submit/{job_type} -d '{}'",
                Value::Object(parameters)
            )
        }
        Err(_) => format!("curl {base}/api/jobs/types"),
    };
    say!(
        "lastlight is running on this machine. Ctrl-C stops it; its data is kept in {}.

  Dashboard        {base}/api/dashboard
  Functions host   {base}
  Storage Queues   http://{}/devstoreaccount1
  Service Bus      http://{}
  Database         {database}

  {submit}
  curl {base}/api/jobs/status/<job_id>
  curl {base}/api/health
",
        arguments.data.display(),
        cloud.storage_address(),
        cloud.service_bus_address(),
    );
}

/// Runs a job over both paths and prints the comparison.
pub async fn demo(arguments: DemoArguments, app: &App) -> ExitCode {
    log_to_stderr();
    let job = match arguments.job(app) {
        Ok(job) => job,
        Err(problem) => return failed(&problem, 2),
    };
    let folder = std::env::temp_dir().join(format!("lastlight-demo-{}", uuid::Uuid::new_v4()));
    let log = LogSink::new(|line| {
        if ["WARN", "ERROR"].iter().any(|level| line.contains(level)) {
            tell!("{line}");
        }
    });
    let cloud = match arguments.cloud.options(folder.clone(), log) {
        Ok(mut cloud) => {
            // On a given server, use a new schema: otherwise the same submission would return an
            // older job.
            if cloud.database_url.is_some() {
                let schema = format!("demo_{}", uuid::Uuid::new_v4().simple());
                tell!(
                    "the tables of this run are in schema {schema}; drop it when you no longer need it"
                );
                cloud.settings.insert("APP_SCHEMA".to_owned(), schema);
            }
            cloud
        }
        Err(problem) => return failed(&problem, 2),
    };
    let options = DemoOptions {
        cloud,
        job,
        shows_progress: !arguments.cloud.json,
        timeout: Duration::from_secs(arguments.timeout),
    };
    let result = tokio::select! {
        result = crate::demo(options) => Some(result),
        () = asked_to_stop() => None,
    };
    let _ = remove_data(&folder);
    match result {
        Some(Ok(report)) if arguments.cloud.json => match serde_json::to_string_pretty(&report) {
            Ok(json) => {
                say!("{json}");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error, 1),
        },
        Some(Ok(report)) => {
            output::text(&table(&report));
            ExitCode::SUCCESS
        }
        Some(Err(DemoError::Cloud(error))) => no_cloud(&error),
        Some(Err(error)) => failed(&error, 1),
        None => stopped(&"stopped before the jobs completed"),
    }
}

fn table(report: &DemoReport) -> String {
    let mut text = format!("\n{}", report.job_type);
    for (name, value) in &report.parameters {
        text.push_str(&format!(", {name} = {value}"));
    }
    text.push_str(&format!(", database {}\n\n", report.database));
    text.push_str(&format!(
        "{:<15}{:>10}{:>10}{:>10}{:>10}{:>20}{:>20}\n",
        "path", "tasks", "messages", "seconds", "tasks/s", "p50 ms (stages)", "p95 ms (stages)"
    ));
    for PathReport { path, tasks, messages, seconds, tasks_per_second, p50_ms, p95_ms, .. } in
        &report.paths
    {
        let stages = |values: &[f64]| {
            values.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(" / ")
        };
        text.push_str(&format!(
            "{:<15}{tasks:>10}{messages:>10}{seconds:>10.2}{tasks_per_second:>10.0}{:>20}{:>20}\n",
            path.as_str(),
            stages(p50_ms),
            stages(p95_ms)
        ));
    }
    text
}

/// Logs to standard error, from `LOG_LEVEL` or warnings on.
pub fn log_to_stderr() {
    log_to_stderr_from("warn");
}

/// Logs to standard error, from `LOG_LEVEL` or otherwise from `level` on.
pub fn log_to_stderr_from(level: &str) {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new(level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Reporting such an error would write to standard error, and panic.
        .log_internal_errors(false)
        .try_init();
}

/// Prints why a local cloud did not start or stop; returns the exit code.
pub fn no_cloud(error: &CloudError) -> ExitCode {
    match error {
        CloudError::Unreachable(error) => unreachable(error),
        CloudError::Config(error) => failed(error, 2),
        error => failed(error, 1),
    }
}
