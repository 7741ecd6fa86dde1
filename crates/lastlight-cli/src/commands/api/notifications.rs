//! `lastlight notifications`: who was not told of a job, and why; and sending it again.

use clap::{Args, Subcommand, ValueEnum};
use lastlight_api::notifications::{
    Notification, NotificationList, NotificationState, RetryNotifications,
};
use lastlight_engine::model::clock;

use super::{AppArguments, CommandError, Session, Verdict, short};
use crate::{
    format::{Align, Table, ago, one_line, plain},
    output, say,
    style::Look,
};

/// `lastlight notifications`.
#[derive(Debug, Args)]
pub(crate) struct NotificationsArguments {
    #[command(subcommand)]
    command: Option<NotificationsCommand>,
    #[command(flatten)]
    list: ListArguments,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

#[derive(Debug, Subcommand)]
enum NotificationsCommand {
    /// List the notifications that were not delivered, with the reason (the default). The exit code is
    /// 1 if any was given up.
    List(ListArguments),
    /// Send notifications again that were given up.
    Retry(RetryArguments),
}

#[derive(Debug, Default, Args)]
struct ListArguments {
    /// Only those of this job, also those that were delivered: its id, or the first 4 or more
    /// characters of it.
    #[arg(long, value_name = "JOB_ID")]
    job: Option<String>,
    /// Only these.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Maximum number of notifications to list.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Pending,
    GivenUp,
    Delivered,
}

impl State {
    fn state(self) -> NotificationState {
        match self {
            Self::Pending => NotificationState::Pending,
            Self::GivenUp => NotificationState::GivenUp,
            Self::Delivered => NotificationState::Delivered,
        }
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RetryArguments {
    /// Id of the notification, as `list` shows it.
    notification_id: Option<String>,
    /// Send all of them again.
    #[arg(long)]
    all: bool,
}

pub(super) async fn notifications(
    arguments: &NotificationsArguments,
) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    match &arguments.command {
        None => list(&session, &arguments.list).await,
        Some(NotificationsCommand::List(own)) => list(&session, own).await,
        Some(NotificationsCommand::Retry(which)) => retry(&session, which).await,
    }
}

async fn list(session: &Session, which: &ListArguments) -> Result<Verdict, CommandError> {
    let job_id = match &which.job {
        Some(job_id) => Some(session.job_id(job_id).await?),
        None => None,
    };
    let state = which.state.map(|state| state.state().as_str());
    let answer = session.client.notifications(job_id.as_deref(), state, which.limit).await?;
    if !session.printed(&answer.document) {
        output::text(&text(session, &answer.body));
    }
    let is_given_up = |one: &Notification| one.state == NotificationState::GivenUp;
    let any = answer.body.notifications.iter().any(is_given_up);
    Ok(if any { Verdict::Bad } else { Verdict::Good })
}

fn text(session: &Session, list: &NotificationList) -> String {
    if list.notifications.is_empty() {
        return "No notifications to list.\n".to_owned();
    }
    let mut table = Table::new([
        ("NOTIFICATION", Align::Left),
        ("JOB", Align::Left),
        ("EVENT", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("WRITTEN", Align::Left),
        ("ADDRESS", Align::Left),
        ("LAST ERROR", Align::Left),
    ]);
    let now = clock::now();
    for one in &list.notifications {
        let look = match one.state {
            NotificationState::Pending => Look::Plain,
            NotificationState::GivenUp => Look::Bad,
            NotificationState::Delivered => Look::Good,
        };
        table.row([
            plain(one.notification_id.as_str()),
            plain(short(&one.job_id.to_string())),
            plain(one.kind.as_str()),
            (one.state.as_str().replace('_', " "), look),
            plain(one.attempts.to_string()),
            plain(ago(one.created_at.0, now)),
            plain(one_line(&one.address, 60)),
            plain(one_line(one.last_error.as_deref().unwrap_or_default(), 100)),
        ]);
    }
    let mut text = table.text(session.paint);
    if list.has_more {
        text.push_str(&format!(
            "\nThere are more: {} pending, {} given up in all.\n",
            list.pending, list.given_up
        ));
    }
    if list.given_up > 0 {
        text.push_str(
            "\nlastlight notifications retry <notification> sends one again; --all all of them.\n",
        );
    }
    text
}

async fn retry(session: &Session, which: &RetryArguments) -> Result<Verdict, CommandError> {
    let request = RetryNotifications {
        notification_id: which.notification_id.clone(),
        all: which.all.then_some(true),
    };
    let answer = session.client.retry_notifications(&request).await?;
    if !session.printed(&answer.document) {
        say!("{}: {}", answer.body.retried, answer.body.message);
    }
    Ok(Verdict::Good)
}
