//! `lastlight schedule`: jobs that are submitted at due times.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lastlight_api::schedules::{
    CatchUp, Overlap, RunDecision, Schedule, ScheduleDetails, ScheduleRequest, ScheduleRun,
};
use lastlight_api::{Timestamp, timestamp};
use lastlight_engine::model::clock;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    AppArguments, CommandError, Session, Verdict, look_of, short,
    submit::{object_of, parameter},
};
use crate::{
    format::{Align, Table, ago, one_line, plain},
    output, say,
    style::Look,
    tell,
};

/// `lastlight schedule`.
#[derive(Debug, Args)]
pub(crate) struct ScheduleArguments {
    #[command(subcommand)]
    command: ScheduleCommand,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// List the schedules with their next due times and what became of the last ones.
    List,
    /// Show a schedule, its next due times and its history.
    Show(Named),
    /// Make a schedule, or replace the one of this name.
    Set(Box<SetArguments>),
    /// Delete a schedule with its history. Its jobs stay.
    Delete(Named),
    /// Pause a schedule: nothing is submitted, and due times that pass are not made up for.
    Pause(Named),
    /// Resume a paused schedule at its next due time.
    Resume(Named),
    /// Submit the job of a schedule now.
    Run(Named),
}

/// A schedule.
#[derive(Debug, Args)]
struct Named {
    /// The name of the schedule.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
}

/// `lastlight schedule set`.
#[derive(Debug, Args)]
struct SetArguments {
    /// The name of the schedule.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    /// Job type, or the name of a workflow; `lastlight types` lists them.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job_type: String,
    /// The due times: five fields (minute, hour, day of month, month, day of week), or @hourly, @daily, @weekly, @monthly,
    /// @yearly. Quote it: --cron '30 2 * * *'.
    #[arg(long, value_name = "CRON")]
    cron: String,
    /// The time zone of the due times, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
    /// Submit up to this number of seconds later.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    jitter_seconds: u32,
    /// At a due time while the job of an earlier run is not over: skip it, let it wait, or submit all the same.
    #[arg(long, value_enum, default_value_t = OverlapChoice::Skip)]
    overlap: OverlapChoice,
    /// Of due times that passed while no process ran: make up for none, the last, or all up to the limit.
    #[arg(long, value_enum, default_value_t = CatchUpChoice::Last)]
    catch_up: CatchUpChoice,
    /// Maximum number of due times that are made up for, and that wait.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    catch_up_limit: u16,
    /// One parameter of the job. A value that is valid JSON is read as JSON, any other as text, in which {{ due_at }},
    /// {{ due_date }} and other placeholders stand for the due time. Overrides --params and --file.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// Parameters as a JSON object.
    #[arg(long = "params", value_name = "JSON", conflicts_with = "file")]
    object: Option<String>,
    /// File with the parameters as a JSON object; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What happens while an earlier run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OverlapChoice {
    Skip,
    Queue,
    Allow,
}

/// What happens to due times that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CatchUpChoice {
    None,
    Last,
    All,
}

impl SetArguments {
    fn request(&self) -> Result<ScheduleRequest, CommandError> {
        let mut parameters = object_of(self.object.as_deref(), self.file.as_deref())?;
        parameters.extend(self.parameters.iter().cloned());
        Ok(ScheduleRequest {
            name: self.name.clone(),
            job_type: self.job_type.clone(),
            parameters,
            cron: self.cron.clone(),
            time_zone: Some(self.time_zone.clone()),
            jitter_seconds: Some(self.jitter_seconds),
            overlap: Some(match self.overlap {
                OverlapChoice::Skip => Overlap::Skip,
                OverlapChoice::Queue => Overlap::Queue,
                OverlapChoice::Allow => Overlap::Allow,
            }),
            catch_up: Some(match self.catch_up {
                CatchUpChoice::None => CatchUp::None,
                CatchUpChoice::Last => CatchUp::Last,
                CatchUpChoice::All => CatchUp::All,
            }),
            catch_up_limit: Some(self.catch_up_limit),
        })
    }
}

/// Carries out the command.
pub(super) async fn schedule(arguments: &ScheduleArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let client = &session.client;
    match &arguments.command {
        ScheduleCommand::List => {
            let answer = client.schedules().await?;
            if !session.printed(&answer.document) {
                output::text(&list(&session, &answer.body.schedules));
            }
        }
        ScheduleCommand::Show(named) => {
            let answer = client.schedule(&named.name).await?;
            if !session.printed(&answer.document) {
                output::text(&details(&session, &answer.body));
            }
        }
        ScheduleCommand::Set(arguments) => {
            let answer = client.set_schedule(&arguments.request()?).await?;
            if !session.printed(&answer.document) {
                say!("{}", answer.body.message);
                for warning in &answer.body.warnings {
                    tell!("warning: {warning}");
                }
            }
        }
        ScheduleCommand::Delete(named) => {
            let answer = client.delete_schedule(&named.name).await?;
            if !session.printed(&answer.document) {
                say!("{}", answer.body.message);
            }
        }
        ScheduleCommand::Pause(named) => pause(&session, &named.name, true).await?,
        ScheduleCommand::Resume(named) => pause(&session, &named.name, false).await?,
        ScheduleCommand::Run(named) => {
            let answer = client.run_schedule(&named.name).await?;
            if !session.printed(&answer.document) {
                let job = answer.body.run.job_id.map(|job_id| job_id.to_string());
                let job = job.unwrap_or_default();
                say!("{}: {}", short(&job), answer.body.message);
                say!("Follow it with: lastlight watch {}", short(&job));
            }
        }
    }
    Ok(Verdict::Good)
}

async fn pause(session: &Session, name: &str, pauses: bool) -> Result<(), CommandError> {
    let answer = session.client.pause_schedule(name, pauses).await?;
    if !session.printed(&answer.document) {
        say!("{}", answer.body.message);
    }
    Ok(())
}

fn list(session: &Session, schedules: &[Schedule]) -> String {
    if schedules.is_empty() {
        return "There are no schedules. `lastlight schedule set` makes one.\n".to_owned();
    }
    let mut table = Table::new([
        ("SCHEDULE", Align::Left),
        ("JOB TYPE", Align::Left),
        ("CRON", Align::Left),
        ("ZONE", Align::Left),
        ("NEXT", Align::Left),
        ("LAST", Align::Left),
        ("JOB", Align::Left),
    ]);
    let now = clock::now();
    for schedule in schedules {
        let (last, job) = match &schedule.last_run {
            Some(run) => (decision(run), job(run)),
            None => (plain("never"), plain("")),
        };
        table.row([
            plain(&*schedule.name),
            plain(&*schedule.job_type),
            plain(&*schedule.cron),
            plain(&*schedule.time_zone),
            next(schedule, now),
            last,
            job,
        ]);
    }
    table.text(session.paint)
}

fn details(session: &Session, details: &ScheduleDetails) -> String {
    let schedule = &details.schedule;
    let now = clock::now();
    let mut text = format!(
        "{}: {} at {} ({}), overlap {}, catch-up {} up to {}, jitter {} s\n",
        schedule.name,
        schedule.job_type,
        schedule.cron,
        schedule.time_zone,
        schedule.overlap,
        schedule.catch_up,
        schedule.catch_up_limit,
        schedule.jitter_seconds
    );
    if let Some(workflow) = &schedule.declared_by {
        text.push_str(&format!("Declared in the file of workflow {workflow}.\n"));
    }
    let parameters = Value::Object(schedule.parameters.clone());
    text.push_str(&format!("Parameters: {parameters}\n"));
    if let Some(paused) = schedule.paused_at {
        let said = format!("Paused {}.", ago(paused.0, now));
        text.push_str(&format!("{}\n", session.paint.text(Look::Warning, &said)));
    }
    let due: Vec<String> = details.next_due_times.iter().map(moment).collect();
    text.push_str(&format!("Next due times: {}\n", due.join(", ")));
    if details.runs.is_empty() {
        return text;
    }
    let mut table = Table::new([
        ("DUE", Align::Left),
        ("", Align::Left),
        ("DECISION", Align::Left),
        ("JOB", Align::Left),
        ("REASON", Align::Left),
    ]);
    for run in &details.runs {
        table.row([
            plain(moment(&run.due_at)),
            plain(if run.is_manual { "run now" } else { "" }),
            decision(run),
            job(run),
            plain(one_line(run.reason.as_deref().unwrap_or_default(), 100)),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text(session.paint));
    text
}

/// When a schedule is due next.
fn next(schedule: &Schedule, now: OffsetDateTime) -> (String, Look) {
    match (schedule.paused_at, schedule.next_due_at) {
        (Some(_), _) => ("paused".to_owned(), Look::Warning),
        (None, None) => ("never".to_owned(), Look::Bad),
        (None, Some(next)) => plain(format!("{} ({})", moment(&next), ago(next.0, now))),
    }
}

fn decision(run: &ScheduleRun) -> (String, Look) {
    let look = match run.decision {
        RunDecision::Submitted => Look::Good,
        RunDecision::Exists | RunDecision::Waiting => Look::Plain,
        RunDecision::Skipped | RunDecision::Missed => Look::Warning,
        RunDecision::Failed => Look::Bad,
    };
    match run.due_times {
        1 => (run.decision.to_string(), look),
        times => (format!("{} x{times}", run.decision), look),
    }
}

/// A job with its state.
fn job(run: &ScheduleRun) -> (String, Look) {
    let Some(job_id) = run.job_id.map(|job_id| job_id.to_string()) else { return plain("") };
    match run.job_status {
        Some(status) => (format!("{} {status}", short(&job_id)), look_of(status)),
        None => (format!("{} deleted", short(&job_id)), Look::Faint),
    }
}

/// A time in UTC to the minute, or to the second if it has seconds: `2026-12-01 02:00Z`.
fn moment(time: &Timestamp) -> String {
    let text = timestamp::write_naive(time.0).replace('T', " ");
    let end = if time.0.second() == 0 { 16 } else { 19 };
    format!("{}Z", text.get(..end).unwrap_or(&text))
}
