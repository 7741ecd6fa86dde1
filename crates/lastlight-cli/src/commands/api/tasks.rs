//! `lastlight tasks`: lists tasks, failed ones first, with the reason.

use std::collections::{BTreeMap, HashSet};

use crate::client::TaskFilter;
use clap::{Args, builder::PossibleValuesParser};
use lastlight_api::{
    Stage, TaskStatus,
    tasks::{ListedTask, TaskDetails},
};
use lastlight_engine::model::clock;
use serde_json::{Value, value::RawValue};

use super::{
    AppArguments, CommandError, Session, Verdict,
    jobs::{PAGE, taken, whole},
    nodes, short,
};
use crate::{
    format::{Align, Table, ago, between, lasting, one_line, plain},
    output, say,
    style::Look,
};

/// A line of a log is cut at this number of characters.
const LONGEST_LINE: usize = 2000;

/// `lastlight tasks`.
#[derive(Debug, Args)]
pub(crate) struct TasksArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// Only tasks with this status.
    #[arg(long, value_parser = PossibleValuesParser::new(TaskStatus::ALL.iter().map(|status| status.as_str())))]
    status: Option<String>,
    /// Only tasks of this stage.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    stage: Option<u8>,
    /// Maximum number of tasks to list.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// List all tasks.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// `lastlight task`.
#[derive(Debug, Args)]
pub(crate) struct TaskArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// Task id, as `tasks` lists it.
    task_id: String,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// The tasks read so far.
#[derive(Default)]
struct Found {
    tasks: Vec<ListedTask>,
    rows: Vec<Value>,
    ids: HashSet<String>,
    document: Value,
    has_more: bool,
}

pub(super) async fn tasks(arguments: &TasksArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let wanted = if arguments.all {
        usize::MAX
    } else {
        usize::try_from(arguments.limit).unwrap_or(usize::MAX)
    };
    let filter = |status: Option<&str>| TaskFilter {
        status: status.map(str::to_owned),
        stage: arguments.stage,
    };
    let mut found = Found::default();
    if arguments.status.is_none() {
        // Failed tasks come first, however many other tasks there are.
        let failed = filter(Some(TaskStatus::Failed.as_str()));
        read(&session, &job_id, &failed, wanted, Pages::All, &mut found).await?;
        if found.tasks.len() < wanted {
            // No index covers retrying tasks: read one page, for which the app reads a bounded
            // number of rows, instead of scanning a million.
            let retrying = filter(Some(TaskStatus::Retrying.as_str()));
            read(&session, &job_id, &retrying, wanted, Pages::One, &mut found).await?;
        }
    }
    if found.tasks.len() < wanted {
        read(
            &session,
            &job_id,
            &filter(arguments.status.as_deref()),
            wanted,
            Pages::All,
            &mut found,
        )
        .await?;
    }
    let Found { tasks, rows, document, has_more, .. } = found;
    if session.printed(&whole(document, "tasks", rows)) {
        return Ok(Verdict::Good);
    }
    if tasks.is_empty() {
        say!("job {} has no matching task", short(&job_id));
        return Ok(Verdict::Good);
    }
    let names = names(&session, &job_id).await;
    output::text(&table(&tasks, &names).text(session.paint));
    if has_more {
        say!("There are more tasks: use --limit or --all.");
    }
    Ok(Verdict::Good)
}

pub(super) async fn task(arguments: &TaskArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let answer = session.client.task(&job_id, &arguments.task_id).await?;
    if session.printed(&answer.document) {
        return Ok(Verdict::Good);
    }
    let TaskDetails { task, log, checkpoint } = answer.body;
    let names = names(&session, &job_id).await;
    output::text(&table(std::slice::from_ref(&task), &names).text(session.paint));
    let json = |json: &RawValue| json.get().to_owned();
    let error = task.error_details.filter(|_| task.status != TaskStatus::Completed);
    for (name, value) in [
        ("worker", task.worker_id),
        ("parameters", Some(json(&task.parameters))),
        ("result", task.result_data.as_deref().map(json)),
        ("error", error),
        ("checkpoint", checkpoint.as_deref().map(json)),
    ] {
        if let Some(value) = value {
            say!("{name:<12}{}", one_line(&value, LONGEST_LINE));
        }
    }
    if let Some(log) = log {
        say!("log of attempt {}:", log.attempt);
        for line in log.text.lines() {
            say!("  {}", one_line(line, LONGEST_LINE));
        }
    }
    Ok(Verdict::Good)
}

/// The names of the nodes of a job, by stage. Tasks have the numbers of their stages only, which are
/// shown if the app does not answer.
async fn names(session: &Session, job_id: &str) -> BTreeMap<Stage, String> {
    let status = session.client.status(job_id).await;
    status.map(|answer| nodes::names(&answer.body)).unwrap_or_default()
}

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    One,
    All,
}

/// Reads pages until enough tasks are found. A page may be short: the app reads a bounded number of
/// rows per request.
async fn read(
    session: &Session,
    job_id: &str,
    filter: &TaskFilter,
    wanted: usize,
    pages: Pages,
    found: &mut Found,
) -> Result<(), CommandError> {
    let mut cursor: Option<String> = None;
    loop {
        let page = session.client.tasks(job_id, filter, PAGE, cursor.as_deref()).await?;
        let mut document = page.document;
        let rows = taken(&mut document, "tasks");
        found.document = document;
        for (task, row) in page.body.tasks.into_iter().zip(rows) {
            if found.tasks.len() == wanted {
                found.has_more = true;
                return Ok(());
            }
            // Failed and retrying tasks are in the list already.
            if found.ids.insert(task.task_id.clone()) {
                found.tasks.push(task);
                found.rows.push(row);
            }
        }
        cursor = page.body.query_info.next_cursor;
        if cursor.is_none() || pages == Pages::One {
            return Ok(());
        }
        if found.tasks.len() == wanted {
            found.has_more = true;
            return Ok(());
        }
    }
}

fn look_of(status: TaskStatus) -> Look {
    match status {
        TaskStatus::Completed => Look::Good,
        TaskStatus::Failed => Look::Bad,
        TaskStatus::Retrying | TaskStatus::Skipped => Look::Warning,
        _ => Look::Plain,
    }
}

/// `names`: those of the nodes, if the stages form a graph.
fn table(tasks: &[ListedTask], names: &BTreeMap<Stage, String>) -> Table {
    let now = clock::now();
    let stage = match names.is_empty() {
        true => ("STAGE", Align::Right),
        false => ("NODE", Align::Left),
    };
    let mut table = Table::new([
        ("TASK", Align::Left),
        stage,
        ("STATUS", Align::Left),
        ("ATTEMPT", Align::Right),
        ("TOOK", Align::Left),
        ("REMARK", Align::Left),
    ]);
    for task in tasks {
        let took = match (task.started_at, task.finished_at) {
            (Some(from), Some(to)) => between(from.0, to.0).map(lasting),
            _ => None,
        };
        let mut remark = task.error_details.clone().unwrap_or_default();
        if let (TaskStatus::Retrying, Some(due)) = (task.status, task.due_at) {
            remark = format!("retry due {}: {remark}", ago(due.0, now));
        }
        if task.status == TaskStatus::Processing
            && (task.progress.is_some() || task.message.is_some())
        {
            let share = task.progress.map(|share| format!("{:.0} % ", share * 100.0));
            let message = task.message.as_deref().unwrap_or_default();
            remark = format!("{}{message}", share.unwrap_or_default());
        }
        table.row([
            plain(&*task.task_id),
            plain(names.get(&task.stage).cloned().unwrap_or_else(|| task.stage.to_string())),
            (task.status.to_string(), look_of(task.status)),
            plain(task.attempt.to_string()),
            plain(took.unwrap_or_default()),
            plain(one_line(&remark, 200)),
        ]);
    }
    table
}
