//! Commands that ask a running app over its HTTP API: arguments in, words out. What to ask is the
//! client's, what to do is the app's; here is only how it reads.

mod compare;
mod control;
mod jobs;
mod poison;
mod submit;
mod tasks;
mod watch;

use std::process::ExitCode;

use crate::client::{AppAddress, Client, ClientError, JobFilter, Pause, Progress, Status};
use clap::{Args, Subcommand};
use lastlight::{config::Secret, model::JobStatus};
use serde_json::{Value, json};

use crate::exit::STOPPED;
use crate::{
    format::lasting,
    say,
    style::{Look, Paint},
    tell,
};

/// What every command of this kind takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "The app")]
pub(crate) struct AppArguments {
    /// Its address: https://<app>.azurewebsites.net, or that of `lastlight local`.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LASTLIGHT_URL",
        default_value = "http://127.0.0.1:7071"
    )]
    url: String,
    /// A function key; `poison` takes the master key. `lastlight local` asks for none.
    #[arg(long, global = true, value_name = "KEY", env = "LASTLIGHT_KEY", hide_env_values = true, value_parser = secret)]
    key: Option<Secret>,
    /// Print JSON: one document, as the app gave it.
    #[arg(long, global = true)]
    json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Submit a job; the same submission again finds the first job.
    Submit(submit::SubmitArguments),
    /// Follow a job to its end: a bar a stage, or plain lines where no terminal is. Ctrl-C leaves
    /// the job running.
    Watch(watch::WatchArguments),
    /// Where a job stands, stage by stage.
    Status(jobs::StatusArguments),
    /// Jobs, newest first.
    List(jobs::ListArguments),
    /// Tasks of a job: those that failed first, then those that are retrying, with the reason; then
    /// the others, stage by stage.
    Tasks(tasks::TasksArguments),
    /// End a job: what waits is skipped, what runs is stopped.
    Cancel(control::ControlArguments),
    /// Let a job that failed or was cancelled go on: what did not succeed runs again.
    Retry(control::ControlArguments),
    /// Have a job stand still at the end of its stage.
    Pause(control::ControlArguments),
    /// Let a paused job go on.
    Resume(control::ControlArguments),
    /// A job's books: does everything that was planned have its place?
    Audit(control::ControlArguments),
    /// Messages that were delivered too often: list them, have them dealt with, send one again,
    /// throw one away.
    Poison(poison::PoisonArguments),
    /// The job types and their parameters.
    Types(jobs::TypesArguments),
    /// Run the same work over both paths, one after the other, and compare them.
    Compare(compare::CompareArguments),
}

/// How a command that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    /// A person stopped it.
    Stopped,
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An argument that only now turned out to be wrong.
    #[error("{0}")]
    Argument(String),
    /// The job that was meant cannot be told.
    #[error("{0}")]
    NoSuchJob(String),
}

/// Where the app is and how to write: what every command works with.
#[derive(Debug)]
struct Session {
    client: Client,
    is_json: bool,
    paint: Paint,
}

impl AppArguments {
    fn session(&self) -> Result<Session, CommandError> {
        // Not checked by clap, which repeats what it refuses: a key may stand in it.
        let address: AppAddress = self.url.parse().map_err(|problem| {
            CommandError::Argument(format!("--url (LASTLIGHT_URL): {problem}"))
        })?;
        let client = Client::new(address, self.key.as_ref())?.with_pauses_told(tell_pause);
        Ok(Session { client, is_json: self.json, paint: Paint::for_stdout() })
    }
}

/// A key, which is shown nowhere.
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

/// Carries a command out.
pub(crate) async fn run(command: AppCommand) -> ExitCode {
    use AppCommand as C;
    let (is_json, result) = match &command {
        C::Submit(arguments) => (arguments.app.json, submit::submit(arguments).await),
        C::Watch(arguments) => (arguments.app.json, watch::watch(arguments).await),
        C::Status(arguments) => (arguments.app.json, jobs::status(arguments).await),
        C::List(arguments) => (arguments.app.json, jobs::list(arguments).await),
        C::Tasks(arguments) => (arguments.app.json, tasks::tasks(arguments).await),
        C::Cancel(arguments) => (arguments.app.json, control::change("cancel", arguments).await),
        C::Retry(arguments) => (arguments.app.json, control::change("retry", arguments).await),
        C::Pause(arguments) => (arguments.app.json, control::change("pause", arguments).await),
        C::Resume(arguments) => (arguments.app.json, control::change("resume", arguments).await),
        C::Audit(arguments) => (arguments.app.json, control::audit(arguments).await),
        C::Poison(arguments) => (arguments.app.json, poison::poison(arguments).await),
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

/// Says why a command could not be carried out, and what to do; the exit code says whose fault it
/// is.
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

/// Problems that the app lists beside its message, if the message does not say them already.
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
    /// Prints a document in `--json`'s way; says whether it did.
    fn printed(&self, document: &Value) -> bool {
        if self.is_json {
            say!("{document}");
        }
        self.is_json
    }

    /// The id of the job that `text` means: the whole id, or its beginning, of a job of the last
    /// week.
    async fn job_id(&self, text: &str) -> Result<String, CommandError> {
        let text = text.trim().to_ascii_lowercase();
        if !(4..=64).contains(&text.len()) || !text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(CommandError::Argument(format!(
                "{:?} is not a job id: 64 of 0-9 and a-f, or the first 4 or more of them",
                text.chars().take(80).collect::<String>()
            )));
        }
        if text.len() == 64 {
            return Ok(text);
        }
        let filter = JobFilter { hours: Some(168), ..JobFilter::default() };
        let mut found: Vec<String> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES_SEARCHED {
            let page = self.client.jobs(&filter, 100, cursor.as_deref()).await?.body;
            found.extend(
                page.jobs.into_iter().map(|job| job.job_id).filter(|id| id.starts_with(&text)),
            );
            cursor = page.query_info.next_cursor;
            if cursor.is_none() || found.len() > 1 {
                break;
            }
        }
        match found.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(CommandError::NoSuchJob(format!(
                "no job of the last 7 days begins with {text}; `lastlight list` shows them, and the whole id finds older ones"
            ))),
            [first, second, ..] => Err(CommandError::NoSuchJob(format!(
                "more than one job begins with {text}: {} and {}; give more of it",
                short(first),
                short(second)
            ))),
        }
    }
}

/// Pages of a hundred jobs in which the beginning of an id is looked for.
const MOST_PAGES_SEARCHED: usize = 20;

/// As much of an id as tables show; every command takes it.
fn short(job_id: &str) -> &str {
    job_id.get(..12).unwrap_or(job_id)
}

/// What is to be said of a stage whose plan is not whole. A stage has a row from the moment that
/// the one before it ended, also while nobody may begin it.
fn planning(stage: &Progress, status: &Status) -> Option<&'static str> {
    let is_begun = stage.total > 0 || status.status == JobStatus::Processing;
    match (stage.planned, status.status.is_terminal(), is_begun) {
        (true, ..) => None,
        (false, true, true) => Some("was not planned to its end"),
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
