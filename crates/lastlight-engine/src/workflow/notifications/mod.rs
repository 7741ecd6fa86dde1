//! Notifies other programs of the ends of jobs and of gates that wait. What is to be told is in the database since the event itself
//! (migration 0022); here it is addressed and sent: soon after the event by the process that caused it, and otherwise by the sweep.
//! Each step may be repeated, by any process: a notification is delivered at least once, with one id.

mod event;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use lastlight_api::notifications::NotificationsRetried;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use self::event::notifications_of;
use super::{Controller, ControllerError, ReconcileReport};
use crate::{
    config::{NotificationAddress, NotificationSettings},
    failpoint::failpoint,
    job::erased::FieldProblem,
    store::{DueNotification, NextAttempt},
    transport::webhooks::NotDelivered,
};

/// Events that are addressed in one transaction.
const EVENTS_AT_ONCE: i64 = 500;

/// Notifications that are taken in one statement, and requests at once.
const AT_ONCE: i64 = 64;
const IN_FLIGHT: usize = 16;

/// In addition to the requests' own time, until the process that took notifications is presumed dead.
const SLACK: Duration = Duration::from_secs(20);

/// A sweep begins no requests after this time.
const LONGEST: Duration = Duration::from_secs(15);

/// A notification that is not delivered for so long is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause after the first attempt; it doubles after each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// For how long notifications are kept that were delivered, and that were given up.
const DELIVERED_KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);
const GIVEN_UP_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Maximum number of addresses that a job names.
pub(super) const MOST_OF_A_JOB: usize = 5;

/// The field of a submission.
pub(super) const FIELD: &str = "notify";

/// Sends that this process made.
#[derive(Debug, Default)]
pub(super) struct NotificationCounters {
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

/// The results of the attempts of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotificationSends {
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Notifications that were given up; the attempt is one of those that failed.
    pub given_up: u64,
}

impl NotificationCounters {
    pub(super) fn read(&self) -> NotificationSends {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NotificationSends {
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            given_up: read(&self.given_up),
        }
    }
}

/// Whether this process notifies at this moment, apart from its sweeps.
#[derive(Debug, Default)]
pub(super) struct Notifying(AtomicU8);

impl Notifying {
    const IDLE: u8 = 0;
    const BUSY: u8 = 1;
    /// More has happened since it began.
    const AGAIN: u8 = 2;

    /// Whether the caller is to begin; otherwise the one that is at it goes over everything again.
    fn begins(&self) -> bool {
        let next = |state| Some(if state == Self::IDLE { Self::BUSY } else { Self::AGAIN });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(Self::IDLE)
    }

    /// Whether the one that is at it has finished.
    fn is_done(&self) -> bool {
        let next = |state| Some(if state == Self::AGAIN { Self::BUSY } else { Self::IDLE });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(Self::BUSY)
    }
}

impl Controller {
    /// Notifies in the background of what has just happened to a job. An error is logged; the sweep does what is left.
    pub(super) fn notify_soon(&self) {
        if !self.0.webhooks.settings().is_used() || !self.0.notifying.begins() {
            return;
        }
        let controller = self.clone();
        tokio::spawn(async move {
            loop {
                let mut report = ReconcileReport::default();
                if let Err(error) = controller.notify(&mut report, LONGEST).await {
                    tracing::warn!(%error, "notifications could not be sent; the sweep sends them");
                }
                if controller.0.notifying.is_done() {
                    return;
                }
            }
        });
    }

    /// The part of the sweep: addresses all events, sends what is due, and deletes what is old.
    pub(super) async fn sweep_notifications(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        self.notify(report, within.min(LONGEST)).await?;
        let notifications = self.0.database.notifications();
        notifications.forget(DELIVERED_KEPT.as_secs_f64(), GIVEN_UP_KEPT.as_secs_f64()).await?;
        Ok(())
    }

    async fn notify(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        let began = Instant::now();
        self.address_events(within).await?;
        let lease =
            self.0.webhooks.settings().timeout * (AT_ONCE as u32 / IN_FLIGHT as u32) + SLACK;
        // The hosts that did not answer; everything else that is due there would wait as long.
        let silent = Mutex::new(BTreeSet::new());
        while began.elapsed() < within {
            let due = self.0.database.notifications().take(lease.as_secs_f64(), AT_ONCE).await?;
            if due.is_empty() {
                break;
            }
            let sends = stream::iter(due)
                .map(async |one| self.send(&one, &silent).await)
                .buffer_unordered(IN_FLIGHT);
            let mut sends = std::pin::pin!(sends);
            while let Some(sent) = sends.next().await {
                match sent? {
                    Sent::Delivered => report.notifications_delivered += 1,
                    Sent::Failed => {}
                    Sent::GivenUp => report.notifications_given_up += 1,
                }
            }
        }
        Ok(())
    }

    /// Writes the notifications of all events that have none yet.
    pub(super) async fn address_events(&self, within: Duration) -> Result<(), ControllerError> {
        let began = Instant::now();
        let settings = self.0.webhooks.settings();
        let given_up_after = GIVEN_UP_AFTER.as_secs_f64();
        loop {
            let (events, written) = self
                .0
                .database
                .notifications()
                .address(EVENTS_AT_ONCE, given_up_after, |event| notifications_of(settings, event))
                .await?;
            if written > 0 {
                tracing::debug!(events, notifications = written, "notifications were written");
            }
            if events.cast_signed() < EVENTS_AT_ONCE || began.elapsed() >= within {
                return Ok(());
            }
        }
    }

    /// Makes one attempt and records it.
    async fn send(
        &self,
        due: &DueNotification,
        silent: &Mutex<BTreeSet<String>>,
    ) -> Result<Sent, ControllerError> {
        let notifications = self.0.database.notifications();
        let counters = &self.0.notification_counters;
        let host = Url::parse(&due.address).ok().map(|url| url.origin().ascii_serialization());
        let host = host.unwrap_or_default();
        let is_silent = silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&host);
        let sent = if is_silent {
            let reason = "not sent, since the host has just not answered another one".to_owned();
            Err(NotDelivered::Later { reason, after: None })
        } else {
            failpoint!("notify.before_send");
            let sent = self.0.webhooks.send(due.notification_id, &due.address, &due.body).await;
            failpoint!("notify.after_send");
            sent
        };
        let failure = match sent {
            Ok(()) => {
                counters.delivered.fetch_add(1, Ordering::Relaxed);
                notifications.delivered(due.notification_id).await?;
                return Ok(Sent::Delivered);
            }
            Err(failure) => failure,
        };
        let next = match &failure {
            NotDelivered::Never { .. } => NextAttempt::Never,
            NotDelivered::Later { after, .. } => {
                NextAttempt::After(pause(due.attempts, *after).as_secs_f64())
            }
            NotDelivered::Silent { .. } => {
                silent.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
                NextAttempt::After(pause(due.attempts, None).as_secs_f64())
            }
        };
        counters.failed.fetch_add(1, Ordering::Relaxed);
        let is_given_up = notifications.failed(due, &failure.to_string(), next).await?;
        if !is_given_up {
            tracing::debug!(job_id = %due.job_id, id = %due.notification_id, attempt = due.attempts, reason = %failure,
                "a notification was not delivered");
            return Ok(Sent::Failed);
        }
        counters.given_up.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(job_id = %due.job_id, id = %due.notification_id, attempts = due.attempts, reason = %failure,
            "a notification was given up; POST /api/notifications/retry sends it again");
        Ok(Sent::GivenUp)
    }

    /// Sends notifications again that were given up: the one with this id, or all.
    ///
    /// # Errors
    /// There is no such notification; the database failed.
    pub async fn retry_notifications(
        &self,
        id: Option<Uuid>,
    ) -> Result<NotificationsRetried, ControllerError> {
        let seconds = GIVEN_UP_AFTER.as_secs_f64();
        let retried = self.0.database.notifications().retry(id, seconds).await?;
        if let Some(id) = id.filter(|_| retried == 0) {
            return Err(ControllerError::UnknownNotification { id });
        }
        self.notify_soon();
        Ok(NotificationsRetried {
            retried,
            message: match retried {
                0 => "No notification was given up.".to_owned(),
                _ => "They are sent again within a minute, and given up after a day.".to_owned(),
            },
        })
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Delivered,
    Failed,
    GivenUp,
}

/// The pause after attempt number `attempts` (from 1): doubled each time, minus a random part of up to a half, so that
/// notifications that failed together do not come back together; at least what the receiver asked for, within bounds.
fn pause(attempts: i32, asked: Option<Duration>) -> Duration {
    let doublings = attempts.saturating_sub(1).clamp(0, 20).unsigned_abs();
    let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
    let pause = pause.mul_f64(1.0 - fastrand::f64() / 2.0);
    pause.max(asked.unwrap_or_default().min(LONGEST_PAUSE))
}

/// The addresses that a submission names: one, or a list.
///
/// # Errors
/// One is not allowed, with its place and what is.
pub(super) fn addresses_of_job(
    settings: &NotificationSettings,
    given: &Value,
) -> Result<Vec<String>, Vec<FieldProblem>> {
    let named: Vec<(String, &str)> = match given {
        Value::String(address) => vec![(FIELD.to_owned(), address)],
        Value::Array(addresses) => addresses
            .iter()
            .enumerate()
            .filter_map(|(place, address)| Some((format!("{FIELD}[{place}]"), address.as_str()?)))
            .collect(),
        _ => Vec::new(),
    };
    let (mut addresses, mut problems) = (BTreeSet::new(), Vec::new());
    for (field, text) in named {
        let checked = NotificationAddress::checked(text, &settings.allowed).and_then(|address| {
            if settings.allowed.allows(address.url()) {
                return Ok(address);
            }
            Err("its host is not allowed".to_owned())
        });
        match checked {
            Ok(address) => {
                addresses.insert(address.url().as_str().to_owned());
            }
            Err(problem) => {
                let allowed = if settings.allowed.is_empty() {
                    "absent, since NOTIFY_ALLOWED_HOSTS allows no host".to_owned()
                } else {
                    let hosts = &settings.allowed;
                    format!(
                        "an address of a host that NOTIFY_ALLOWED_HOSTS allows ({hosts}; {problem})"
                    )
                };
                problems.push(FieldProblem { field, value: Some(text.into()), allowed });
            }
        }
    }
    if problems.is_empty() { Ok(addresses.into_iter().collect()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Env;

    #[test]
    fn pauses_double_and_honour_the_receiver() {
        let within = |attempts, asked, least: u64, most: u64| {
            let pause = pause(attempts, asked);
            let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
            assert!(bounds.contains(&pause), "attempt {attempts}: {pause:?}");
        };
        for _ in 0..100 {
            within(1, None, 2, 5);
            within(2, None, 5, 10);
            within(8, None, 320, 640);
            within(30, None, 1800, 3600);
            within(i32::MAX, None, 1800, 3600);
            within(1, Some(Duration::from_secs(120)), 120, 120);
            within(1, Some(Duration::from_secs(1)), 2, 5);
            within(1, Some(Duration::MAX), 3600, 3600);
        }
    }

    #[test]
    fn what_happens_meanwhile_is_gone_over_again() {
        let notifying = Notifying::default();
        assert!(notifying.begins());
        assert!(!notifying.begins() && !notifying.begins());
        assert!(!notifying.is_done(), "once more, for both");
        assert!(notifying.is_done());
        assert!(notifying.begins());
    }

    #[test]
    fn addresses_of_a_job_are_checked_by_place() {
        let mut env = Env::from_pairs([("NOTIFY_ALLOWED_HOSTS", "hooks.example.org")]);
        let settings = NotificationSettings::from_env(&mut env);
        let good = "https://hooks.example.org/a";
        assert_eq!(addresses_of_job(&settings, &json!(good)).unwrap(), [good]);
        assert_eq!(addresses_of_job(&settings, &json!([good, good])).unwrap(), [good]);
        let problems =
            addresses_of_job(&settings, &json!([good, "https://evil.example/"])).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].to_string(),
            "notify[1] must be an address of a host that NOTIFY_ALLOWED_HOSTS allows (hooks.example.org; its host is not \
             allowed), not \"https://evil.example/\""
        );
        let none = NotificationSettings::default();
        let problem = &addresses_of_job(&none, &json!(good)).unwrap_err()[0];
        assert!(problem.to_string().contains("NOTIFY_ALLOWED_HOSTS allows no host"), "{problem}");
    }
}
