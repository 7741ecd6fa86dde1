//! `lastlight status`, `list` and `types`.

use crate::client::JobFilter;
use clap::{Args, builder::PossibleValuesParser};
use lastlight_api::{
    JobStatus, ProcessingPath,
    job_types::JobTypeInfo,
    jobs::{JobStatusAnswer, JobView, ListedAs},
};
use lastlight_engine::model::clock;
use serde_json::{Value, json};

use super::{
    AppArguments, CommandError, Session, Verdict, labels, look_of,
    nodes::{self, Overview},
    planning, short,
};
use crate::{
    format::{Align, Table, ago, between, count_of_bad, lasting, one_line, plain},
    output, say,
    style::Look,
};

/// `lastlight status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// `lastlight list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only jobs with this status. `queued` includes paused jobs.
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
    /// Only jobs with this parameter, as `lastlight status` shows it: text, a number, true or false; may
    /// be given several times.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = labels::parameter)]
    parameters: Vec<(String, String)>,
    /// Only jobs whose id, type or value of a label begins with this.
    #[arg(long, short = 'q', value_name = "PREFIX")]
    query: Option<String>,
    /// Only jobs that were submitted at this time or later: 2026-11-25 or 2026-11-25T10:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "hours")]
    from: Option<String>,
    /// Only jobs that were submitted before this time, or up to the end of this day.
    #[arg(long, value_name = "TIME", conflicts_with = "hours")]
    to: Option<String>,
    /// Only jobs that were submitted in the last N hours. Without it, a list without labels, parameters,
    /// --query and times has those of the last 168 hours.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=168))]
    hours: Option<u16>,
    /// Maximum number of jobs to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// List all jobs.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// `lastlight types`.
#[derive(Debug, Args)]
pub(crate) struct TypesArguments {
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Rows per request: the most that the app returns.
pub(super) const PAGE: usize = 100;

pub(super) async fn status(arguments: &StatusArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let answer = session.client.status(&job_id).await?;
    if !session.printed(&answer.document) {
        output::text(&described(&session, &answer.body));
    }
    Ok(Verdict::Good)
}

/// The human-readable status of a job.
fn described(session: &Session, status: &JobStatusAnswer) -> String {
    let paint = session.paint;
    let now = clock::now();
    let mut text = String::new();
    let mut fact = |name: &str, value: &str| text.push_str(&format!("{name:<11}{value}\n"));
    fact("job", status.job_id.as_str());
    fact("type", &status.job_type);
    fact("path", status.processing_path.as_str());
    let mut state = paint.text(look_of(status.status), status.status.as_str());
    if !status.status.is_terminal() {
        state.push_str(&match nodes::is_graph(status) {
            true => format!(", {}", Overview::of(status).words()),
            false => format!(", stage {} of {}", status.stage, status.total_stages),
        });
    }
    if let Some(paused) = status.paused_since() {
        state.push_str(&format!(", paused {}", ago(paused.0, now)));
    } else if status.pause_requested && !status.status.is_terminal() {
        state.push_str(match nodes::is_graph(status) {
            true => ", pauses before its next node",
            false => ", pauses at the end of its stage",
        });
    }
    fact("status", &state);
    fact("submitted", &ago(status.created_at.0, now));
    if status.status.is_terminal() {
        if let Some(took) = between(status.created_at.0, status.updated_at.0) {
            fact("took", &lasting(took));
        }
    } else if let Some(deadline) = status.deadline {
        fact("deadline", &ago(deadline.0, now));
    }
    fact("parameters", &one_line(status.parameters.get(), 300));
    if !status.labels.is_empty() {
        fact("labels", &one_line(&labels::line(&status.labels), 300));
    }
    if let Some(reason) = &status.error_details {
        fact("error", &paint.text(Look::Bad, reason));
    }
    if let Some(result) = &status.result_data {
        fact("result", &one_line(result.get(), 300));
    }
    if !status.progress.is_empty() {
        text.push('\n');
        let table = if nodes::is_graph(status) { nodes::table(status) } else { stages(status) };
        text.push_str(&table.text(paint));
    }
    let decisions = nodes::decisions(status);
    if !decisions.is_empty() {
        text.push('\n');
    }
    for command in decisions {
        text.push_str(&paint.text(Look::Faint, &format!("{command}\n")));
    }
    if matches!(status.status, JobStatus::Failed | JobStatus::Cancelled) {
        let next = format!(
            "\nlastlight tasks {} lists the failed tasks; lastlight retry {0} runs them again.\n",
            short(status.job_id.as_str())
        );
        text.push_str(&paint.text(Look::Faint, &next));
    }
    text
}

fn stages(status: &JobStatusAnswer) -> Table {
    let mut table = Table::new([
        ("STAGE", Align::Right),
        ("TASKS", Align::Left),
        ("DONE", Align::Right),
        ("RUNNING", Align::Right),
        ("FAILED", Align::Right),
        ("SKIPPED", Align::Right),
        ("RATE", Align::Right),
        ("", Align::Left),
    ]);
    for stage in &status.progress {
        let rate = stage.rate_per_second.map(|rate| format!("{rate:.0}/s"));
        let remark = if stage.is_finished() {
            match (stage.started_at, stage.finished_at) {
                (Some(from), Some(to)) => {
                    between(from.0, to.0).map(|took| format!("took {}", lasting(took)))
                }
                _ => None,
            }
        } else if let Some(words) = planning(stage, status) {
            Some(words.to_owned())
        } else {
            let seconds = stage.eta_seconds.filter(|eta| eta.is_finite() && *eta >= 0.0);
            seconds.map(|eta| format!("{} left", lasting(std::time::Duration::from_secs_f64(eta))))
        };
        table.row([
            plain(stage.stage.to_string()),
            plain(stage.task_type.clone().unwrap_or_default()),
            plain(format!("{}/{}", stage.done(), stage.total)),
            plain(stage.running.map(|running| running.to_string()).unwrap_or_default()),
            count_of_bad(stage.failed),
            plain(stage.skipped.to_string()),
            plain(rate.unwrap_or_default()),
            (remark.unwrap_or_default(), Look::Faint),
        ]);
    }
    table
}

pub(super) async fn list(arguments: &ListArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let filter = JobFilter {
        hours: arguments.hours,
        status: arguments.status.clone(),
        job_type: arguments.job_type.clone(),
        processing_path: arguments.path.clone(),
        terms: arguments.terms(),
        prefix: arguments.query.clone(),
        from: arguments.from.clone(),
        to: arguments.to.clone(),
    };
    let wanted = if arguments.all {
        usize::MAX
    } else {
        usize::try_from(arguments.limit).unwrap_or(usize::MAX)
    };
    let mut jobs: Vec<JobView> = Vec::new();
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    let (document, hours) = loop {
        let limit = (wanted - jobs.len()).min(PAGE);
        let page = session.client.jobs(&filter, limit, cursor.as_deref()).await?;
        jobs.extend(page.body.jobs);
        let mut document = page.document;
        rows.append(&mut taken(&mut document, "jobs"));
        cursor = page.body.query_info.next_cursor;
        if cursor.is_none() || jobs.len() >= wanted {
            break (document, page.body.query_info.hours_back);
        }
    };
    if session.printed(&whole(document, "jobs", rows)) {
        return Ok(Verdict::Good);
    }
    if jobs.is_empty() {
        match hours {
            Some(hours) => say!("no matching job in the last {hours} hours"),
            None => say!("no matching job"),
        }
        return Ok(Verdict::Good);
    }
    output::text(&table(&jobs).text(session.paint));
    if cursor.is_some() {
        say!("There are more jobs: use --limit or --all.");
    }
    Ok(Verdict::Good)
}

impl ListArguments {
    /// The query parameters of labels and parameters.
    fn terms(&self) -> Vec<(String, String)> {
        let named = |prefix: &str, pairs: &[(String, String)]| {
            let named =
                |(name, value): &(String, String)| (format!("{prefix}{name}"), value.clone());
            pairs.iter().map(named).collect::<Vec<_>>()
        };
        [named("label.", &self.labels), named("param.", &self.parameters)].concat()
    }
}

/// Removes and returns the rows of a document.
pub(super) fn taken(document: &mut Value, name: &str) -> Vec<Value> {
    match document.get_mut(name).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}

/// The document of the last page with the rows of all pages.
pub(super) fn whole(mut document: Value, name: &str, rows: Vec<Value>) -> Value {
    if let Some(returned) = document.pointer_mut("/query_info/returned") {
        *returned = json!(rows.len());
    }
    document[name] = Value::Array(rows);
    document
}

fn table(jobs: &[JobView]) -> Table {
    let now = clock::now();
    let mut table = Table::new([
        ("JOB", Align::Left),
        ("TYPE", Align::Left),
        ("STATUS", Align::Left),
        ("STAGE", Align::Right),
        ("DONE", Align::Right),
        ("FAILED", Align::Right),
        ("PATH", Align::Left),
        ("SUBMITTED", Align::Left),
        ("TOOK", Align::Left),
    ]);
    for job in jobs {
        let state = if job.is_paused() {
            ("paused".to_owned(), Look::Warning)
        } else {
            (job.status.to_string(), look_of(job.status))
        };
        let took = job.finished_at.and_then(|end| between(job.created_at.0, end.0));
        table.row([
            plain(short(job.job_id.as_str())),
            plain(&*job.job_type),
            state,
            plain(format!("{}/{}", job.stage, job.total_stages)),
            plain(format!("{}/{}", job.done(), job.total)),
            count_of_bad(job.failed),
            plain(job.processing_path.as_str()),
            plain(ago(job.created_at.0, now)),
            plain(took.map(lasting).unwrap_or_default()),
        ]);
    }
    if jobs.iter().any(|job| !job.labels.is_empty()) {
        let cells = jobs.iter().map(|job| plain(one_line(&labels::line(&job.labels), 60)));
        table.column("LABELS", Align::Left, cells);
    }
    table
}

pub(super) async fn types(arguments: &TypesArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let answer = session.client.job_types().await?;
    if session.printed(&answer.document) {
        return Ok(Verdict::Good);
    }
    for (place, job_type) in answer.body.job_types.iter().enumerate() {
        if place > 0 {
            say!("");
        }
        output::text(&job_type_described(&session, job_type));
    }
    Ok(Verdict::Good)
}

fn job_type_described(session: &Session, job_type: &JobTypeInfo) -> String {
    let mut text = job_type.name.clone();
    if let Some(path) = job_type.prescribed_path {
        text.push_str(&format!(" (always over {path})"));
    }
    text.push('\n');
    if !job_type.description.is_empty() {
        text.push_str(&format!("  {}\n", job_type.description));
    }
    let required: Vec<&str> = job_type
        .parameters
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut table = Table::new([
        ("  PARAMETER", Align::Left),
        ("ALLOWED", Align::Left),
        ("DEFAULT", Align::Left),
        ("", Align::Left),
    ]);
    let properties = job_type.parameters.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        let default = match schema.get("default") {
            Some(default) => default.to_string(),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        table.row([
            plain(format!("  {name}")),
            plain(allowed(schema)),
            plain(default),
            (one_line(description, 100), Look::Faint),
        ]);
    }
    text.push_str(&table.text(session.paint));
    text
}

/// A short description of the values that a schema allows.
fn allowed(schema: &Value) -> String {
    // `null` is left out: it means the same as an absent parameter.
    let some = |names: &Value| -> Option<String> {
        let all = names.as_array()?.iter().filter(|value| !value.is_null());
        let all = all.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        Some(all.filter(|name| name != "null").collect::<Vec<_>>().join(" or "))
    };
    let types = match (schema.get("enum"), schema.get("type")) {
        (Some(values), _) => some(values).unwrap_or_default(),
        (None, Some(Value::String(name))) => name.clone(),
        (None, Some(names)) => some(names).unwrap_or_default(),
        (None, None) => "anything".to_owned(),
    };
    let number =
        |name: &str| schema.get(name).filter(|value| value.is_number()).map(Value::to_string);
    let range = |least: Option<String>, most: Option<String>| match (least, most) {
        (Some(least), Some(most)) => format!(" {least} to {most}"),
        (Some(least), None) => format!(" from {least}"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    };
    let characters = range(number("minLength"), number("maxLength"));
    let characters =
        if characters.is_empty() { characters } else { format!("{characters} characters") };
    format!("{types}{}{characters}", range(number("minimum"), number("maximum")))
}
