//! `lastlight retry-tasks` and `lastlight skip-tasks`: single tasks of a job.

use clap::Args;
use lastlight_api::tasks::ChangeTasks;
use serde_json::json;

use super::{AppArguments, CommandError, Verdict, control::AskedArguments, short};
use crate::{say, tell};

/// Which tasks of which job.
#[derive(Debug, Args)]
pub(crate) struct TaskArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// Only this task.
    task_id: Option<String>,
    /// Only tasks of this stage.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    stage: Option<u8>,
    /// Only tasks with this status, instead of failed ones. May be given several times.
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only tasks whose error contains this text.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Say how many tasks are meant, and change none.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: AskedArguments,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Carries out the command; `verb`: `retry` or `skip`.
pub(super) async fn change(
    verb: &'static str,
    arguments: &TaskArguments,
) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let order = ChangeTasks {
        job_id: job_id.clone(),
        task_id: arguments.task_id.clone(),
        stage: arguments.stage,
        status: arguments.status.clone(),
        error: arguments.error.clone(),
        dry_run: arguments.dry_run,
    };
    let mut tasks = 0;
    loop {
        let answer = session.client.change_tasks(verb, &order, arguments.asked.asked()).await?;
        tasks += answer.body.tasks;
        if answer.body.has_more && !arguments.dry_run {
            if !session.is_json {
                tell!("{tasks} tasks so far");
            }
            continue;
        }
        let mut document = answer.document;
        document["tasks"] = json!(tasks);
        if !session.printed(&document) {
            let message = &answer.body.message;
            match tasks == answer.body.tasks {
                true => say!("{}: {message}", short(&job_id)),
                false => say!("{}: {message} In all: {tasks}.", short(&job_id)),
            }
        }
        return Ok(Verdict::Good);
    }
}
