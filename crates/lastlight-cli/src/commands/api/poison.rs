//! `lastlight poison`: what was set aside, and what a person may do about it.

use crate::client::{PoisonProcessed, PoisonQueue, PoisonStatus};
use clap::{Args, Subcommand};
use lastlight::model::clock;
use serde_json::Value;

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
    /// What lies where, and why (the default).
    List(ListArguments),
    /// Deal with everything that was delivered too often, now: what is not done by then has failed.
    Process,
    /// Send one message again, unchanged.
    Redrive(MessageArguments),
    /// Throw one message away; its last copy is printed.
    Discard(MessageArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// How many messages of each queue are shown: 10 without it. On Service Bus to look is to
    /// deliver: delivery counts grow.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=32))]
    peek: Option<u8>,
}

#[derive(Debug, Args)]
struct MessageArguments {
    /// The queue that it is in, as `list` shows it.
    queue: String,
    /// Its id, as `list` shows it.
    message_id: String,
}

/// Messages of each queue that are shown to who asks for no other number.
const USUAL_PEEK: u8 = 10;

pub(super) async fn poison(arguments: &PoisonArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let peek = arguments.list.peek;
    match &arguments.command {
        None => list(&session, peek).await,
        Some(PoisonCommand::List(own)) => list(&session, own.peek.or(peek)).await,
        Some(_) if peek.is_some() => Err(CommandError::Argument(
            "--peek is list's: process, redrive and discard take no --peek".to_owned(),
        )),
        Some(PoisonCommand::Process) => process(&session).await,
        Some(PoisonCommand::Redrive(message)) => order(&session, "redrive", message).await,
        Some(PoisonCommand::Discard(message)) => order(&session, "discard", message).await,
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
        for message in &queue.messages {
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
            "\nlastlight poison redrive <queue> <message id> sends one again, discard throws it away.\n",
        );
        // Where only review queues hold anything, it would do nothing.
        if has_messages(|queue| queue.is_review != Some(true)) {
            text.push_str(
                "lastlight poison process deals with all that was delivered too often: what is not done by then has failed.\n",
            );
        }
    } else if status.status == "healthy" {
        text.push_str(&format!("{}\n", paint.text(Look::Good, "Nothing was set aside.")));
    }
    text
}

/// Why fewer of a queue's messages are shown than were asked for, if they are.
fn held(name: &str, queue: &PoisonQueue, peek: u8) -> Option<String> {
    let count = queue.poison_messages?;
    let shown = queue.messages.len() as u64;
    // A queue that could not be read has said why already.
    let is_missing = queue.error.is_none() && shown < count.min(peek.into());
    let whose = match queue.is_review {
        Some(true) => "somebody else who looks",
        _ => "its function, or somebody else who looks,",
    };
    is_missing.then(|| {
        format!(
            "{name}: {shown} of {} can be shown; {whose} holds the rest for now. A function deals with what it holds, or \
             gives it back: ask again in a minute.",
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
        "{} found; {dealt_with} dealt with: {} and {} failed.\n",
        run.poison_messages_found,
        counted(run.jobs_marked_failed, "job"),
        counted(run.tasks_marked_failed, "task")
    );
    let for_review = run.left_for_review.unwrap_or_default();
    if for_review > 0 {
        text.push_str(&format!(
            "{} in a review queue, whose messages mean nothing to this app: process leaves them alone. lastlight poison \
             shows them; redrive or discard them one by one.\n",
            if for_review == 1 { "1 is".to_owned() } else { format!("{for_review} are") }
        ));
    }
    let others = run.poison_messages_found.saturating_sub(for_review + dealt_with);
    if run.left_for_review.is_some() && others > 0 && run.errors.is_empty() {
        text.push_str(&format!(
            "{} not to be had: a function holds what it deals with, and at most 500 of a queue are dealt with at once. \
             Look again in a minute: lastlight poison.\n",
            if others == 1 { "1 was".to_owned() } else { format!("{others} were") }
        ));
    }
    for message in &run.messages {
        let part = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        let outcome = part("outcome").replace('_', " ");
        text.push_str(&format!(
            "{}  {}  {outcome}: {}\n",
            part("queue"),
            part("message_id"),
            part("reason")
        ));
    }
    for error in &run.errors {
        text.push_str(&format!("{}\n", session.paint.text(Look::Bad, error)));
    }
    text
}

async fn order(
    session: &Session,
    action: &str,
    MessageArguments { queue, message_id }: &MessageArguments,
) -> Result<Verdict, CommandError> {
    let answer = session.client.order_poison(action, queue, message_id).await?;
    if !session.printed(&answer.document) {
        let removed = &answer.body;
        match (&removed.sent_to, &removed.message) {
            (Some(to), _) => {
                say!("Message {} of {} was sent to {to} again.", removed.message_id, removed.queue)
            }
            (None, Some(message)) => say!(
                "Message {} of {} is gone. It was:\n{message}",
                removed.message_id,
                removed.queue
            ),
            (None, None) => say!("Message {} of {} is gone.", removed.message_id, removed.queue),
        }
    }
    Ok(Verdict::Good)
}
