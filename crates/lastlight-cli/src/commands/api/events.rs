//! `lastlight events`: what happened to a job, and who asked for it.

use clap::Args;
use lastlight_api::{Timestamp, events::JobEvent};
use serde_json::{Value, json};
use time::macros::format_description;

use super::{AppArguments, CommandError, Session, Verdict};
use crate::{
    format::{Align, Table, one_line, plain},
    output,
    style::Look,
};

/// `lastlight events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Prints all events of a job, in order.
pub(super) async fn events(arguments: &EventsArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let mut events = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = session.client.events(&job_id, cursor.as_deref()).await?.body;
        events.extend(page.events);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if !session.printed(&json!({ "job_id": job_id, "events": events })) {
        output::text(&text(&session, &events));
    }
    Ok(Verdict::Good)
}

fn text(session: &Session, events: &[JobEvent]) -> String {
    let mut table = Table::new([
        ("TIME (UTC)", Align::Left),
        ("RUN", Align::Right),
        ("EVENT", Align::Left),
        ("BY", Align::Left),
        ("REASON", Align::Left),
    ]);
    for event in events {
        let mut message = event.message.clone();
        if let Some(last) = event.last_at.filter(|_| event.times > 1) {
            message.push_str(&format!(" {} times until {}.", event.times, time_of(last)));
        }
        table.row([
            plain(time_of(event.happened_at)),
            plain(event.run.to_string()),
            (one_line(&message, 200), look(event)),
            plain(one_line(event.requested_by.as_deref().unwrap_or_default(), 40)),
            plain(one_line(event.reason.as_deref().unwrap_or_default(), 100)),
        ]);
    }
    table.text(session.paint)
}

fn look(event: &JobEvent) -> Look {
    let failed = || {
        let detail = event.detail.as_ref()?;
        let detail: Value = serde_json::from_str(detail.get()).ok()?;
        detail["failed"].as_u64()
    };
    match event.kind.as_str() {
        "job_failed" => Look::Bad,
        "job_completed" => Look::Good,
        "messages_resent"
        | "planning_resumed"
        | "attempts_presumed_dead"
        | "counters_repaired"
        | "job_cancelled" => Look::Warning,
        "stage_ended" if failed().is_some_and(|failed| failed > 0) => Look::Warning,
        _ => Look::Plain,
    }
}

fn time_of(time: Timestamp) -> String {
    let format =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    time.0.format(format).unwrap_or_default()
}
