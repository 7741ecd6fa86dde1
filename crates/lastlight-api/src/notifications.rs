//! Notifications: who was told over HTTP that a job has ended or that a gate waits, and who was not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobId, Timestamp};

/// Notifications, and the numbers of those that were not delivered.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NotificationList {
    /// Number of those that wait to be delivered, in the whole app; counted up to 10,000.
    pub pending: u64,
    /// Number of those that were given up, in the whole app; counted up to 10,000.
    pub given_up: u64,
    /// Of one job: the newest first. Of all jobs: those that were given up before those that wait.
    pub notifications: Vec<Notification>,
    /// Whether there are more than the list has.
    pub has_more: bool,
}

/// A notification of one event to one address.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Notification {
    /// Its id, which is the `id` of the CloudEvent and the header `webhook-id` in each attempt.
    pub notification_id: String,
    /// The job's id.
    pub job_id: JobId,
    /// What happened: `job_completed`, `job_failed`, `job_cancelled` or `gate_waiting`.
    pub kind: String,
    /// The address, without its query.
    pub address: String,
    /// Whether it was delivered.
    pub state: NotificationState,
    /// When it was written.
    pub created_at: Timestamp,
    /// Number of attempts; after a retry they are counted again.
    pub attempts: u32,
    /// When the next attempt is due; null: it was delivered or given up.
    pub next_attempt_at: Option<Timestamp>,
    /// When it is given up unless it is delivered.
    pub give_up_at: Timestamp,
    /// When it was delivered.
    pub delivered_at: Option<Timestamp>,
    /// When it was given up.
    pub given_up_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Whether a notification was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It waits to be delivered.
    Pending,
    /// It was not delivered within a day, or cannot be.
    GivenUp,
    /// The receiver answered with a status from 200 to 299.
    Delivered,
}

impl NotificationState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::GivenUp, Self::Delivered];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::GivenUp => "given_up",
            Self::Delivered => "delivered",
        }
    }
}

/// Which notifications that were given up are to be sent again: one, or all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RetryNotifications {
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_id: Option<String>,
    /// All of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

/// The result of a request to send notifications again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NotificationsRetried {
    /// Number of notifications that are due again.
    pub retried: u64,
    /// What happened, as text for a user.
    pub message: String,
}
