//! Decides at the gates of scenario 20 over HTTP: too early, twice, differently, and two users at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lastlight_testing::graph_work::{Answers, GateAnswer};
use serde_json::json;

use super::random::Gate;
use crate::chaos::world::World;

/// The gates of all jobs, and what was decided at them.
#[derive(Default)]
pub(super) struct Gates {
    gates: Vec<Gate>,
    decided: BTreeSet<String>,
    answers: Answers,
    /// Decisions that were accepted, and those that were refused.
    counts: [u64; 2],
}

impl Gates {
    pub(super) fn add(&mut self, gates: Vec<Gate>) {
        self.answers.extend(gates.iter().flat_map(Gate::first_answer));
        self.gates.extend(gates);
    }

    /// What was decided, and what would have been decided at gates that were never reached.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Number of decisions that were accepted, and of those that were refused.
    pub(super) fn counts(&self) -> [u64; 2] {
        self.counts
    }

    /// Sends a decision to each gate that is not decided yet and that is `chosen`, whether it was
    /// reached or not: one that was not reached must refuse, which the oracle sees.
    pub(super) async fn attend(&mut self, world: &mut World, mut chosen: impl FnMut() -> bool) {
        for gate in self.gates.clone() {
            if self.decided.contains(&gate.name) || !chosen() {
                continue;
            }
            let sends = gate.sent.iter().enumerate();
            let sends = sends.map(|(handler, answer)| decide(world, handler, &gate, *answer));
            let statuses = join_all(sends).await;
            let taken: Vec<GateAnswer> = (gate.sent.iter().zip(&statuses))
                .filter(|(_, status)| **status == 200)
                .map(|(answer, _)| *answer)
                .collect();
            self.count(&statuses);
            let name = &gate.name;
            world.check(taken.len() < 2, || format!("two decisions were taken at {name}"));
            // 404: the job is one for which another job waits, and is not submitted yet.
            world.check(
                statuses.iter().all(|status| matches!(status, 0 | 200 | 404 | 409 | 500..)),
                || format!("{name} answered {statuses:?}"),
            );
            let Some(taken) = taken.first() else { continue };
            self.answers.insert(name.clone(), *taken);
            self.decided.insert(name.clone());
            let again = decide(world, 0, &gate, *taken).await;
            world.check(matches!(again, 0 | 200 | 500..), || {
                format!("{name} answered {again} to the same decision again")
            });
            let other = decide(world, 1, &gate, Gate::contradicting(*taken)).await;
            world.check(matches!(other, 0 | 409 | 500..), || {
                format!("{name} answered {other} to another decision")
            });
            self.count(&[again, other]);
        }
    }

    fn count(&mut self, statuses: &[u16]) {
        self.counts[0] += statuses.iter().filter(|status| **status == 200).count() as u64;
        self.counts[1] += statuses.iter().filter(|status| **status == 409).count() as u64;
    }
}

/// Sends a decision; returns the status of the answer, 0 without one.
async fn decide(world: &World, handler: usize, gate: &Gate, answer: GateAnswer) -> u16 {
    let Gate { job_id, name, .. } = gate;
    let url = format!("{}/api/jobs/gate/{job_id}/{name}", world.base_url(handler));
    let body = json!({ "decision": answer.decision, "by": "chaos", "data": answer.value });
    let sent = world.client().post(url).body(body.to_string()).send().await;
    sent.map_or(0, |answer| answer.status().as_u16())
}
