//! `lastlight bulk`: one action on all jobs that a filter finds.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use lastlight_api::{
    ProcessingPath,
    bulk::{BulkAction, BulkAnswer, BulkJob, BulkOperation, BulkRequest, BulkState},
    jobs::ListedAs,
};
use lastlight_engine::model::clock;
use serde_json::Value;

use super::{
    AppArguments, CommandError, Session, Verdict, control::AskedArguments, labels, look_of, short,
};
use crate::{
    format::{Align, Table, ago, one_line, plain},
    output, say,
    style::Look,
    tell,
};

/// Time between two looks at the progress.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `lastlight bulk`.
#[derive(Debug, Args)]
pub(crate) struct BulkArguments {
    #[command(subcommand)]
    command: BulkCommand,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum BulkCommand {
    /// Cancel jobs that are not over.
    Cancel(BeginArguments),
    /// Continue jobs that failed or were cancelled: tasks that did not succeed run again.
    Retry(BeginArguments),
    /// Pause jobs at the end of their stages.
    Pause(BeginArguments),
    /// Resume paused jobs.
    Resume(BeginArguments),
    /// Run jobs again that are over.
    Resubmit(BeginArguments),
    /// Delete jobs that are over, with their tasks.
    Delete(BeginArguments),
    /// List the bulk operations of the last 30 days.
    List,
    /// Show a bulk operation and its progress.
    Show(Named),
    /// Stop a bulk operation. The jobs that it changed stay changed.
    Stop(StopArguments),
}

/// A bulk operation.
#[derive(Debug, Args)]
struct Named {
    /// Id of the operation, or its first 4 or more characters.
    operation_id: String,
}

/// `lastlight bulk stop`.
#[derive(Debug, Args)]
struct StopArguments {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    asked: AskedArguments,
}

/// Which jobs, and how.
#[derive(Debug, Args)]
struct BeginArguments {
    /// Only jobs with this status.
    #[arg(long, value_parser = PossibleValuesParser::new(ListedAs::ALL.map(ListedAs::as_str)))]
    status: Option<String>,
    /// Only jobs of this type.
    #[arg(long = "type", value_name = "JOB_TYPE")]
    job_type: Option<String>,
    /// Only jobs on this path.
    #[arg(long, value_parser = PossibleValuesParser::new(ProcessingPath::ALL.iter().map(|path| path.as_str())))]
    path: Option<String>,
    /// Only jobs with this label; may be given several times.
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = labels::label)]
    labels: Vec<(String, String)>,
    /// Only jobs with this parameter, as `lastlight status` shows it; may be given several times.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = labels::parameter)]
    parameters: Vec<(String, String)>,
    /// Only jobs whose id, type or value of a label begins with this.
    #[arg(long, short = 'q', value_name = "PREFIX")]
    query: Option<String>,
    /// Only jobs that were submitted at this time or later: 2026-11-25 or 2026-11-25T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only jobs that were submitted before this time, or up to the end of this day.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// All jobs, without any filter.
    #[arg(long)]
    all: bool,
    /// Say which jobs there are, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Do not wait for the end of the operation.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    asked: AskedArguments,
}

impl BeginArguments {
    fn request(&self, action: BulkAction, confirm: bool) -> BulkRequest {
        let fixed = [
            ("status", &self.status),
            ("job_type", &self.job_type),
            ("processing_path", &self.path),
            ("q", &self.query),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let mut filter: BTreeMap<String, String> = fixed
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect();
        let named = |kind: &'static str, pairs: &[(String, String)]| {
            let pairs = pairs.to_vec();
            pairs.into_iter().map(move |(name, value)| (format!("{kind}.{name}"), value))
        };
        filter.extend(named("label", &self.labels));
        filter.extend(named("param", &self.parameters));
        BulkRequest { action, filter, all: self.all, confirm }
    }
}

/// Carries out the command.
pub(super) async fn bulk(arguments: &BulkArguments) -> Result<Verdict, CommandError> {
    use BulkCommand as C;
    let session = arguments.app.session()?;
    match &arguments.command {
        C::Cancel(which) => begin(&session, BulkAction::Cancel, which).await,
        C::Retry(which) => begin(&session, BulkAction::Retry, which).await,
        C::Pause(which) => begin(&session, BulkAction::Pause, which).await,
        C::Resume(which) => begin(&session, BulkAction::Resume, which).await,
        C::Resubmit(which) => begin(&session, BulkAction::Resubmit, which).await,
        C::Delete(which) => begin(&session, BulkAction::Delete, which).await,
        C::List => {
            let answer = session.client.bulk_operations().await?;
            if !session.printed(&answer.document) {
                output::text(&list(&session, &answer.body.operations));
            }
            Ok(Verdict::Good)
        }
        C::Show(named) => {
            let id = whole_id(&session, &named.operation_id).await?;
            let answer = session.client.bulk_operation(&id).await?;
            if !session.printed(&answer.document) {
                output::text(&details(&session, &answer.body));
            }
            Ok(Verdict::Good)
        }
        C::Stop(stop) => {
            let id = whole_id(&session, &stop.named.operation_id).await?;
            let answer = session.client.stop_bulk(&id, stop.asked.asked()).await?;
            if !session.printed(&answer.document) {
                say!("{}: stopped after {}", short(&id), progress(&answer.body));
            }
            Ok(Verdict::Good)
        }
    }
}

async fn begin(
    session: &Session,
    action: BulkAction,
    which: &BeginArguments,
) -> Result<Verdict, CommandError> {
    let asked = which.asked.asked();
    let found = session.client.bulk(&which.request(action, false), asked).await?;
    if which.dry_run || found.body.jobs == 0 {
        if !session.printed(&found.document) {
            say!("{}", found.body.message);
            output::text(&sample(session, &found.body.sample));
        }
        return Ok(Verdict::Good);
    }
    if !which.yes {
        confirmed(session, &found.body)?;
    }
    let begun = session.client.bulk(&which.request(action, true), asked).await?;
    let Some(operation) = begun.body.operation else {
        // The jobs changed meanwhile.
        if !session.printed(&begun.document) {
            say!("{}", begun.body.message);
        }
        return Ok(Verdict::Good);
    };
    let id = operation.operation_id;
    if which.no_wait {
        if !session.printed(&begun.document) {
            say!("{}", begun.body.message);
            say!("Follow it with: lastlight bulk show {}", short(&id));
        }
        return Ok(Verdict::Good);
    }
    follow(session, &id).await
}

/// Waits for the end of an operation, with its progress.
async fn follow(session: &Session, id: &str) -> Result<Verdict, CommandError> {
    let mut said = String::new();
    loop {
        let answer = session.client.bulk_operation(id).await?;
        let now = progress(&answer.body);
        if answer.body.state != BulkState::Running {
            if !session.printed(&answer.document) {
                output::text(&details(session, &answer.body));
            }
            return Ok(match answer.body.state {
                BulkState::Stopped => Verdict::Bad,
                BulkState::Running | BulkState::Finished => Verdict::Good,
            });
        }
        if now != said && !session.is_json {
            tell!("{}: {now}", short(id));
            said = now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Asks the user, after a sample of the jobs.
fn confirmed(session: &Session, found: &BulkAnswer) -> Result<(), CommandError> {
    let jobs = counted(found.jobs, found.has_more);
    let action = found.action.as_str();
    if session.is_json || !io::stdin().is_terminal() {
        return Err(CommandError::Argument(format!(
            "{jobs} to {action}, and nobody can be asked here: add --yes, or look with --dry-run"
        )));
    }
    output::text(&sample(session, &found.sample));
    eprint!("{jobs} to {action}. Type yes to do it: ");
    let _ = io::stderr().flush();
    let mut typed = String::new();
    if io::stdin().read_line(&mut typed).is_err() || typed.trim() != "yes" {
        return Err(CommandError::Argument("nothing was done".to_owned()));
    }
    Ok(())
}

/// The id of an operation whose beginning is given.
async fn whole_id(session: &Session, given: &str) -> Result<String, CommandError> {
    if given.len() >= 36 {
        return Ok(given.to_owned());
    }
    if given.len() < 4 {
        return Err(CommandError::Argument(format!(
            "an operation id needs at least 4 characters, not {given:?}"
        )));
    }
    let listed = session.client.bulk_operations().await?.body.operations;
    let mut found =
        listed.into_iter().map(|one| one.operation_id).filter(|id| id.starts_with(given));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(CommandError::Argument(format!(
            "no bulk operation of the last 30 days begins with {given:?}; lastlight bulk list shows them"
        ))),
        (Some(one), Some(other)) => Err(CommandError::Argument(format!(
            "{given:?} begins the ids of several operations: {one}, {other}"
        ))),
    }
}

fn counted(jobs: u64, has_more: bool) -> String {
    match (jobs, has_more) {
        (jobs, true) => format!("{jobs} jobs or more"),
        (1, false) => "1 job".to_owned(),
        (jobs, false) => format!("{jobs} jobs"),
    }
}

/// `12 of 40 jobs, 1 refused`.
fn progress(operation: &BulkOperation) -> String {
    let of = counted(operation.jobs, operation.has_more);
    match operation.refused {
        0 => format!("{} of {of}", operation.done),
        refused => format!("{} of {of}, {refused} refused", operation.done),
    }
}

fn filter(operation: &BulkOperation) -> String {
    let Ok(Value::Object(conditions)) = serde_json::to_value(&operation.filter) else {
        return String::new();
    };
    if conditions.is_empty() {
        return "all".to_owned();
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs: Vec<String> =
        conditions.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    pairs.join(" ")
}

fn look(state: BulkState) -> Look {
    match state {
        BulkState::Running => Look::Plain,
        BulkState::Finished => Look::Good,
        BulkState::Stopped => Look::Warning,
    }
}

fn list(session: &Session, operations: &[BulkOperation]) -> String {
    if operations.is_empty() {
        return "There are no bulk operations.\n".to_owned();
    }
    let mut table = Table::new([
        ("OPERATION", Align::Left),
        ("ACTION", Align::Left),
        ("STATE", Align::Left),
        ("PROGRESS", Align::Left),
        ("BEGAN", Align::Left),
        ("BY", Align::Left),
        ("JOBS", Align::Left),
    ]);
    let now = clock::now();
    for operation in operations {
        table.row([
            plain(short(&operation.operation_id)),
            plain(operation.action.as_str()),
            (operation.state.as_str().to_owned(), look(operation.state)),
            plain(progress(operation)),
            plain(ago(operation.created_at.0, now)),
            plain(operation.by.as_deref().unwrap_or_default()),
            plain(one_line(&filter(operation), 80)),
        ]);
    }
    table.text(session.paint)
}

fn details(session: &Session, operation: &BulkOperation) -> String {
    let state = session.paint.text(look(operation.state), operation.state.as_str());
    let mut text = format!(
        "{} {}: {state}, {}\n",
        operation.action.as_str(),
        short(&operation.operation_id),
        progress(operation)
    );
    text.push_str(&format!("Jobs: {}\n", filter(operation)));
    if let Some(reason) = &operation.reason {
        text.push_str(&format!("Reason: {reason}\n"));
    }
    if let Some(refusal) = &operation.last_refusal {
        text.push_str(&format!("The last job that was refused: {refusal}\n"));
    }
    text
}

fn sample(session: &Session, jobs: &[BulkJob]) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("JOB", Align::Left),
        ("TYPE", Align::Left),
        ("STATUS", Align::Left),
        ("SUBMITTED", Align::Left),
    ]);
    let now = clock::now();
    for job in jobs {
        table.row([
            plain(short(&job.job_id.to_string())),
            plain(job.job_type.clone()),
            (job.status.to_string(), look_of(job.status)),
            plain(ago(job.created_at.0, now)),
        ]);
    }
    table.text(session.paint)
}
