//! Random graphs for scenario 20. From the same generator comes the same graph, with what is decided at its
//! gates. Nothing here runs anything.

use std::collections::BTreeSet;

use lastlight_engine::model::{GateDecision, TasksPerMessage};
use lastlight_testing::graph_work::{Answers, Choice, GateAnswer, GraphWork, Node, NodeKind};

/// How deep jobs wait for jobs: a job's child may have a child.
const DEEPEST: usize = 2;

/// A gate that waits for a decision.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// The id of its job.
    pub(super) job_id: String,
    pub(super) name: String,
    /// The decisions that are sent: one, or two that contradict each other and are sent at once.
    pub(super) sent: Vec<GateAnswer>,
}

/// Draws graphs, one after the other.
pub(super) struct Drawing {
    random: fastrand::Rng,
    gates: Vec<(String, GateAnswer, bool)>,
    /// Whether tasks and decisions may fail in what is drawn now.
    may_fail: bool,
    children: usize,
}

/// A graph, and the gates of it and of the jobs for which it waits.
pub(super) struct Drawn {
    pub(super) work: GraphWork,
    pub(super) gates: Vec<Gate>,
}

impl Drawing {
    pub(super) fn new(random: fastrand::Rng) -> Self {
        Self { random, gates: Vec::new(), may_fail: true, children: 0 }
    }

    /// A graph of this number of nodes.
    ///
    /// # Errors
    /// A job cannot be written as JSON.
    pub(super) fn graph(
        mut self,
        tag: &str,
        use_service_bus: bool,
        nodes: usize,
    ) -> Result<Drawn, serde_json::Error> {
        let work = self.draw(tag, use_service_bus, nodes, DEEPEST);
        let mut gates = Vec::new();
        let mut left = vec![&work];
        while let Some(work) = left.pop() {
            for node in &work.nodes {
                left.extend(node.child.as_deref());
                let Some((name, answer, is_contested)) =
                    self.gates.iter().find(|(name, ..)| *name == node.name)
                else {
                    continue;
                };
                let other =
                    GateAnswer { decision: opposite(answer.decision), value: answer.value + 1 };
                gates.push(Gate {
                    job_id: work.job_id()?,
                    name: name.clone(),
                    sent: [*answer].into_iter().chain(is_contested.then_some(other)).collect(),
                });
            }
        }
        // A job for which two nodes wait is met twice.
        gates.sort_by(|one: &Gate, other| one.name.cmp(&other.name));
        gates.dedup_by(|one, other| one.name == other.name);
        Ok(Drawn { work, gates })
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(0..100) < percent
    }

    /// Its nodes have names that no other graph with another tag uses.
    fn draw(&mut self, tag: &str, use_service_bus: bool, count: usize, depth: usize) -> GraphWork {
        let mut work = GraphWork { use_service_bus, ..GraphWork::new(tag, []) };
        // A job for which several nodes wait.
        let mut shared: Option<GraphWork> = None;
        for place in 0..count {
            let mut node = Node { name: format!("{tag}-n{place}"), ..Node::default() };
            for _ in 0..self.random.usize(0..=3).min(place) {
                // Rather one of the last ones, so that the graph is deep.
                let back = self.random.usize(1..=place.min(5));
                let before = work.nodes[place - back].name.clone();
                let known = node.needs.contains(&before) || node.follows.contains(&before);
                if known {
                    continue;
                }
                let list = if self.chance(60) { &mut node.needs } else { &mut node.follows };
                list.push(before);
            }
            node.best_effort = self.chance(20);
            match self.random.u8(0..100) {
                0..60 => self.tasks(&mut node, &work),
                60..74 => self.decision(&mut node),
                74..86 => self.gate(&mut node),
                _ if depth == 0 => self.tasks(&mut node, &work),
                _ => {
                    node.kind = NodeKind::Job;
                    node.child = Some(Box::new(self.child(tag, &mut shared, depth)));
                }
            }
            work.nodes.push(node);
        }
        self.choose(&mut work);
        work
    }

    /// Tasks, few or many; some stumble, some fail.
    fn tasks(&mut self, node: &mut Node, before: &GraphWork) {
        node.tasks = if self.chance(15) { self.random.u64(20..40) } else { self.random.u64(0..7) };
        node.ms = self.random.u64(0..400);
        if self.chance(40) {
            let several = self.random.u64(2..9);
            node.tasks_per_message = TasksPerMessage::try_from(several).unwrap_or_default();
        }
        if node.tasks == 0 {
            return;
        }
        if self.chance(30) {
            node.stumbles = vec![self.random.u64(0..node.tasks)];
        }
        if self.may_fail && self.chance(22) {
            node.fails = vec![self.random.u64(0..node.tasks)];
            node.tolerates = self.random.u64(0..=1);
        } else if self.chance(40) {
            // A node that fails reads nothing, so that what it comes to after a retry is determined.
            let upstream = upstream(before, node);
            let read = upstream.iter().filter(|one| one.kind == NodeKind::Tasks && one.tasks > 0);
            let read: Vec<_> = read.collect();
            node.reads = self.random.choice(read).map(|one| one.name.clone());
        }
    }

    fn decision(&mut self, node: &mut Node) {
        node.kind = NodeKind::Decision;
        if self.may_fail && self.chance(15) {
            node.fails = vec![0];
            // A decision that fails follows nothing, so that what it decides after a retry is
            // determined.
            node.needs.append(&mut node.follows);
        }
    }

    /// A gate that is decided by a user, by two users at once who disagree, or by its timeout.
    fn gate(&mut self, node: &mut Node) {
        node.kind = NodeKind::Gate;
        let decision = if self.chance(70) { GateDecision::Approve } else { GateDecision::Reject };
        if self.chance(20) {
            node.timeout = Some((self.random.u32(1..=3), decision));
            return;
        }
        let answer = GateAnswer { decision, value: self.random.u64(0..1000) };
        let is_contested = self.chance(35);
        self.gates.push((node.name.clone(), answer, is_contested));
    }

    /// A job of a few nodes; sometimes one for which another node of the same job waits too.
    fn child(&mut self, tag: &str, shared: &mut Option<GraphWork>, depth: usize) -> GraphWork {
        if let Some(shared) = shared
            && self.chance(50)
        {
            return shared.clone();
        }
        let is_shared = shared.is_none() && self.chance(50);
        // A job for which several nodes wait does not fail, so that it does not matter when each of
        // them begins to wait.
        let may_fail = self.may_fail;
        self.may_fail &= !is_shared;
        self.children += 1;
        let tag = format!("{}c{}", tag.split('c').next().unwrap_or_default(), self.children);
        let (use_service_bus, nodes) = (self.random.bool(), self.random.usize(2..=5));
        let child = self.draw(&tag, use_service_bus, nodes, depth - 1);
        self.may_fail = may_fail;
        if is_shared {
            *shared = Some(child.clone());
        }
        child
    }

    /// What the decisions choose of the nodes after them, which are known now.
    fn choose(&mut self, work: &mut GraphWork) {
        for place in 0..work.nodes.len() {
            if work.nodes[place].kind != NodeKind::Decision {
                continue;
            }
            let dependents = work.dependents(place);
            work.nodes[place].chooses = match self.random.u8(0..3) {
                0 => Choice::All,
                1 => Choice::ByInput,
                _ => {
                    let names = dependents.into_iter().map(|one| work.nodes[one].name.clone());
                    Choice::These(names.filter(|_| self.random.bool()).collect())
                }
            };
        }
    }
}

fn opposite(decision: GateDecision) -> GateDecision {
    match decision {
        GateDecision::Approve => GateDecision::Reject,
        GateDecision::Reject | GateDecision::Fail => GateDecision::Approve,
    }
}

impl Gate {
    /// The decision that contradicts the one that was taken.
    pub(super) fn contradicting(taken: GateAnswer) -> GateAnswer {
        GateAnswer { decision: opposite(taken.decision), ..taken }
    }

    /// Its entry in the answers before it is decided: what a gate that is never reached would be.
    pub(super) fn first_answer(&self) -> Answers {
        self.sent.first().map(|answer| (self.name.clone(), *answer)).into_iter().collect()
    }
}

/// The nodes on which a node depends, directly and through others.
fn upstream<'a>(work: &'a GraphWork, node: &Node) -> Vec<&'a Node> {
    let mut names: BTreeSet<&str> =
        node.needs.iter().chain(&node.follows).map(String::as_str).collect();
    for before in work.nodes.iter().rev() {
        if names.contains(before.name.as_str()) {
            names.extend(before.needs.iter().chain(&before.follows).map(String::as_str));
        }
    }
    work.nodes.iter().filter(|one| names.contains(one.name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> Drawn {
        Drawing::new(fastrand::Rng::with_seed(seed)).graph("g1", true, 20).unwrap()
    }

    #[test]
    fn a_seed_draws_the_same_graph_again_and_every_kind_of_node() {
        let mut kinds = BTreeSet::new();
        for seed in 0..50 {
            let Drawn { work, gates } = drawn(seed);
            assert_eq!(work.problem(), None, "seed {seed}");
            assert_eq!(work, drawn(seed).work);
            kinds.extend(work.nodes.iter().map(|node| format!("{:?}", node.kind)));
            let answers = gates.iter().flat_map(Gate::first_answer).collect();
            assert!(work.expected_status(&answers).is_some(), "seed {seed} never ends");
        }
        assert_eq!(kinds.len(), 4, "{kinds:?}");
    }
}
