//! The calls of which only graphs know: ends of stages with what they start, decisions at gates, and what
//! follows the end of a job.

use lastlight_engine::{
    model::{GateDecision, JobStatus, Stage, StageInGraph, StageKind, StageOutcome},
    store::{EndedStage, GraphAdvance, GraphEnd, GraphStage, StageEnd},
};
use uuid::Uuid;

use super::{Answers, LONG, Pair, nothing};
use crate::{
    graphs::{Graph, Kind},
    state::{self, Advancer, Decision, PlannerId, STAGES, TASKS},
    transactions::Rules,
};

impl Pair {
    pub(super) async fn end_in_graph(
        &mut self,
        graph: &Graph,
        read: Advancer,
        ended: &EndedStage,
    ) -> Answers {
        let kind = self.rules.kind(read.stage);
        let dependents: Vec<u8> = graph.dependents(read.stage).collect();
        let chosen = self.random.choice(&dependents).map_or(0, |one| 1u8 << one);
        let model = self.model.end_stage(&self.rules, graph, read, chosen);
        let model = model.map(|ready| {
            let rows = || ready.iter().filter_map(|one| Some((*one, self.model.stage(*one)?)));
            let unsent: Vec<u8> =
                rows().filter(|(_, row)| row.unsent).map(|(number, _)| number + 1).collect();
            let ended: Vec<u8> =
                rows().filter(|(_, row)| row.planned).map(|(number, _)| number + 1).collect();
            let status = self.model.job.map(|job| job.status);
            match status.filter(|status| status.is_terminal()) {
                Some(status) => format!("ended {status}"),
                None => format!("unsent {unsent:?} ended {ended:?}"),
            }
        });
        let outcome = match (kind, ended.decision) {
            _ if ended.unmet == Some(true) => StageOutcome::Skipped,
            (Kind::Gate, Some(GateDecision::Reject)) => StageOutcome::Rejected,
            (Kind::Tasks, _) if ended.failure.is_some() => StageOutcome::Failed,
            (Kind::Tasks, _) if !self.rules.tolerates(read.failed) => StageOutcome::Failed,
            _ => StageOutcome::Completed,
        };
        let decides = kind == Kind::Decision && outcome == StageOutcome::Completed;
        let not_chosen = dependents.iter().filter(|one| decides && chosen & (1 << **one) == 0);
        let end = StageEnd {
            outcome,
            not_chosen: not_chosen.map(|one| Stage::try_from(one + 1).unwrap()).collect(),
            output: None,
            result: "{}",
        };
        let finish = |stages: &[GraphStage]| {
            let failed = |stage: &GraphStage| {
                !stage.best_effort && stage.outcome == Some(StageOutcome::Failed)
            };
            let failed = stages.iter().any(failed);
            let status = if failed { JobStatus::Failed } else { JobStatus::Completed };
            GraphEnd { status, result_data: None, error_details: None }
        };
        let key = self.real.key(read.stage);
        let stages = self.real.database.stages();
        let real = stages.end_in_graph(&key, ended, &end, LONG, finish).await.unwrap();
        let numbers = |stages: Vec<Stage>| stages.into_iter().map(Stage::get).collect::<Vec<u8>>();
        let real = match real {
            GraphAdvance::NotOurs => None,
            GraphAdvance::JobEnded(status) => Some(format!("ended {status}")),
            GraphAdvance::Moved { unsent, ended, .. } => {
                Some(format!("unsent {:?} ended {:?}", numbers(unsent), numbers(ended)))
            }
        };
        ("end_stage", format!("{model:?}"), format!("{real:?}"))
    }

    /// The next step of a retry of a finished job: random steps would hardly ever reopen it.
    pub(super) async fn go_on_with_retry(&mut self) -> Answers {
        let Some(graph) = self.rules.graph else { return nothing() };
        let rows: Vec<(u8, state::Stage)> =
            self.model.stages().map(|(number, row)| (number, *row)).collect();
        if let Some((number, row)) = rows.iter().find(|(_, row)| !row.advanced) {
            return match row.counters_add_up() {
                true => self.close_stage(*number).await,
                false => self.skip_open_tasks(*number).await,
            };
        }
        let again = |(number, row): &&(u8, state::Stage)| {
            self.model.is_to_be_reopened(&graph, *number) && row.failed + row.skipped > 0
        };
        if let Some((number, _)) = rows.iter().find(again) {
            let batch = self.random.u8(..TASKS as u8);
            return self.reopen_tasks(*number, batch).await;
        }
        match self.random.bool() {
            true => self.finalize_job().await,
            false => self.reopen_job().await,
        }
    }

    pub(super) async fn finalize_job(&mut self) -> Answers {
        let graph = self.rules.graph;
        let model = graph.is_some_and(|graph| self.model.finalize_job(&self.rules, &graph));
        let stages = self.real.database.stages();
        let real = stages.finalize(&self.real.job_id, LONG).await.unwrap();
        ("finalize_job", model.to_string(), real.to_string())
    }

    /// At a gate, most of the time.
    pub(super) async fn decide_gate(&mut self, stage: u8) -> Answers {
        let mut gates = (0..self.rules.stages).filter(|one| self.rules.kind(*one) == Kind::Gate);
        let stage = gates.next_back().filter(|_| self.random.u8(..8) > 0).unwrap_or(stage);
        let approves = self.random.bool();
        let model = if approves { Decision::Approve } else { Decision::Reject };
        let real = if approves { GateDecision::Approve } else { GateDecision::Reject };
        let model = self.model.decide_gate(&self.rules, stage, model);
        let key = self.real.key(stage);
        let real = self.real.database.stages().decide_gate(&key, real, "{}").await.unwrap();
        ("decide_gate", model.to_string(), real.to_string())
    }

    /// Ends the plan of a stage.
    pub(super) async fn fail_stage_plan(
        &mut self,
        stage: u8,
        planner: PlannerId,
        owner: Uuid,
    ) -> Answers {
        let model = self.model.fail_stage_plan(stage, planner);
        let key = self.real.key(stage);
        let real = self.real.database.stages().fail_plan(&key, owner, "no plan").await.unwrap();
        ("fail_stage_plan", format!("{model:?}"), format!("{real:?}"))
    }
}

/// The stages of a graph as the store knows them.
pub(super) fn stages_of(rules: &Rules, graph: &Graph) -> Vec<StageInGraph> {
    let numbers = |bits: u8| {
        let set = (0..STAGES as u8).filter(|one| bits & (1 << one) != 0);
        set.map(|one| Stage::try_from(one + 1).unwrap()).collect()
    };
    (0..rules.stages)
        .map(|number| StageInGraph {
            name: format!("stage-{number}"),
            kind: match rules.kind(number) {
                Kind::Tasks => StageKind::Tasks,
                Kind::Decision => StageKind::Decision,
                Kind::Gate => StageKind::Gate,
            },
            needs: numbers(graph.needs[usize::from(number)]),
            follows: numbers(graph.follows[usize::from(number)]),
            best_effort: !graph.matters(number),
            is_finalize: graph.finalize == Some(number),
            timeout: None,
        })
        .collect()
}
