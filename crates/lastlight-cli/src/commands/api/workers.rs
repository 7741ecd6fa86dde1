//! `lastlight workers`: the queues of tasks for workers, and the workers with what they run.

use std::time::Duration;

use clap::Args;
use lastlight_api::workers::{HandlerInfo, WorkerInfo, WorkerList, WorkerQueue};
use lastlight_engine::model::clock;

use super::{AppArguments, CommandError, Verdict, short};
use crate::{
    format::{Align, Table, ago, counted, lasting, one_line, plain},
    output,
    style::{Look, Paint},
};

/// `lastlight workers`.
#[derive(Debug, Args)]
pub(crate) struct WorkersArguments {
    /// Only this queue.
    #[arg(long)]
    queue: Option<String>,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Prints the list; the verdict is bad if tasks wait for a handler that no worker serves.
pub(super) async fn workers(arguments: &WorkersArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let answer = session.client.workers(arguments.queue.as_deref()).await?;
    let list = &answer.body;
    if !session.printed(&answer.document) {
        output::text(&text(list, session.paint));
    }
    let is_unserved = list.queues.iter().any(|queue| queue.unserved);
    Ok(if is_unserved { Verdict::Bad } else { Verdict::Good })
}

fn text(list: &WorkerList, paint: Paint) -> String {
    if list.queues.is_empty() && list.workers.is_empty() {
        return "No task has needed a worker, and no worker has asked for one.\n".to_owned();
    }
    let mut text = queues(&list.queues).text(paint);
    for queue in list.queues.iter().filter(|queue| queue.unserved) {
        let missing = queue.handlers.iter().filter(|handler| handler.is_unserved());
        for handler in missing {
            let said = format!(
                "Nobody serves handler {:?} of queue {:?}: {} waiting. Start a worker: lastlight-worker MODULE:worker --queue {}",
                handler.name,
                queue.queue,
                counted(handler.depth.unsigned_abs(), "task"),
                queue.queue
            );
            text.push_str(&format!("{}\n", paint.text(Look::Bad, &said)));
        }
    }
    text.push('\n');
    if list.workers.is_empty() {
        text.push_str("No worker was seen in the last 90 seconds.\n");
    } else {
        text.push_str(&workers_of(&list.workers).text(paint));
    }
    text
}

fn queues(queues: &[WorkerQueue]) -> Table {
    let now = clock::now();
    let mut table = Table::new([
        ("QUEUE", Align::Left),
        ("HANDLER", Align::Left),
        ("WAITING", Align::Right),
        ("OPEN", Align::Right),
        ("OLDEST", Align::Left),
        ("WORKERS", Align::Right),
        ("SERVED", Align::Left),
    ]);
    for queue in queues {
        for handler in &queue.handlers {
            let HandlerInfo { name, depth, open, oldest_wait_seconds, served_at, workers } =
                handler;
            let oldest = oldest_wait_seconds.map(|wait| lasting(Duration::from_secs_f64(wait)));
            let served = served_at.map(|served| ago(served.0, now));
            let look = if handler.is_unserved() { Look::Bad } else { Look::Plain };
            table.row([
                plain(&*queue.queue),
                plain(&**name),
                plain(depth.to_string()),
                plain(open.to_string()),
                plain(oldest.unwrap_or_default()),
                (workers.to_string(), look),
                (served.unwrap_or_else(|| "never".to_owned()), look),
            ]);
        }
    }
    table
}

fn workers_of(workers: &[WorkerInfo]) -> Table {
    let now = clock::now();
    let mut table = Table::new([
        ("WORKER", Align::Left),
        ("QUEUE", Align::Left),
        ("SEEN", Align::Left),
        ("JOB", Align::Left),
        ("TASK", Align::Left),
        ("SINCE", Align::Left),
        ("PROGRESS", Align::Left),
    ]);
    for worker in workers {
        let row = |job: &str, task: &str, since: String, progress: String| {
            [
                plain(&*worker.worker_id),
                plain(&*worker.queue),
                plain(ago(worker.seen_at.0, now)),
                plain(job),
                plain(task),
                plain(since),
                plain(one_line(&progress, 80)),
            ]
        };
        if worker.running.is_empty() {
            table.row(row("", "", String::new(), String::new()));
        }
        for task in &worker.running {
            let share = task.progress.map(|share| format!("{:.0} % ", share * 100.0));
            let progress = format!(
                "{}{}",
                share.unwrap_or_default(),
                task.message.as_deref().unwrap_or_default()
            );
            let since = task.since.map(|since| ago(since.0, now)).unwrap_or_default();
            table.row(row(short(task.job_id.as_str()), task.task_id.as_str(), since, progress));
        }
    }
    table
}
