//! What every node of a graph must come to, which follows from its parameters and from what is decided
//! at its gates; also after the job failed, was repaired, and was retried.

use std::collections::{BTreeMap, BTreeSet};

use lastlight_engine::model::{GateDecision, JobStatus, StageOutcome};
use serde_json::Value;

use super::{GraphWork, Node, NodeKind, reduced, value};

/// What a user decides at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateAnswer {
    pub decision: GateDecision,
    /// The number that is sent as the decision's data.
    pub value: u64,
}

/// The decisions at gates, by name. They hold for the gates of the jobs that a job waits for too.
pub type Answers = BTreeMap<String, GateAnswer>;

/// What a node must come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedNode {
    /// `None`: it waits for a decision that nobody takes, or for a node that does.
    pub outcome: Option<StageOutcome>,
    /// The value of each task, by number; `None` for one that fails. Empty if it does not run.
    pub values: Vec<Option<u64>>,
    /// What its dependents receive of it.
    pub output: u64,
    /// What the nodes of the job for which it waits must come to; `None` if it submits none.
    pub child: Option<Vec<ExpectedNode>>,
    /// The places of the dependents that a decision chooses.
    chosen: Option<BTreeSet<usize>>,
}

impl ExpectedNode {
    fn ending(outcome: StageOutcome) -> Self {
        Self { outcome: Some(outcome), ..Self::default() }
    }

    /// Number of tasks that complete.
    pub fn completed(&self) -> u64 {
        self.values.iter().flatten().count() as u64
    }

    /// Number of tasks that fail.
    pub fn failed(&self) -> u64 {
        self.values.len() as u64 - self.completed()
    }

    /// The sum of the values of its tasks.
    pub fn sum(&self) -> u64 {
        self.values.iter().flatten().sum()
    }
}

impl GraphWork {
    /// What every node must come to, in order, if gates are decided like this. A gate with a timeout
    /// and without an answer is left until its time has passed.
    pub fn expected(&self, answers: &Answers) -> Vec<ExpectedNode> {
        let mut ended: Vec<ExpectedNode> = Vec::new();
        for place in 0..self.nodes.len() {
            let one = self.expected_node(place, &ended, answers);
            ended.push(one);
        }
        ended
    }

    /// What every node must come to after all: the nodes came to this `before`, then the job was
    /// repaired, with the jobs for which it waits, and retried. What failed runs again, unless it was
    /// best effort; what was skipped because of it waits again; all else stays as it is.
    ///
    /// This follows from the parameters only if a node that fails reads no result, and a decision that
    /// fails follows no node: what they read might be running again too.
    pub fn expected_after_retry(
        &self,
        before: &[ExpectedNode],
        answers: &Answers,
    ) -> Vec<ExpectedNode> {
        let repaired = self.without_failures();
        let mut after: Vec<ExpectedNode> = Vec::new();
        let mut runs_again = BTreeSet::new();
        for (place, (node, was)) in self.nodes.iter().zip(before).enumerate() {
            let one = match was.outcome {
                Some(StageOutcome::Failed) if !node.best_effort => {
                    runs_again.insert(place);
                    match (node.kind, &node.child, &was.child) {
                        // Its plan is kept, with what the node received at first.
                        (NodeKind::Tasks, ..) => repaired.expected_tasks(place, before),
                        (NodeKind::Job, Some(child), Some(was)) => {
                            expected_of_child(child, child.expected_after_retry(was, answers))
                        }
                        _ => repaired.expected_node(place, &after, answers),
                    }
                }
                Some(StageOutcome::Skipped)
                    if self.dependencies(place).iter().any(|one| runs_again.contains(one)) =>
                {
                    runs_again.insert(place);
                    repaired.expected_node(place, &after, answers)
                }
                _ => was.clone(),
            };
            after.push(one);
        }
        after
    }

    /// What a node must come to if the nodes before it `ended` like this.
    fn expected_node(
        &self,
        place: usize,
        ended: &[ExpectedNode],
        answers: &Answers,
    ) -> ExpectedNode {
        let node = &self.nodes[place];
        let before: Vec<(usize, &ExpectedNode)> =
            self.dependencies(place).into_iter().map(|before| (before, &ended[before])).collect();
        if before.iter().any(|(_, before)| before.outcome.is_none()) {
            return ExpectedNode::default();
        }
        let is_unmet = before.iter().any(|(before, expected)| {
            let is_needed = node.needs.contains(&self.nodes[*before].name);
            is_needed && expected.outcome != Some(StageOutcome::Completed)
                || expected.chosen.as_ref().is_some_and(|chosen| !chosen.contains(&place))
        });
        if is_unmet {
            return ExpectedNode::ending(StageOutcome::Skipped);
        }
        match node.kind {
            NodeKind::Tasks => self.expected_tasks(place, ended),
            NodeKind::Decision if !node.fails.is_empty() => {
                ExpectedNode::ending(StageOutcome::Failed)
            }
            NodeKind::Decision => {
                let input = self.expected_input(place, ended);
                ExpectedNode {
                    output: input,
                    chosen: Some(node.chooses.of(self, &self.dependents(place), input)),
                    ..ExpectedNode::ending(StageOutcome::Completed)
                }
            }
            NodeKind::Gate => expected_gate(node, answers),
            NodeKind::Job => match &node.child {
                Some(child) => expected_of_child(child, child.expected(answers)),
                None => ExpectedNode::ending(StageOutcome::Failed),
            },
        }
    }

    /// What a node receives of the nodes that it depends on.
    fn expected_input(&self, place: usize, ended: &[ExpectedNode]) -> u64 {
        let before = self.dependencies(place);
        reduced(
            before.into_iter().filter_map(|before| ended.get(before)).map(|one| one.output).sum(),
        )
    }

    fn expected_tasks(&self, place: usize, ended: &[ExpectedNode]) -> ExpectedNode {
        let node = &self.nodes[place];
        if node.plan_fails {
            return ExpectedNode::ending(StageOutcome::Failed);
        }
        let input = self.expected_input(place, ended);
        let read = node.reads.as_ref().and_then(|name| ended.get(self.place(name)?));
        let of_task = |number: u64| {
            let read = read
                .filter(|read| !read.values.is_empty())
                .and_then(|read| read.values[(number % read.values.len() as u64) as usize]);
            (!node.fails.contains(&number)).then(|| value(place as u64 + 1, number, input, read))
        };
        let values: Vec<Option<u64>> = (0..node.tasks).map(of_task).collect();
        let mut expected = ExpectedNode { values, ..ExpectedNode::default() };
        expected.output = reduced(expected.sum());
        expected.outcome = Some(if expected.failed() > node.tolerates {
            StageOutcome::Failed
        } else {
            StageOutcome::Completed
        });
        expected
    }

    /// How the job must end: `completed` or `failed`; `None`: it waits for a decision that nobody
    /// takes.
    pub fn expected_status(&self, answers: &Answers) -> Option<&'static str> {
        self.status_of(&self.expected(answers)).map(JobStatus::as_str)
    }

    /// How the job must end whose nodes come to this.
    pub fn status_of(&self, expected: &[ExpectedNode]) -> Option<JobStatus> {
        if expected.iter().any(|node| node.outcome.is_none()) {
            return None;
        }
        let fails = self.nodes.iter().zip(expected).any(|(node, expected)| {
            expected.outcome == Some(StageOutcome::Failed) && !node.best_effort
        });
        Some(if fails { JobStatus::Failed } else { JobStatus::Completed })
    }

    /// In what the answer to a status request of the finished job differs from what every node must
    /// have come to; empty if in nothing.
    pub fn differences(&self, answers: &Answers, status: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: String, found: &Value, expected: Value| {
            if *found != expected {
                differences.push(format!("{what} is {found}, not {expected}"));
            }
        };
        compare(
            "the job's status".to_owned(),
            &status["status"],
            self.expected_status(answers).into(),
        );
        for (place, (node, expected)) in self.nodes.iter().zip(self.expected(answers)).enumerate() {
            let progress = &status["progress"][place];
            let of = |what: &str| format!("{} of {}", what, node.name);
            let outcome = expected.outcome.map(StageOutcome::as_str);
            compare(of("the name"), &progress["node"]["name"], node.name.as_str().into());
            compare(of("the outcome"), &progress["node"]["outcome"], outcome.into());
            for (field, count) in
                [("completed", expected.completed()), ("failed", expected.failed())]
            {
                compare(of(field), &progress[field], count.into());
            }
            let summary = &status["stageResults"][(place + 1).to_string()]["summary"];
            if node.kind == NodeKind::Tasks && outcome != Some("skipped") && outcome.is_some() {
                compare(of("the sum"), &summary["sum"], expected.sum().into());
            }
            if node.kind == NodeKind::Decision && outcome == Some("completed") {
                compare(
                    of("the output"),
                    &progress["node"]["output"]["value"],
                    expected.output.into(),
                );
            }
        }
        differences
    }
}

fn expected_gate(node: &Node, answers: &Answers) -> ExpectedNode {
    let in_time = node.timeout.map(|(_, decision)| GateAnswer { decision, value: 0 });
    let Some(GateAnswer { decision, value }) = answers.get(&node.name).copied().or(in_time) else {
        return ExpectedNode::default();
    };
    let outcome = match decision {
        GateDecision::Approve => StageOutcome::Completed,
        GateDecision::Reject => StageOutcome::Rejected,
        GateDecision::Fail => StageOutcome::Failed,
    };
    ExpectedNode { output: reduced(value), ..ExpectedNode::ending(outcome) }
}

/// What the node must come to whose job comes to this.
fn expected_of_child(child: &GraphWork, expected: Vec<ExpectedNode>) -> ExpectedNode {
    let (outcome, output) = match child.status_of(&expected) {
        None => (None, 0),
        Some(JobStatus::Completed) => {
            let sum = expected.iter().map(ExpectedNode::sum).sum();
            (Some(StageOutcome::Completed), reduced(sum))
        }
        Some(_) => (Some(StageOutcome::Failed), 0),
    };
    ExpectedNode { outcome, output, child: Some(expected), ..ExpectedNode::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph_work::Choice;

    fn outcomes(work: &GraphWork, answers: &Answers) -> Vec<Option<&'static str>> {
        assert_eq!(work.problem(), None);
        let expected = work.expected(answers);
        expected.iter().map(|node| node.outcome.map(StageOutcome::as_str)).collect()
    }

    #[test]
    fn a_failure_skips_what_needs_it_and_nothing_else() {
        let work = GraphWork::new(
            "t",
            [
                Node::tasks("a", 2).fails([1]),
                Node::tasks("b", 1).needs(["a"]),
                Node::tasks("c", 1).needs(["b"]),
                Node::tasks("d", 3).follows(["c"]),
            ],
        );
        let expected = [Some("failed"), Some("skipped"), Some("skipped"), Some("completed")];
        assert_eq!(outcomes(&work, &Answers::new()), expected);
        assert_eq!(work.expected_status(&Answers::new()), Some("failed"));
        let repaired = work.without_failures();
        assert_eq!(repaired.expected_status(&Answers::new()), Some("completed"));
    }

    #[test]
    fn a_gate_without_an_answer_leaves_the_job_open() {
        let work = GraphWork::new(
            "t",
            [Node::gate("ask"), Node::tasks("then", 1).needs(["ask"]), Node::tasks("beside", 1)],
        );
        assert_eq!(outcomes(&work, &Answers::new()), [None, None, Some("completed")]);
        let rejected = GateAnswer { decision: GateDecision::Reject, value: 0 };
        let answers = Answers::from([("ask".to_owned(), rejected)]);
        let expected = [Some("rejected"), Some("skipped"), Some("completed")];
        assert_eq!(outcomes(&work, &answers), expected);
        assert_eq!(work.expected_status(&answers), Some("completed"));
    }

    #[test]
    fn values_depend_on_every_node_before() {
        let sum = |first: u64| {
            let work = GraphWork::new(
                "t",
                [
                    Node::tasks("a", first),
                    Node::decision("choose", Choice::ByInput).needs(["a"]),
                    Node::tasks("b", 2).needs(["choose"]).reads("a"),
                ],
            );
            work.expected(&Answers::new())[2].sum()
        };
        assert_ne!(sum(1), sum(2));
        assert_eq!(sum(3), sum(3));
    }

    #[test]
    fn a_job_that_fails_fails_the_node_that_waits_for_it() {
        let child = GraphWork::new("c", [Node::tasks("c1", 2).fails([1]), Node::tasks("c2", 3)]);
        let nodes = [
            Node::job("wait", child),
            Node::tasks("then", 1).needs(["wait"]),
            Node::tasks("anyway", 1).follows(["wait"]),
        ];
        let work = GraphWork::new("t", nodes);
        let expected = [Some("failed"), Some("skipped"), Some("completed")];
        assert_eq!(outcomes(&work, &Answers::new()), expected);
        let repaired = work.without_failures().expected(&Answers::new());
        let child = repaired[0].child.as_ref().unwrap();
        assert_eq!(repaired[0].output, reduced(child[0].sum() + child[1].sum()));
        assert_eq!(work.tags(), BTreeSet::from(["c", "t"]));
    }

    #[test]
    fn a_retry_runs_again_what_failed_and_what_was_skipped_because_of_it() {
        let child = GraphWork::new("c", [Node::tasks("c1", 1).fails([0])]);
        let nodes = [
            Node::tasks("a", 2).fails([0]),
            Node::tasks("b", 1).needs(["a"]),
            Node::tasks("c", 1).follows(["a"]),
            Node::tasks("tried", 1).fails([0]).best_effort(),
            Node::tasks("after", 1).needs(["tried"]),
            Node::job("wait", child).needs(["b"]),
        ];
        let work = GraphWork::new("t", nodes);
        let before = work.expected(&Answers::new());
        let after = work.expected_after_retry(&before, &Answers::new());
        let outcomes: Vec<_> =
            after.iter().map(|node| node.outcome.map(StageOutcome::as_str)).collect();
        let expected = ["completed", "completed", "completed", "failed", "skipped", "completed"];
        assert_eq!(outcomes, expected.map(Some));
        let whole = work.without_failures().expected(&Answers::new());
        assert_eq!(after[1], whole[1], "it waited for the repaired one");
        assert_eq!(after[2], before[2], "it ran after the failed one, and is done");
        assert_ne!(after[2].sum(), whole[2].sum());
        assert!(before[5].child.is_none() && after[5].child.is_some());
        assert_eq!(work.status_of(&after), Some(JobStatus::Completed));
    }
}
