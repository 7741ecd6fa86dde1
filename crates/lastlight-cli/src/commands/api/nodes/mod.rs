//! The nodes of a job whose stages form a graph, in words: their states, how far the job is, and what
//! a user can decide.

mod overview;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use lastlight_api::{
    Stage, StageKind, StageOutcome,
    jobs::{JobStatusAnswer, NodeProgress, StageProgress},
    timestamp,
};

pub(super) use overview::Overview;

use super::short;
use crate::{
    format::{Align, Table, between, count_of_bad, counted, lasting, one_line, plain},
    style::Look,
};

/// Longest name in a table, in characters.
const LONGEST_NAME: usize = 50;

/// Whether the job's stages form a graph.
pub(super) fn is_graph(status: &JobStatusAnswer) -> bool {
    status.progress.iter().any(|stage| stage.node.is_some())
}

/// The names of the nodes, by stage; none for a line.
pub(super) fn names(status: &JobStatusAnswer) -> BTreeMap<Stage, String> {
    let named = |stage: &StageProgress| Some((stage.stage, stage.node.as_ref()?.name.clone()));
    status.progress.iter().filter_map(named).collect()
}

/// The state of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for this number of nodes.
    Waits(i16),
    /// Waits for a user's decision, up to this time if it is not for ever.
    WaitsForDecision(Option<String>),
    /// Waits for another job.
    WaitsForJob(String),
    /// Begins with the next message; or its decision is about to be taken.
    Ready,
    /// Is ready in a paused job.
    Paused,
    Running,
    Ended(StageOutcome),
    /// Its job ended first.
    NotEnded,
}

impl State {
    pub(super) fn of(node: &NodeProgress, stage: &StageProgress, job: &JobStatusAnswer) -> Self {
        if let Some(outcome) = node.outcome {
            return Self::Ended(outcome);
        }
        if job.status.is_terminal() {
            return Self::NotEnded;
        }
        if node.waits_for > 0 {
            return Self::Waits(node.waits_for);
        }
        if node.waits_for_decision {
            return Self::WaitsForDecision(node.decide_until.map(|until| minute(until.0)));
        }
        if let Some(child) = node.child_job_id {
            return Self::WaitsForJob(short(child.as_str()).to_owned());
        }
        let is_begun = stage.planned || stage.total > 0;
        match (node.kind, is_begun, job.paused_since()) {
            (StageKind::Tasks, true, _) => Self::Running,
            (StageKind::Tasks, false, Some(_)) => Self::Paused,
            _ => Self::Ready,
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Waits(nodes) => {
                format!("waits for {}", counted(u64::from(nodes.unsigned_abs()), "node"))
            }
            Self::WaitsForDecision(None) => "waits for a decision".to_owned(),
            Self::WaitsForDecision(Some(until)) => format!("waits for a decision until {until}"),
            Self::WaitsForJob(job) => format!("waits for job {job}"),
            Self::Ready => "ready".to_owned(),
            Self::Paused => "paused".to_owned(),
            Self::Running => "running".to_owned(),
            Self::Ended(outcome) => outcome.as_str().to_owned(),
            Self::NotEnded => "did not end".to_owned(),
        }
    }

    fn look(&self, is_best_effort: bool) -> Look {
        match self {
            Self::Ended(StageOutcome::Completed) => Look::Good,
            Self::Ended(StageOutcome::Failed) if !is_best_effort => Look::Bad,
            Self::Ended(StageOutcome::Failed | StageOutcome::Rejected)
            | Self::WaitsForDecision(_)
            | Self::Paused
            | Self::NotEnded => Look::Warning,
            Self::Ended(StageOutcome::Skipped) | Self::Waits(_) => Look::Faint,
            Self::WaitsForJob(_) | Self::Ready | Self::Running => Look::Plain,
        }
    }
}

/// A time to the minute: `2026-11-30 20:04 UTC`.
fn minute(time: time::OffsetDateTime) -> String {
    let written = timestamp::write(time);
    format!("{} UTC", written.chars().take(16).collect::<String>().replace('T', " "))
}

/// The table of the nodes.
pub(super) fn table(status: &JobStatusAnswer) -> Table {
    let mut table = Table::new([
        ("STAGE", Align::Right),
        ("NODE", Align::Left),
        ("STATE", Align::Left),
        ("DONE", Align::Right),
        ("RUNNING", Align::Right),
        ("FAILED", Align::Right),
        ("SKIPPED", Align::Right),
        ("RATE", Align::Right),
        ("", Align::Left),
    ]);
    for stage in &status.progress {
        let Some(node) = &stage.node else { continue };
        let state = State::of(node, stage, status);
        // Nodes without tasks have no numbers.
        let has_tasks = node.kind == StageKind::Tasks
            && (stage.total > 0 || stage.planned)
            && node.outcome != Some(StageOutcome::Skipped);
        let number = |text: String| if has_tasks { text } else { String::new() };
        let rate = stage.rate_per_second.filter(|_| has_tasks).map(|rate| format!("{rate:.0}/s"));
        let running = stage.running.filter(|_| state == State::Running);
        let failed = if has_tasks { count_of_bad(stage.failed) } else { plain("") };
        table.row([
            plain(stage.stage.to_string()),
            plain(one_line(&node.name, LONGEST_NAME)),
            (state.words(), state.look(node.best_effort)),
            plain(number(format!("{}/{}", stage.done(), stage.total))),
            plain(running.map(|running| running.to_string()).unwrap_or_default()),
            failed,
            plain(number(stage.skipped.to_string())),
            plain(rate.unwrap_or_default()),
            (remarks(stage, node, &state).join(", "), Look::Faint),
        ]);
    }
    table
}

/// Remarks on a node besides its state.
fn remarks(stage: &StageProgress, node: &NodeProgress, state: &State) -> Vec<String> {
    let mut remarks = Vec::new();
    match state {
        State::Ended(StageOutcome::Completed | StageOutcome::Failed)
            if node.kind == StageKind::Tasks =>
        {
            if let (Some(from), Some(to)) = (stage.started_at, stage.finished_at)
                && let Some(took) = between(from.0, to.0)
            {
                remarks.push(format!("took {}", lasting(took)));
            }
        }
        State::Ended(_) if node.kind == StageKind::Gate => remarks.extend(decided_by(node)),
        State::Running => {
            let seconds = stage.eta_seconds.filter(|eta| eta.is_finite() && *eta >= 0.0);
            let left = seconds.and_then(|eta| Duration::try_from_secs_f64(eta).ok());
            remarks.extend(left.map(|left| format!("{} left", lasting(left))));
        }
        _ => {}
    }
    if node.best_effort {
        remarks.push("best effort".to_owned());
    }
    remarks
}

/// Who decided at a gate, and why.
fn decided_by(node: &NodeProgress) -> Option<String> {
    let output = node.output.as_ref()?;
    let part = |name: &str| output.get(name).and_then(serde_json::Value::as_str);
    match (part("by"), part("comment")) {
        (Some(by), Some(comment)) => {
            Some(format!("by {}: {}", one_line(by, 40), one_line(comment, 80)))
        }
        (Some(by), None) => Some(format!("by {}", one_line(by, 40))),
        (None, Some(comment)) => Some(one_line(comment, 80)),
        (None, None) => None,
    }
}

/// The commands that decide at gates which wait now, one line each.
pub(super) fn decisions(status: &JobStatusAnswer) -> Vec<String> {
    let waiting = status.progress.iter().filter_map(|stage| stage.node.as_ref());
    waiting
        .filter(|node| node.waits_for_decision)
        .map(|node| {
            format!(
                "lastlight gate {} {} approve|reject decides at the gate.",
                short(status.job_id.as_str()),
                argument(&node.name)
            )
        })
        .collect()
}

/// A name as an argument in a shell.
fn argument(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    if name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

/// The line of a node in the output of `watch`; `None` while there is nothing to say of it.
pub(super) fn line(stage: &StageProgress, status: &JobStatusAnswer) -> Option<String> {
    let node = stage.node.as_ref()?;
    let state = State::of(node, stage, status);
    if matches!(state, State::Waits(_) | State::Ready | State::NotEnded) {
        return None;
    }
    let mut parts = vec![state.words()];
    parts.extend(numbers(stage, node));
    parts.extend(remarks(stage, node, &state));
    Some(format!("node {}: {}", one_line(&node.name, LONGEST_NAME), parts.join(", ")))
}

/// The numbers of a node's tasks.
fn numbers(stage: &StageProgress, node: &NodeProgress) -> Vec<String> {
    if node.kind != StageKind::Tasks || stage.total == 0 {
        return Vec::new();
    }
    let mut parts = vec![format!("{} of {} tasks done", stage.done(), stage.total)];
    for (count, what) in [(stage.failed, "failed"), (stage.skipped, "skipped")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts
}

/// The message beside a node's bar.
pub(super) fn message(stage: &StageProgress, node: &NodeProgress, job: &JobStatusAnswer) -> String {
    let state = State::of(node, stage, job);
    let mut parts = vec![state.words()];
    parts.extend(numbers(stage, node).into_iter().skip(1));
    parts.extend(remarks(stage, node, &state));
    parts.join(", ")
}

/// Whether a line on the node is due at once: it has ended, or waits for a user.
pub(super) fn is_due(stage: &StageProgress) -> bool {
    let is_due = |node: &NodeProgress| node.outcome.is_some() || node.waits_for_decision;
    stage.node.as_ref().is_some_and(is_due)
}
