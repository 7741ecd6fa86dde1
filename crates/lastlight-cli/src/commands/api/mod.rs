//! Commands that call the HTTP API of a running app. The client makes the requests and the app does
//! the work; these modules only parse arguments and format output.

mod bulk;
mod compare;
mod control;
mod events;
mod gate;
mod jobs;
mod labels;
mod nodes;
mod notifications;
mod poison;
mod purge;
mod schedules;
mod single_tasks;
mod submit;
mod tasks;
mod watch;
mod workers;

pub use submit::parameter;

use std::process::ExitCode;

use crate::client::{AppAddress, Client, ClientError, JobFilter, Pause};
use clap::{Args, Subcommand};
use lastlight_api::{
    JobStatus,
    jobs::{JobStatusAnswer, StageProgress},
};
use lastlight_engine::config::Secret;
use serde_json::{Value, json};

use crate::exit::STOPPED;
use crate::{
    format::lasting,
    say,
    style::{Look, Paint},
    tell,
};

/// The arguments that all these commands share.
#[derive(Debug, Args)]
#[command(next_help_heading = "The app")]
pub(crate) struct AppArguments {
    /// Address of the app: https://<app>.azurewebsites.net, or the address of `lastlight local`.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LASTLIGHT_URL",
        default_value = "http://127.0.0.1:7071"
    )]
    url: String,
    /// A function key; `poison` needs the master key. `lastlight local` needs no key.
    #[arg(long, global = true, value_name = "KEY", env = "LASTLIGHT_KEY", hide_env_values = true, value_parser = secret)]
    key: Option<Secret>,
    /// Print JSON: one document, as the app returned it.
    #[arg(long, global = true)]
    json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Submit a job; an identical submission returns the first job.
    Submit(submit::SubmitArguments),
    /// Follow a job until it finishes: one progress bar per stage, or plain lines without a
    /// terminal. Ctrl-C leaves the job running.
    Watch(watch::WatchArguments),
    /// Show the status of a job, stage by stage, or node by node. The time left of a graph is that of
    /// its longest way: a running node takes as long as its tasks need at their rate, a later one as
    /// long as those before took on average; the time in which users decide is left out. Its
    /// percentage is the share of nodes that have ended, with the share of tasks of running ones.
    Status(jobs::StatusArguments),
    /// List jobs, newest first, and find them by labels, parameters and the beginning of a word.
    #[command(visible_alias = "jobs")]
    List(Box<jobs::ListArguments>),
    /// List the tasks of a job: failed tasks first, then retrying tasks, with the reason; then the
    /// others, stage by stage.
    Tasks(tasks::TasksArguments),
    /// Show a task: its parameters, progress, result or error, and the log of its last attempt.
    Task(tasks::TaskArguments),
    /// Cancel a job: waiting tasks are skipped, running tasks are stopped.
    Cancel(control::ChangeArguments),
    /// Retry a failed or cancelled job: tasks that did not succeed run again.
    Retry(control::ChangeArguments),
    /// Run a job again that is over, from its beginning and under its id. Its tasks are deleted; its result stays
    /// in its events.
    Resubmit(control::ResubmitArguments),
    /// Pause a job at the end of its current stage.
    Pause(control::ChangeArguments),
    /// Resume a paused job.
    Resume(control::ChangeArguments),
    /// Decide at a gate of a job: approve or reject it.
    Gate(gate::GateArguments),
    /// Show the events of a job: what happened to it, and who asked for it.
    Events(events::EventsArguments),
    /// Notifications: list those that were not delivered, or send those again that were given up.
    Notifications(notifications::NotificationsArguments),
    /// Audit a job: recount its tasks and compare them with its counters.
    Audit(control::ControlArguments),
    /// Delete a job that is over, with its tasks. Needs the master key.
    Delete(purge::DeleteArguments),
    /// Delete jobs that have been over for some time, with their tasks. Needs the master key.
    Purge(purge::PurgeArguments),
    /// Run single tasks again that failed, while their stage has not ended.
    RetryTasks(single_tasks::TaskArguments),
    /// Skip single tasks for good: of a job that runs, or that failed and is to be retried without them.
    SkipTasks(single_tasks::TaskArguments),
    /// Change all jobs that a filter finds: cancel, retry, pause, resume, resubmit or delete them. Needs the master key.
    Bulk(Box<bulk::BulkArguments>),
    /// Dead-lettered messages: list them, process all, redrive one, or discard one.
    Poison(poison::PoisonArguments),
    /// List the queues of tasks for workers, and the workers with what they run. The exit code is 1 if
    /// tasks wait for a handler that no worker serves.
    Workers(workers::WorkersArguments),
    /// Schedules: jobs that are submitted at due times. List, show, make, delete, pause, resume, run now.
    Schedule(schedules::ScheduleArguments),
    /// List the job types and their parameters.
    Types(jobs::TypesArguments),
    /// Run the same work over both paths, one after the other, and compare the metrics.
    Compare(compare::CompareArguments),
}

/// The outcome of a command that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    /// Stopped by Ctrl-C.
    Stopped,
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An argument that clap accepted and that is invalid.
    #[error("{0}")]
    Argument(String),
    /// The job cannot be identified, or did not complete.
    #[error("{0}")]
    NoSuchJob(String),
}

/// The client and the output options of a command.
#[derive(Debug)]
struct Session {
    client: Client,
    is_json: bool,
    paint: Paint,
}

impl AppArguments {
    fn session(&self) -> Result<Session, CommandError> {
        // Not parsed by clap, which repeats an invalid value: it may contain a key.
        let address: AppAddress = self.url.parse().map_err(|problem| {
            CommandError::Argument(format!("--url (LASTLIGHT_URL): {problem}"))
        })?;
        let client = Client::new(address, self.key.as_ref())?.with_pauses_told(tell_pause);
        Ok(Session { client, is_json: self.json, paint: Paint::for_stdout() })
    }
}

/// Parses a key, which is never printed.
#[allow(clippy::unnecessary_wraps)]
fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

fn tell_pause(pause: &Pause<'_>) {
    tell!(
        "lastlight: {}: {}; trying again in {}",
        pause.asked,
        pause.message,
        lasting(pause.pause)
    );
}

/// Runs a command.
pub(crate) async fn run(command: AppCommand) -> ExitCode {
    use AppCommand as C;
    let (is_json, result) = match &command {
        C::Submit(arguments) => (arguments.app.json, submit::submit(arguments).await),
        C::Watch(arguments) => (arguments.app.json, watch::watch(arguments).await),
        C::Status(arguments) => (arguments.app.json, jobs::status(arguments).await),
        C::List(arguments) => (arguments.app.json, jobs::list(arguments).await),
        C::Task(arguments) => (arguments.app.json, tasks::task(arguments).await),
        C::Tasks(arguments) => (arguments.app.json, tasks::tasks(arguments).await),
        C::Delete(arguments) => (arguments.app.json, purge::delete(arguments).await),
        C::RetryTasks(arguments) => {
            (arguments.app.json, single_tasks::change("retry", arguments).await)
        }
        C::SkipTasks(arguments) => {
            (arguments.app.json, single_tasks::change("skip", arguments).await)
        }
        C::Bulk(arguments) => (arguments.app.json, bulk::bulk(arguments).await),
        C::Purge(arguments) => (arguments.app.json, purge::purge(arguments).await),
        C::Cancel(arguments) => (arguments.app.json, control::cancel(arguments).await),
        C::Retry(arguments) => (arguments.app.json, control::retry(arguments).await),
        C::Resubmit(arguments) => (arguments.app.json, control::resubmit(arguments).await),
        C::Pause(arguments) => (arguments.app.json, control::pause(arguments).await),
        C::Resume(arguments) => (arguments.app.json, control::resume(arguments).await),
        C::Gate(arguments) => (arguments.app.json, gate::gate(arguments).await),
        C::Events(arguments) => (arguments.app.json, events::events(arguments).await),
        C::Notifications(arguments) => {
            (arguments.app.json, notifications::notifications(arguments).await)
        }
        C::Audit(arguments) => (arguments.app.json, control::audit(arguments).await),
        C::Poison(arguments) => (arguments.app.json, poison::poison(arguments).await),
        C::Workers(arguments) => (arguments.app.json, workers::workers(arguments).await),
        C::Schedule(arguments) => (arguments.app.json, schedules::schedule(arguments).await),
        C::Types(arguments) => (arguments.app.json, jobs::types(arguments).await),
        C::Compare(arguments) => (arguments.app.json, compare::compare(arguments).await),
    };
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Ok(Verdict::Stopped) => ExitCode::from(STOPPED),
        Err(error) => explain(&error, is_json),
    }
}

/// Prints why a command failed and a remedy; returns the exit code for the kind of error.
fn explain(error: &CommandError, is_json: bool) -> ExitCode {
    let (code, remedy) = match error {
        CommandError::Argument(_) | CommandError::Client(ClientError::Settings(_)) => (2, None),
        CommandError::NoSuchJob(_) => (1, None),
        CommandError::Client(error) => {
            let code = match error {
                ClientError::Unreachable { .. } | ClientError::NotTheApp { .. } => 3,
                _ => 1,
            };
            (code, error.remedy())
        }
    };
    if is_json {
        let document = match error {
            CommandError::Client(ClientError::Refused { document, .. }) => document.clone(),
            error => {
                json!({ "error": kind(error), "message": error.to_string(), "remedy": remedy })
            }
        };
        say!("{document}");
    }
    tell!("lastlight: {error}");
    if let CommandError::Client(ClientError::Refused { document, .. }) = error {
        for problem in problems(document, &error.to_string()) {
            tell!("  {problem}");
        }
    }
    if let Some(remedy) = remedy {
        tell!("{}", Paint::for_stderr().text(Look::Faint, &format!("  {remedy}")));
    }
    ExitCode::from(code)
}

fn kind(error: &CommandError) -> &'static str {
    match error {
        CommandError::Argument(_) | CommandError::Client(ClientError::Settings(_)) => {
            "bad argument"
        }
        CommandError::NoSuchJob(_) => "unknown job",
        CommandError::Client(ClientError::Unreachable { .. }) => "unreachable",
        CommandError::Client(ClientError::NotTheApp { .. }) => "not the app",
        CommandError::Client(ClientError::Key { .. }) => "key wanted",
        CommandError::Client(ClientError::Refused { .. }) => "refused",
    }
}

/// Problems in the document of an answer that its message does not mention.
fn problems(document: &Value, said: &str) -> Vec<String> {
    let all = document.get("problems").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|problem| {
            let text = |name: &str| problem.get(name).and_then(Value::as_str);
            let (name, allowed) = (text("field")?, text("allowed")?);
            (!said.contains(name)).then(|| format!("{name}: {allowed}"))
        })
        .collect()
}

impl Session {
    /// With `--json`, prints the document; returns whether it did.
    fn printed(&self, document: &Value) -> bool {
        if self.is_json {
            say!("{document}");
        }
        self.is_json
    }

    /// Resolves `text` to a job id: either a whole id, or the beginning of the id of a job of the
    /// last 7 days.
    async fn job_id(&self, text: &str) -> Result<String, CommandError> {
        let text = text.trim().to_ascii_lowercase();
        if !(4..=64).contains(&text.len()) || !text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(CommandError::Argument(format!(
                "{:?} is not a job id: expected 64 characters of 0-9 and a-f, or the first 4 or more of them",
                text.chars().take(80).collect::<String>()
            )));
        }
        if text.len() == 64 {
            return Ok(text);
        }
        // An app of an older version ignores the prefix.
        let prefix = Some(text.clone());
        let filter = JobFilter { hours: Some(168), prefix, ..JobFilter::default() };
        let mut found: Vec<String> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES_SEARCHED {
            let page = self.client.jobs(&filter, 100, cursor.as_deref()).await?.body;
            found.extend(
                page.jobs
                    .into_iter()
                    .map(|job| job.job_id.to_string())
                    .filter(|id| id.starts_with(&text)),
            );
            cursor = page.query_info.next_cursor;
            if cursor.is_none() || found.len() > 1 {
                break;
            }
        }
        match found.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(CommandError::NoSuchJob(format!(
                "no job id of the last 7 days begins with {text}; `lastlight list` shows them; older jobs need the whole id"
            ))),
            [first, second, ..] => Err(CommandError::NoSuchJob(format!(
                "more than one job id begins with {text}: {} and {}; give more characters",
                short(first),
                short(second)
            ))),
        }
    }
}

/// Maximum number of pages, of 100 jobs each, to search for the beginning of an id.
const MOST_PAGES_SEARCHED: usize = 20;

/// The first 12 characters of an id, as tables show it; every command accepts it.
fn short(job_id: &str) -> &str {
    job_id.get(..12).unwrap_or(job_id)
}

/// The remark for a stage that is not completely planned. A stage has a row as soon as the previous
/// stage finishes, even while a pause keeps it from starting.
fn planning(stage: &StageProgress, status: &JobStatusAnswer) -> Option<&'static str> {
    let is_begun = stage.total > 0 || status.status == JobStatus::Processing;
    match (stage.planned, status.status.is_terminal(), is_begun) {
        (true, ..) => None,
        (false, true, true) => Some("was not planned completely"),
        (false, _, false) => Some("has not begun"),
        (false, false, true) => Some("still being planned"),
    }
}

fn look_of(status: JobStatus) -> Look {
    match status {
        JobStatus::Completed => Look::Good,
        JobStatus::Failed => Look::Bad,
        JobStatus::Cancelled => Look::Warning,
        JobStatus::Queued | JobStatus::Processing => Look::Plain,
    }
}
