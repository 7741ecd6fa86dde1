//! `lastlight poison`: lists, processes, redrives and discards dead-lettered messages.

use clap::{Args, Subcommand};
use lastlight_api::poison::{PoisonProcessed, PoisonQueue, PoisonStatus};
use lastlight_engine::model::clock;

use super::{AppArguments, CommandError, Session, Verdict};
use crate::{
    format::{Align, Table, ago, counted, one_line, plain},
    output, say,
    style::Look,
};

/// `lastlight poison`.
#[derive(Debug, Args)]
pub(crate) struct PoisonArguments {
    #[command(subcommand)]
    command: Option<PoisonCommand>,
    #[command(flatten)]
    list: ListArguments,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

#[derive(Debug, Subcommand)]
enum PoisonCommand {
    /// List the messages of each queue, with the reason (the default).
    List(ListArguments),
    /// Process all messages that were delivered too often, now: unfinished jobs and tasks are
    /// marked as failed.
    Process,
    /// Send one message again, unchanged.
    Redrive(MessageArguments),
    /// Delete one message; its text is printed.
    Discard(MessageArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Number of messages to show per queue; 10 by default. On Service Bus each peek counts as a
    /// delivery.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=32))]
    peek: Option<u8>,
}

#[derive(Debug, Args)]
struct MessageArguments {
    /// Name of the queue, as `list` shows it.
    queue: String,
    /// Id of the message, as `list` shows it.
    message_id: String,
}

/// The default of `--peek`.
const USUAL_PEEK: u8 = 10;

pub(super) async fn poison(arguments: &PoisonArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let peek = arguments.list.peek;
    match &arguments.command {
        None => list(&session, peek).await,
        Some(PoisonCommand::List(own)) => list(&session, own.peek.or(peek)).await,
        Some(_) if peek.is_some() => Err(CommandError::Argument(
            "--peek applies to list only; process, redrive and discard do not take it".to_owned(),
        )),
        Some(PoisonCommand::Process) => process(&session).await,
        Some(PoisonCommand::Redrive(message)) => redrive(&session, message).await,
        Some(PoisonCommand::Discard(message)) => discard(&session, message).await,
    }
}

async fn list(session: &Session, peek: Option<u8>) -> Result<Verdict, CommandError> {
    let peek = peek.unwrap_or(USUAL_PEEK);
    let answer = session.client.poison(peek).await?;
    if !session.printed(&answer.document) {
        output::text(&described(session, &answer.body, peek));
    }
    Ok(Verdict::Good)
}

fn described(session: &Session, status: &PoisonStatus, peek: u8) -> String {
    let paint = session.paint;
    let mut table =
        Table::new([("QUEUE", Align::Left), ("MESSAGES", Align::Right), ("HOLDS", Align::Left)]);
    for (name, queue) in &status.queue_details {
        let count = match (queue.poison_messages, &queue.error) {
            (Some(0), _) => plain("0"),
            (Some(count), _) => (count.to_string(), Look::Bad),
            (None, _) => ("unknown".to_owned(), Look::Warning),
        };
        let holds = queue.error.as_deref().unwrap_or(&queue.holds);
        table.row([plain(name.as_str()), count, plain(one_line(holds, 200))]);
    }
    let mut text = table.text(paint);
    let now = clock::now();
    for (name, queue) in &status.queue_details {
        for message in queue.messages.iter().flatten() {
            let when =
                message.enqueued_at.map(|at| format!(", {}", ago(at.0, now))).unwrap_or_default();
            text.push_str(&format!(
                "\n{name}  {}  delivered {}{when}\n",
                message.message_id,
                counted(message.delivery_count.into(), "time")
            ));
            if let Some(reason) = &message.reason {
                text.push_str(&format!(
                    "  {}\n",
                    paint.text(Look::Warning, &one_line(reason, 300))
                ));
            }
            let body = one_line(&message.message, 300);
            text.push_str(&format!("  {}\n", paint.text(Look::Faint, &body)));
        }
    }
    for (name, queue) in &status.queue_details {
        if let Some(why) = held(name, queue, peek) {
            text.push_str(&format!("\n{why}\n"));
        }
    }
    let has_messages = |is_wanted: fn(&PoisonQueue) -> bool| {
        let mut queues = status.queue_details.values();
        queues.any(|queue| queue.poison_messages.unwrap_or_default() > 0 && is_wanted(queue))
    };
    if status.poison_messages_found > 0 {
        text.push_str(
            "\nlastlight poison redrive <queue> <message id> sends a message again; discard deletes it.\n",
        );
        // If only review queues hold messages, it would do nothing.
        if has_messages(|queue| !queue.is_review) {
            text.push_str(
                "lastlight poison process processes all messages that were delivered too often: unfinished jobs and tasks are marked as failed.\n",
            );
        }
    } else if status.status == "healthy" {
        text.push_str(&format!("{}\n", paint.text(Look::Good, "No dead-lettered messages.")));
    }
    text
}

/// Why fewer messages of a queue are shown than were requested, if so.
fn held(name: &str, queue: &PoisonQueue, peek: u8) -> Option<String> {
    let count = queue.poison_messages?;
    let shown = queue.messages.as_ref().map_or(0, Vec::len) as u64;
    // For a queue that could not be read, the error is shown already.
    let is_missing = queue.error.is_none() && shown < count.min(peek.into());
    let whose = if queue.is_review { "another reader" } else { "its function or another reader" };
    is_missing.then(|| {
        format!(
            "{name}: {shown} of {} can be shown; {whose} has locked the rest. A locked message is processed or released: \
             try again in a minute.",
            counted(count, "message")
        )
    })
}

async fn process(session: &Session) -> Result<Verdict, CommandError> {
    let answer = session.client.process_poison().await?;
    if !session.printed(&answer.document) {
        output::text(&processed(session, &answer.body));
    }
    Ok(if answer.body.errors.is_empty() { Verdict::Good } else { Verdict::Bad })
}

fn processed(session: &Session, run: &PoisonProcessed) -> String {
    let dealt_with = run.messages.len() as u64;
    let mut text = format!(
        "{} found; {dealt_with} processed: {} and {} marked as failed.\n",
        run.poison_messages_found,
        counted(run.jobs_marked_failed, "job"),
        counted(run.tasks_marked_failed, "task")
    );
    let for_review = run.left_for_review.unwrap_or_default();
    if for_review > 0 {
        text.push_str(&format!(
            "{} in a review queue, for messages that this app cannot read: process does not touch them. lastlight poison \
             lists them; redrive or discard them one by one.\n",
            if for_review == 1 { "1 is".to_owned() } else { format!("{for_review} are") }
        ));
    }
    let others = run.poison_messages_found.saturating_sub(for_review + dealt_with);
    if run.left_for_review.is_some() && others > 0 && run.errors.is_empty() {
        text.push_str(&format!(
            "{} not processed: functions lock the messages that they process, and at most 500 messages per queue are \
             processed at once. Run lastlight poison again in a minute.\n",
            if others == 1 { "1 was".to_owned() } else { format!("{others} were") }
        ));
    }
    for message in &run.messages {
        let outcome = message.delivery.outcome.as_str().replace('_', " ");
        text.push_str(&format!(
            "{}  {}  {outcome}: {}\n",
            message.queue, message.message_id, message.delivery.reason
        ));
    }
    for error in &run.errors {
        text.push_str(&format!("{}\n", session.paint.text(Look::Bad, error)));
    }
    text
}

async fn redrive(
    session: &Session,
    MessageArguments { queue, message_id }: &MessageArguments,
) -> Result<Verdict, CommandError> {
    let answer = session.client.redrive(queue, message_id).await?;
    if !session.printed(&answer.document) {
        let redriven = &answer.body.message;
        say!(
            "Message {} of {} was sent to {} again.",
            redriven.message_id,
            redriven.queue,
            redriven.sent_to
        );
    }
    Ok(Verdict::Good)
}

async fn discard(
    session: &Session,
    MessageArguments { queue, message_id }: &MessageArguments,
) -> Result<Verdict, CommandError> {
    let answer = session.client.discard(queue, message_id).await?;
    if !session.printed(&answer.document) {
        let discarded = &answer.body.message;
        say!(
            "Message {} of {} was discarded. Its text was:\n{}",
            discarded.message.message_id,
            discarded.queue,
            discarded.message.message
        );
    }
    Ok(Verdict::Good)
}
