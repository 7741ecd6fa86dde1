//! A job whose stages form a graph: each node began once, after all nodes that it depends on, and came to
//! what the job's parameters and the decisions at its gates determine.

use std::{collections::BTreeMap, time::Duration};

use lastlight_engine::model::{GateDecision, JobStatus, StageOutcome, TaskStatus};
use serde_json::{Map, Value, json};

use super::{
    Judgement, Promise,
    shared::{Judge, Rules},
};
use crate::{
    graph_work::{ExpectedNode, GraphWork, NodeKind},
    ledger::{JobRuns, TaskKey},
    recorder::{GraphFacts, NodeChange, NodeFacts},
};

/// A job of the type `graph` and what is expected of it.
#[derive(Debug, Clone)]
pub struct ExpectedGraph {
    pub job_id: String,
    pub work: GraphWork,
    /// What its nodes must come to, in order.
    pub nodes: Vec<ExpectedNode>,
    /// The longest duration allowed.
    pub within: Duration,
    /// The job may have been retried, and the jobs that it waits for.
    pub may_be_reopened: bool,
}

impl ExpectedGraph {
    /// The jobs that it must have submitted.
    ///
    /// # Errors
    /// A job cannot be written as JSON.
    pub fn children(&self) -> Result<Vec<Self>, serde_json::Error> {
        let mut children = Vec::new();
        for (node, expected) in self.work.nodes.iter().zip(&self.nodes) {
            let (Some(child), Some(nodes)) = (&node.child, &expected.child) else { continue };
            children.push(Self {
                job_id: child.job_id()?,
                work: child.as_ref().clone(),
                nodes: nodes.clone(),
                ..*self
            });
        }
        Ok(children)
    }
}

/// Judges a job of the type `graph`; not the jobs that it waits for.
pub fn judge_graph(expected: &ExpectedGraph, facts: &GraphFacts, runs: &JobRuns) -> Judgement {
    let rules = Rules {
        tag: &expected.work.tag,
        begins: if begins_without_messages(&expected.work) {
            JobStatus::Processing
        } else {
            JobStatus::Queued
        },
        end: expected.work.status_of(&expected.nodes),
        within: expected.within,
        may_be_reopened: expected.may_be_reopened,
    };
    let mut graph = Graph { expected, facts, shared: Judge::new(rules, &facts.job, runs) };
    graph.shared.end();
    graph.outcomes();
    graph.tasks();
    graph.shared.open_tasks();
    graph.shared.transitions();
    graph.shared.advances();
    graph.once();
    graph.order();
    graph.gates();
    graph.jobs();
    graph.shared.counters();
    graph.results();
    graph.shared.ledger();
    graph.shared.judgement()
}

/// Whether a node is ready at once that needs no message, so that the job is being processed from the
/// beginning.
fn begins_without_messages(work: &GraphWork) -> bool {
    let mut nodes = work.nodes.iter().enumerate();
    nodes.any(|(place, node)| node.kind != NodeKind::Tasks && work.dependencies(place).is_empty())
}

struct Graph<'a> {
    expected: &'a ExpectedGraph,
    facts: &'a GraphFacts,
    shared: Judge<'a>,
}

/// A node that should be and is.
struct One<'a> {
    place: usize,
    name: &'a str,
    kind: NodeKind,
    expected: &'a ExpectedNode,
    facts: &'a NodeFacts,
}

impl One<'_> {
    fn count(&self, counts: impl Fn(&NodeChange) -> bool) -> usize {
        self.facts.changes.iter().filter(|(_, change)| counts(change)).count()
    }

    /// How often a retry of its job reopened it.
    fn reopened(&self) -> usize {
        self.count(|change| *change == NodeChange::Reopened)
    }

    /// When it ended first, with an outcome that `counts`; after all time if it did not.
    fn ended(&self, counts: impl Fn(StageOutcome) -> bool) -> i64 {
        let mut changes = self.facts.changes.iter();
        let end = changes
            .find(|(_, change)| matches!(change, NodeChange::Ended(outcome) if counts(*outcome)));
        end.map_or(i64::MAX, |(at, _)| *at)
    }

    fn is_skipped(&self) -> bool {
        self.expected.outcome == Some(StageOutcome::Skipped)
    }
}

/// The number of the stage at a place; a graph has at most 100.
fn number(place: usize) -> u8 {
    u8::try_from(place + 1).unwrap_or(u8::MAX)
}

impl<'a> Graph<'a> {
    fn nodes(&self) -> Vec<One<'a>> {
        let Self { expected, facts, .. } = self;
        let planned = expected.work.nodes.iter().zip(&expected.nodes).enumerate();
        let one = |(place, (node, expected)): (usize, (&'a crate::graph_work::Node, _))| {
            let facts = facts.nodes.get(&number(place))?;
            Some(One { place, name: &node.name, kind: node.kind, expected, facts })
        };
        planned.filter_map(one).collect()
    }

    fn outcomes(&mut self) {
        let names: Vec<&str> = self.facts.nodes.values().map(|node| node.name.as_str()).collect();
        let wanted: Vec<&str> =
            self.expected.work.nodes.iter().map(|node| node.name.as_str()).collect();
        if names != wanted {
            let detail = format!("the nodes are {names:?}; expected {wanted:?}");
            self.shared.breaks(Promise::NothingLost, detail);
        }
        let wrong: Vec<_> = self
            .nodes()
            .iter()
            .filter(|node| node.facts.outcome != node.expected.outcome)
            .map(|node| (node.name, node.facts.outcome, node.expected.outcome))
            .collect();
        self.shared.breaks_for(
            Promise::NothingLost,
            "nodes with another outcome than expected (node, found, expected)",
            &wrong,
        );
    }

    /// Each task of each node that ran is there, was planned once, and has its outcome; no other task
    /// is there.
    fn tasks(&mut self) {
        let mut planned: BTreeMap<TaskKey, TaskStatus> = BTreeMap::new();
        for (place, node) in self.expected.nodes.iter().enumerate() {
            for (task, value) in (0..).zip(&node.values) {
                let status =
                    if value.is_some() { TaskStatus::Completed } else { TaskStatus::Failed };
                planned.insert((number(place), task), status);
            }
        }
        let facts = &self.facts.job;
        let missing: Vec<_> = planned.keys().filter(|key| !facts.tasks.contains_key(key)).collect();
        self.shared.breaks_for(Promise::NothingLost, "planned tasks have no row", &missing);
        let extra: Vec<_> = facts.tasks.keys().filter(|key| !planned.contains_key(key)).collect();
        self.shared.breaks_for(Promise::NothingTwice, "tasks that were not planned", &extra);
        self.shared.breaks_for(
            Promise::NothingTwice,
            "tasks that were not planned",
            &facts.strangers,
        );
        let wrong: Vec<_> = facts
            .tasks
            .iter()
            .filter(|(key, task)| {
                task.status.is_terminal()
                    && planned.get(key).is_some_and(|status| *status != task.status)
            })
            .map(|(key, task)| (key, task.status))
            .collect();
        self.shared.breaks_for(
            Promise::NothingLost,
            "tasks with another outcome than their parameters determine",
            &wrong,
        );
        let again: Vec<_> = facts
            .writes
            .iter()
            .filter(|(_, writes)| writes.iter().filter(|write| write.from.is_none()).count() > 1)
            .map(|(key, _)| key)
            .collect();
        self.shared.breaks_for(Promise::NothingTwice, "tasks that were planned twice", &again);
    }

    /// Each node became ready, was planned and ended exactly once; once more for each time that it
    /// was reopened, at most.
    fn once(&mut self) {
        let mut wrong = Vec::new();
        for node in self.nodes() {
            let is_first = self.expected.work.dependencies(node.place).is_empty();
            let is_decided_at_once = is_first && node.kind == NodeKind::Decision;
            let reopened = node.reopened();
            let counts = [
                ("ready", node.count(|change| *change == NodeChange::Ready), !is_first),
                // A decision that waits for nothing is planned when the job is stored.
                (
                    "planned",
                    node.count(|change| *change == NodeChange::Planned),
                    !is_decided_at_once,
                ),
                ("ended", node.count(|change| matches!(change, NodeChange::Ended(_))), true),
            ];
            for (what, count, is_once) in counts {
                let once = usize::from(is_once);
                if !(once..=once + reopened).contains(&count) {
                    wrong.push((node.name, what, count, reopened));
                }
            }
        }
        self.shared.breaks_for(
            Promise::StagesInTurn,
            "nodes that did not begin and end once (node, what, how often, reopened)",
            &wrong,
        );
    }

    /// Nothing of a node may begin, by the database or by the ledger, before the end of every node
    /// that it depends on; and no task before the nodes that it needs have completed.
    fn order(&mut self) {
        let nodes = self.nodes();
        let mut early = Vec::new();
        for node in &nodes {
            let (mut ended, mut completed) = (i64::MIN, i64::MIN);
            let names = &self.expected.work.nodes[node.place].needs;
            for before in self.expected.work.dependencies(node.place) {
                let Some(before) = nodes.iter().find(|one| one.place == before) else { continue };
                let end = before.ended(|_| true);
                ended = ended.max(end);
                let is_needed = names.iter().any(|name| name == before.name);
                let met = before.ended(|outcome| outcome == StageOutcome::Completed);
                completed = completed.max(if is_needed { met } else { end });
            }
            for (at, change) in &node.facts.changes {
                let after = match change {
                    NodeChange::Ready | NodeChange::Planned | NodeChange::Ended(_) => ended,
                    NodeChange::Decided(_) | NodeChange::Child(_) => completed,
                    NodeChange::Reopened => continue,
                };
                if *at < after {
                    early.push((node.name, format!("{change:?}")));
                }
            }
            let of_node = |key: &TaskKey| key.0 == number(node.place);
            let facts = &self.facts.job;
            let writes = facts.writes.iter().filter(|(key, _)| of_node(key));
            let begins = writes.flat_map(|(key, writes)| {
                let begins = writes.iter().filter(|write| {
                    write.from.is_none() || write.to == Some(TaskStatus::Processing)
                });
                begins.map(move |write| (key, write.at, "in the database"))
            });
            let runs = self.shared.runs.iter().filter(|(key, _)| of_node(key));
            let runs = runs.flat_map(|(key, runs)| {
                runs.iter().map(move |run| (key, run.began, "in the ledger"))
            });
            for (key, at, whence) in begins.chain(runs) {
                if at < completed {
                    early.push((node.name, format!("task {} {whence}", key.1)));
                }
            }
        }
        self.shared.breaks_for(
            Promise::StagesInTurn,
            "nodes of which something began before all nodes before them had ended",
            &early,
        );
    }

    /// Each gate that was reached has one decision, taken after it was reached, and its result.
    fn gates(&mut self) {
        let mut wrong = Vec::new();
        for node in self.nodes().iter().filter(|node| node.kind == NodeKind::Gate) {
            let decided = node.count(|change| matches!(change, NodeChange::Decided(_)));
            let once = usize::from(!node.is_skipped());
            let found = (&node.facts.output["decision"], node.facts.output["result"].as_u64());
            let decision = node.expected.outcome.and_then(decision_of);
            let result = found.1.unwrap_or_default();
            if !(once..=once + node.reopened()).contains(&decided)
                || *found.0 != json!(decision)
                || result != node.expected.output
            {
                wrong.push((node.name, decided, found, (decision, node.expected.output)));
            }
        }
        self.shared.breaks_for(
            Promise::NothingTwice,
            "gates without their one decision (node, decisions, found, expected)",
            &wrong,
        );
    }

    /// Each node that waited for a job waited for its own, and says how it ended.
    fn jobs(&mut self) {
        let mut wrong = Vec::new();
        for node in self.nodes().iter().filter(|node| node.kind == NodeKind::Job) {
            let child = self.expected.work.nodes[node.place].child.as_ref();
            let child = child.filter(|_| node.expected.child.is_some());
            let wanted = child.and_then(|child| child.job_id().ok());
            let mut others = node.facts.changes.iter().filter(|(_, change)| {
                matches!(change, NodeChange::Child(found) if Some(found) != wanted.as_ref())
            });
            let completed = node.expected.outcome == Some(StageOutcome::Completed);
            let success = wanted.as_ref().map(|_| completed);
            if node.facts.child_job_id != wanted
                || others.next().is_some()
                || node.facts.output["success"] != json!(success)
            {
                wrong.push((node.name, &node.facts.child_job_id, wanted, &node.facts.output));
            }
        }
        self.shared.breaks_for(
            Promise::NothingTwice,
            "nodes that did not wait for their job (node, found, expected, output)",
            &wrong,
        );
    }

    /// Each result was added up once, in the node's summary and in the result of the job.
    fn results(&mut self) {
        let mut wrong = Vec::new();
        let (mut outcomes, mut summaries) = (Map::new(), Map::new());
        for node in self.nodes() {
            let mut wanted = Value::Null;
            match (node.kind, node.expected.outcome) {
                (NodeKind::Tasks, Some(StageOutcome::Completed | StageOutcome::Failed)) => {
                    let (count, sum) = (node.expected.completed(), node.expected.sum());
                    wanted = json!({ "count": count, "sum": sum });
                    if node.facts.result["summary"] != wanted {
                        wrong.push((node.name, node.facts.result.clone(), wanted.clone()));
                    }
                }
                (NodeKind::Decision, Some(StageOutcome::Completed)) => {
                    let output = json!(node.expected.output);
                    if node.facts.output["value"] != output {
                        wrong.push((node.name, node.facts.output.clone(), output));
                    }
                }
                _ => {}
            }
            outcomes.insert(node.name.to_owned(), json!(node.expected.outcome));
            summaries.insert(node.name.to_owned(), wanted);
        }
        if self.facts.job.status == JobStatus::Completed {
            let wanted = [Value::Object(outcomes), Value::Object(summaries)];
            for (what, wanted) in ["outcomes", "summaries"].into_iter().zip(wanted) {
                if self.facts.result[what] != wanted {
                    wrong.push((what, self.facts.result[what].clone(), wanted));
                }
            }
        }
        self.shared.breaks_for(
            Promise::CountersAgree,
            "results that differ from what follows from the parameters (of, found, expected)",
            &wrong,
        );
    }
}

/// The decision at a gate with this outcome.
fn decision_of(outcome: StageOutcome) -> Option<GateDecision> {
    match outcome {
        StageOutcome::Completed => Some(GateDecision::Approve),
        StageOutcome::Rejected => Some(GateDecision::Reject),
        StageOutcome::Failed => Some(GateDecision::Fail),
        StageOutcome::Skipped => None,
    }
}
