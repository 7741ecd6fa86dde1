//! Messages that could not be processed. A single message goes back to the host, which dead-letters
//! it after enough deliveries; then it comes here. A message within a batch is dead-lettered here
//! at once, into the review queue, so that the other messages of the batch need not be redelivered.
//!
//! A dead-lettered message says nothing about its task or stage: if the database is unavailable for
//! some minutes, every message that was being processed comes here. Attempts are counted where they
//! begin, at the claim, which fails a task that has used them up. So unfinished work gets a new
//! message, a few times; only then has it failed.

use lastlight_api::poison::{PoisonDelivery, PoisonOutcome};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Controller, ControllerError, outgoing::reasons};
use crate::{
    model::{
        ProcessingPath, Stage, clock,
        messages::{JobReference, written_at},
    },
    store::{JobRecord, Redeliveries, StageKey},
    transport::sender::{OutgoingMessage, QueueRole},
};

/// Maximum number of new messages that a task or a stage gets in place of undeliverable ones.
pub(super) const MOST_REDELIVERIES: u8 = 5;

/// Who asks for a dead-lettered message to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// The function of the queue in which it was dead-lettered. Unfinished work is retried.
    Queue,
    /// An operator who ends the work: unfinished jobs and tasks fail.
    Person,
}

/// The fields by which the log is searched; a macro, since an event's level is not a value.
macro_rules! note {
    ($level:ident, $path:expr, $delivery:expr) => {
        tracing::$level!(
            path = $path.as_str(),
            outcome = $delivery.outcome.as_str(),
            reason = $delivery.reason,
            job_id = $delivery.job_id.as_ref().map(tracing::field::display),
            stage = $delivery.stage.map(Stage::get),
            task_id = $delivery.task_id.as_ref().map(tracing::field::display),
            jobs_failed = some($delivery.jobs_failed),
            tasks_failed = some($delivery.tasks_failed),
            tasks_sent_again = some($delivery.tasks_sent_again),
            "a dead-lettered message was processed"
        )
    };
}

/// A count, unless it is zero: zero gets no field in the log.
pub(super) fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

/// Logs what happened. A message that was merely ignored as a duplicate is not worth a warning.
pub(crate) fn note_delivery(delivery: &PoisonDelivery, path: ProcessingPath) {
    match delivery.outcome {
        PoisonOutcome::Ignored => note!(info, path, delivery),
        PoisonOutcome::SentAgain | PoisonOutcome::Failed | PoisonOutcome::KeptForReview => {
            note!(warn, path, delivery);
        }
    }
}

fn delivery(outcome: PoisonOutcome, key: &StageKey, reason: impl Into<String>) -> PoisonDelivery {
    PoisonDelivery {
        outcome,
        reason: reason.into(),
        job_id: Some(key.job_id),
        stage: Some(key.stage),
        task_id: None,
        jobs_failed: 0,
        tasks_failed: 0,
        tasks_sent_again: 0,
    }
}

pub(super) fn ignored(key: &StageKey, reason: &str) -> PoisonDelivery {
    delivery(PoisonOutcome::Ignored, key, reason)
}

impl Controller {
    /// Processes a message that was dead-lettered in the path's queue for `role`. The same message
    /// may come again, even at the same time: nothing is done twice.
    ///
    /// # Errors
    /// The database or a queue failed: the message must be redelivered.
    pub async fn process_poison_message(
        &self,
        path: ProcessingPath,
        role: QueueRole,
        text: &str,
        asked_by: AskedBy,
    ) -> Result<PoisonDelivery, ControllerError> {
        let delivery = match role {
            QueueRole::Jobs => self.dead_lettered_job(text, asked_by).await,
            // The review queue has no function: its messages wait for an operator.
            QueueRole::Tasks | QueueRole::Poison => self.dead_lettered_tasks(text, asked_by).await,
        };
        match delivery {
            Err(reason)
                if !reason.is_transient()
                    || matches!(reason, ControllerError::StageNotReached { .. }) =>
            {
                self.dead_letters(path, &[(text, &reason)], 1).await?;
                Ok(PoisonDelivery {
                    outcome: PoisonOutcome::KeptForReview,
                    reason: reason.to_string(),
                    job_id: None,
                    stage: None,
                    task_id: None,
                    jobs_failed: 0,
                    tasks_failed: 0,
                    tasks_sent_again: 0,
                })
            }
            delivery => delivery,
        }
    }

    async fn dead_lettered_job(
        &self,
        text: &str,
        asked_by: AskedBy,
    ) -> Result<PoisonDelivery, ControllerError> {
        let message = JobReference::decode(text)?;
        let (_, job) = self.job_of(&message).await?;
        let JobReference { job_id, stage, .. } = message;
        let key = StageKey { job_id, stage };
        if job.status.is_terminal() {
            return Ok(ignored(&key, "the job is finished"));
        }
        if job.paused_at.is_some() {
            return Ok(ignored(
                &key,
                "the job is paused; it gets a new message when it is resumed",
            ));
        }
        // In a graph stages with lower numbers may be under way.
        if !job.is_graph() && stage < job.stage {
            return Ok(ignored(&key, "the job is past the stage"));
        }
        let Some(stands) = self.0.database.stages().dead_lettered(&key).await? else {
            return Err(ControllerError::StageNotReached { job_id, stage, current: job.stage });
        };
        if stands.planned {
            // Its planner may have died after the last outcome and before the advance.
            self.advance(&key).await?;
            return Ok(ignored(&key, "the stage is already planned"));
        }
        if stands.leased {
            return Ok(ignored(&key, "the stage is being planned"));
        }
        if asked_by == AskedBy::Queue {
            let written = written_at(text);
            if is_older(written, stands.redelivered) {
                return Ok(ignored(&key, SUCCEEDED));
            }
            if stands.redelivered.count < MOST_REDELIVERIES {
                return self.redeliver_stage(&key, &job, stands.redelivered, written).await;
            }
        }
        let reason = format!(
            "stage {stage} could not be started: its job message was {}",
            delivered(asked_by)
        );
        if !self.0.database.jobs().fail_unplanned(&key, &reason).await? {
            return Ok(ignored(&key, "the job progressed in the meantime"));
        }
        tracing::warn!(%job_id, reason, "job failed");
        self.ended_early(&job).await?;
        Ok(PoisonDelivery { jobs_failed: 1, ..delivery(PoisonOutcome::Failed, &key, reason) })
    }

    async fn redeliver_stage(
        &self,
        key: &StageKey,
        job: &JobRecord,
        redelivered: Redeliveries,
        written: Option<OffsetDateTime>,
    ) -> Result<PoisonDelivery, ControllerError> {
        let grace = self.0.timing.send_grace.as_secs_f64();
        let sends =
            self.0.database.stages().redelivered(key, redelivered, after(written), grace).await?;
        if let Some(sends) = sends {
            // A failure is recorded, and the message stays unsent.
            let _ = self
                .0
                .send_job_message(key, sends, &job.job_type, &job.parameters, job.path, job.trace)
                .await;
        }
        Ok(delivery(PoisonOutcome::SentAgain, key, AGAIN))
    }

    /// Puts the texts of rejected messages into the path's review queue, each with its reason.
    ///
    /// # Errors
    /// They could not be stored there: the whole batch must be redelivered.
    pub async fn dead_letters(
        &self,
        path: ProcessingPath,
        refused: &[(&str, &ControllerError)],
        total: usize,
    ) -> Result<(), ControllerError> {
        let largest =
            self.0.senders.for_path(path).map_or(usize::MAX, |sender| sender.max_body_bytes());
        let messages: Vec<OutgoingMessage> = refused
            .iter()
            .map(|(text, reason)| OutgoingMessage {
                message_id: format!("poison-{}", Uuid::new_v4()),
                correlation_id: String::new(),
                body: kept(text, &reason.to_string(), largest),
                delay: None,
                trace: None,
            })
            .collect();
        let report = self.0.send(path, QueueRole::Poison, &messages).await;
        if report.success {
            return Ok(());
        }
        Err(ControllerError::NotDeadLettered {
            refused: refused.len(),
            total,
            detail: reasons(&report),
        })
    }
}

/// What the review queue stores of a message: the beginning of one that does not fit. Such a
/// message is not this app's, and would be redelivered again and again.
fn kept(text: &str, reason: &str, largest: usize) -> String {
    let whole = json!({ "reason": reason, "message": text }).to_string();
    if whole.len() <= largest {
        return whole;
    }
    tracing::warn!(
        bytes = text.len(),
        reason,
        "only the beginning of a message is kept for review"
    );
    // A character takes at most 6 bytes in JSON; a reason is short.
    let beginning: String = text.chars().take(largest / 8).collect();
    json!({ "reason": format!("{reason} (the message had {} bytes: this is its beginning)", text.len()),
            "message": beginning })
    .to_string()
}

pub(super) const SUCCEEDED: &str = "a newer message was sent in its place";
pub(super) const AGAIN: &str = "its work was not done yet: a new message takes its place";

pub(super) fn delivered(asked_by: AskedBy) -> String {
    match asked_by {
        AskedBy::Queue => format!(
            "delivered as often as its queue allows, without success, and so were {MOST_REDELIVERIES} new ones; the log of \
             its function says why"
        ),
        AskedBy::Person => {
            "delivered as often as its queue allows, without success, and an operator gave it up; the log of \
                            its function says why"
                .to_owned()
        }
    }
}

/// Whether a message was written before the newest message that was sent in place of another.
pub(super) fn is_older(written: Option<OffsetDateTime>, redelivered: Redeliveries) -> bool {
    match (written, redelivered.last) {
        (Some(written), Some(last)) => written < last,
        _ => false,
    }
}

/// The current time to the microsecond, as messages and the database store it; always after
/// `written`, whose clock may be ahead.
pub(super) fn after(written: Option<OffsetDateTime>) -> OffsetDateTime {
    const TICK: time::Duration = time::Duration::MICROSECOND;
    let now = clock::now();
    let now = now.replace_microsecond(now.microsecond()).unwrap_or(now);
    match written.and_then(|written| written.checked_add(TICK)) {
        Some(next) if next > now => next,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::timestamp;

    #[test]
    fn a_message_is_older_than_its_successor() {
        let old = timestamp::read("2026-11-23T19:00:01.000001");
        let new = after(old);
        assert_eq!(new.nanosecond() % 1000, 0);
        let redelivered = Redeliveries { count: 1, last: Some(new) };
        assert!(is_older(old, redelivered));
        assert!(!is_older(timestamp::read(&timestamp::write_naive(new)), redelivered));
        assert!(!is_older(None, redelivered));
        // A clock that is ahead changes nothing.
        let ahead = clock::now() + time::Duration::minutes(10);
        assert!(after(Some(ahead)) > ahead);
    }
}
