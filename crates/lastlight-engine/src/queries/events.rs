//! The events of a job, each with its sentence.

use lastlight_api::events::{JobEvent, JobEvents};
use serde_json::{Value, value::RawValue};

use super::Queries;
use crate::{
    model::{JobId, Stage, Timestamp},
    store::{LARGEST_PAGE, StoredEvent},
    workflow::ControllerError,
};

impl Queries {
    /// Up to `limit` events of a job after the event `after`, in order, and the event after which the list continues,
    /// if there may be more.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn events(
        &self,
        job_id: &JobId,
        after: i64,
        limit: u16,
    ) -> Result<(JobEvents, Option<i64>), ControllerError> {
        let jobs = self.0.database.jobs();
        let stored = jobs.events(job_id, after, i64::from(limit) + 1).await?;
        if stored.is_empty() && jobs.get(job_id).await?.is_none() {
            return Err(ControllerError::UnknownJob { job_id: *job_id });
        }
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut has_more = false;
        for event in stored {
            bytes += event.detail.as_ref().map_or(0, |detail| detail.0.get().len());
            if events.len() == usize::from(limit) || bytes > LARGEST_PAGE && !events.is_empty() {
                has_more = true;
                break;
            }
            events.push(described(event));
        }
        let next = events.last().map(|event| event.event_id).filter(|_| has_more);
        Ok((JobEvents { job_id: *job_id, events, next_cursor: None }, next))
    }
}

/// What the sentence of an event is made of.
#[derive(Debug, Clone, Copy)]
pub struct EventFacts<'a> {
    pub kind: &'a str,
    pub run: i32,
    pub stage: Option<Stage>,
    /// The name of the stage in a graph.
    pub node: Option<&'a str>,
    pub detail: Option<&'a RawValue>,
    pub amount: Option<i64>,
}

fn described(event: StoredEvent) -> JobEvent {
    let message = sentence(EventFacts {
        kind: &event.kind,
        run: event.run,
        stage: event.stage,
        node: event.node.as_deref(),
        detail: event.detail.as_ref().map(|detail| &*detail.0),
        amount: event.amount,
    });
    JobEvent {
        event_id: event.event_id,
        happened_at: Timestamp(event.happened_at),
        run: event.run,
        stage: event.stage,
        node: event.node,
        kind: event.kind,
        message,
        requested_by: event.requested_by,
        reason: event.reason,
        detail: event.detail.map(Into::into),
        times: event.times,
        last_at: event.last_at.map(Timestamp),
    }
}

/// An event as a sentence.
pub fn sentence(event: EventFacts<'_>) -> String {
    let detail: Value =
        event.detail.and_then(|detail| serde_json::from_str(detail.get()).ok()).unwrap_or_default();
    let text = |field: &str| detail[field].as_str().unwrap_or("unknown").to_owned();
    let number = |field: &str| detail[field].as_u64().unwrap_or_default();
    let stage = match (event.stage, event.node) {
        (Some(_), Some(node)) => format!("Node {node}"),
        (Some(stage), None) => format!("Stage {stage}"),
        (None, _) => "The job".to_owned(),
    };
    let error = detail["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
    let amount = event.amount.unwrap_or_default();
    match event.kind {
        "job_submitted" if detail["is_child"] == true => {
            format!("Another job submitted the job, on the path {}.", text("path"))
        }
        "job_submitted" => format!("The job was submitted, on the path {}.", text("path")),
        "job_retried" => format!("The job, which was {}, was retried.", text("from")),
        "job_resubmitted" => {
            format!("Run {} began; run {} was {}.", event.run, event.run - 1, text("status"))
        }
        "pause_requested" => "A pause was requested.".to_owned(),
        "pause_withdrawn" => "The request to pause was withdrawn.".to_owned(),
        "job_paused" => "The job was paused.".to_owned(),
        "job_resumed" => "The job was resumed.".to_owned(),
        "job_completed" => format!("The job completed{error}."),
        "job_failed" => format!("The job failed{error}."),
        "job_cancelled" => format!("The job was cancelled{error}."),
        "resubmission_requested" => "The job was marked to run again.".to_owned(),
        "deletion_started" => "The job was marked for deletion.".to_owned(),
        "job_archived" => format!(
            "Run {} was archived as {}, with {} tasks, in {} bytes; SHA-256 {}.",
            event.run,
            text("blob"),
            number("tasks"),
            number("bytes"),
            text("sha256"),
        ),
        "stage_started" => format!("{stage} started."),
        "stage_planned" => format!("{stage} was planned: tasks: {}.", number("tasks")),
        "stage_ended" => format!(
            "{stage} ended{}: {} completed, {} failed, {} skipped.",
            detail["outcome"].as_str().map(|outcome| format!(" as {outcome}")).unwrap_or_default(),
            number("completed"),
            number("failed"),
            number("skipped"),
        ),
        "stage_reopened" => format!("{stage} was reopened."),
        "tasks_retried" => {
            format!("{stage}: tasks that run again, as a user asked: {}.", number("tasks"))
        }
        "tasks_skipped" => format!("{stage}: tasks that a user skipped: {}.", number("tasks")),
        "gate_waiting" => format!("{stage} waits for a decision."),
        "gate_decided" => format!("{stage} was decided: {}.", text("decision")),
        "child_submitted" => format!("{stage} waits for the job {}.", text("job_id")),
        "messages_resent" => {
            format!("{stage}: messages that were presumed lost are sent again: {amount}.")
        }
        "planning_resumed" => {
            format!(
                "{stage}: its job message was presumed lost, or its planner died; it is planned again."
            )
        }
        "attempts_presumed_dead" => {
            format!("{stage}: attempts whose lease expired; their tasks are due again: {amount}.")
        }
        "counters_repaired" => format!("{stage}: its counters were repaired."),
        // Of a newer version of the app.
        other => format!("{stage}: {other}."),
    }
}
