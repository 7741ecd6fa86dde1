//! `lastlight poison`: what was set aside, and what a person may do about it.

use clap::{Args, Subcommand};
use lastlight::{
    client::{PoisonProcessed, PoisonStatus},
    model::clock,
};
use serde_json::Value;

use super::{AppArguments, CommandError, Session, Verdict};
use crate::commands::{
    paint::Look,
    words::{Align, Table, ago, one_line, plain},
};

/// `lastlight poison`.
#[derive(Debug, Args)]
pub struct PoisonArguments {
    #[command(subcommand)]
    command: Option<PoisonCommand>,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

#[derive(Debug, Subcommand)]
enum PoisonCommand {
    /// What lies where, and why (the default).
    List {
        /// How many messages of each queue are shown. On Service Bus to look is to deliver: delivery counts grow.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=32))]
        peek: u8,
    },
    /// Deal with everything that was delivered too often, now: what is not done by then has failed.
    Process,
    /// Send one message again, unchanged.
    Redrive(MessageArguments),
    /// Throw one message away; its last copy is printed.
    Discard(MessageArguments),
}

#[derive(Debug, Args)]
struct MessageArguments {
    /// The queue that it is in, as `list` shows it.
    queue: String,
    /// Its id, as `list` shows it.
    message_id: String,
}

pub(super) async fn poison(arguments: &PoisonArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    match &arguments.command {
        None => list(&session, 10).await,
        Some(PoisonCommand::List { peek }) => list(&session, *peek).await,
        Some(PoisonCommand::Process) => process(&session).await,
        Some(PoisonCommand::Redrive(message)) => order(&session, "redrive", message).await,
        Some(PoisonCommand::Discard(message)) => order(&session, "discard", message).await,
    }
}

async fn list(session: &Session, peek: u8) -> Result<Verdict, CommandError> {
    let answer = session.client.poison(peek).await?;
    if !session.printed(&answer.document) {
        print!("{}", described(session, &answer.body));
    }
    Ok(Verdict::Good)
}

fn described(session: &Session, status: &PoisonStatus) -> String {
    let paint = session.paint;
    let mut table = Table::new([
        ("QUEUE", Align::Left),
        ("MESSAGES", Align::Right),
        ("HOLDS", Align::Left),
    ]);
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
            let when = message
                .enqueued_at
                .map(|at| format!(", {}", ago(at.0, now)))
                .unwrap_or_default();
            text.push_str(&format!(
                "\n{name}  {}  delivered {} times{when}\n",
                message.message_id, message.delivery_count
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
    if status.poison_messages_found > 0 {
        text.push_str(
            "\nlastlight poison redrive <queue> <message id> sends one again, discard throws it away; lastlight poison \
             process deals with all that was delivered too often.\n",
        );
    } else if status.status == "healthy" {
        text.push_str(&format!("{}\n", paint.text(Look::Good, "Nothing was set aside.")));
    }
    text
}

async fn process(session: &Session) -> Result<Verdict, CommandError> {
    let answer = session.client.process_poison().await?;
    if !session.printed(&answer.document) {
        print!("{}", processed(session, &answer.body));
    }
    Ok(if answer.body.errors.is_empty() {
        Verdict::Good
    } else {
        Verdict::Bad
    })
}

fn processed(session: &Session, run: &PoisonProcessed) -> String {
    let mut text = format!(
        "{} found; {} dealt with: {} jobs and {} tasks failed.\n",
        run.poison_messages_found,
        run.messages.len(),
        run.jobs_marked_failed,
        run.tasks_marked_failed
    );
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
            (Some(to), _) => println!(
                "Message {} of {} was sent to {to} again.",
                removed.message_id, removed.queue
            ),
            (None, Some(message)) => println!(
                "Message {} of {} is gone. It was:\n{message}",
                removed.message_id, removed.queue
            ),
            (None, None) => println!("Message {} of {} is gone.", removed.message_id, removed.queue),
        }
    }
    Ok(Verdict::Good)
}
