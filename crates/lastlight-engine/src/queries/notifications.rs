//! Notifications for users: those that were not delivered, with the reason, and those of a job.

use lastlight_api::notifications::{Notification, NotificationList, NotificationState};
use url::Url;

use super::Queries;
use crate::{
    config::endpoint::without_query,
    model::{JobId, Timestamp},
    store::{ListedNotification, NotificationCounts, NotificationFilter},
    workflow::ControllerError,
};

impl Queries {
    /// Up to `limit` notifications: of one job, or those of all jobs that were not delivered. `state`:
    /// only these.
    ///
    /// # Errors
    /// The database failed.
    pub async fn notifications(
        &self,
        job_id: Option<&JobId>,
        state: Option<NotificationState>,
        limit: u16,
    ) -> Result<NotificationList, ControllerError> {
        let notifications = self.0.database.notifications();
        let of = |one| state.is_none_or(|state| state == one);
        let filter = NotificationFilter {
            pending: of(NotificationState::Pending),
            given_up: of(NotificationState::GivenUp),
            delivered: of(NotificationState::Delivered),
        };
        let mut listed = notifications.list(job_id, filter, i64::from(limit) + 1).await?;
        let NotificationCounts { pending, given_up } = notifications.counts().await?;
        let has_more = listed.len() > usize::from(limit);
        listed.truncate(limit.into());
        Ok(NotificationList {
            pending: pending.unsigned_abs(),
            given_up: given_up.unsigned_abs(),
            notifications: listed.into_iter().map(shown).collect(),
            has_more,
        })
    }
}

fn shown(listed: ListedNotification) -> Notification {
    let state = match (listed.delivered_at, listed.given_up_at) {
        (Some(_), _) => NotificationState::Delivered,
        (None, Some(_)) => NotificationState::GivenUp,
        (None, None) => NotificationState::Pending,
    };
    Notification {
        notification_id: listed.notification_id.to_string(),
        job_id: listed.job_id,
        kind: listed.kind,
        address: Url::parse(&listed.address).map(|url| without_query(&url)).unwrap_or_default(),
        state,
        created_at: Timestamp(listed.created_at),
        attempts: listed.attempts.unsigned_abs(),
        next_attempt_at: listed.next_attempt_at.map(Timestamp),
        give_up_at: Timestamp(listed.give_up_at),
        delivered_at: listed.delivered_at.map(Timestamp),
        given_up_at: listed.given_up_at.map(Timestamp),
        last_error: listed.last_error,
    }
}
