//! The stages of a job in an order in which they can run: their numbers, and which of them come
//! before which. Knows neither plans nor tasks.

use std::{any::TypeId, collections::BTreeSet};

use super::{Job, Link, PlanError, StageSpec, typed_stage::TypedStage};
use crate::model::{Stage as StageNumber, StageInGraph, StageKind};

/// The largest number of stages of a job.
const MOST: usize = 100;

/// The stages of a job. Each comes after all that precede it.
pub struct StageList<J> {
    /// The stages whose previous ones are being collected, or were.
    begun: Vec<TypeId>,
    stages: Vec<TypedStage<J>>,
    /// Why the list is not valid.
    problem: Option<String>,
}

/// A stage, or the last round of a repeated one, that has ended before another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) id: TypeId,
    pub(super) name: &'static str,
    pub(super) number: StageNumber,
}

/// A stage of a job with certain parameters.
pub(super) struct Numbered<'a, J> {
    pub(super) stage: &'a TypedStage<J>,
    /// Counted from 0.
    pub(super) round: usize,
    /// The stages that directly precede it, in their order; of a repeated stage the round before.
    pub(super) previous: Vec<Earlier>,
    /// All stages that have ended before it begins.
    pub(super) upstream: Vec<Earlier>,
}

impl<J> StageList<J> {
    /// Notes that the stages up to `S` are being collected; `false` if they are already: because
    /// another stage follows it too, or because the stages form a circle.
    pub(super) fn begin<S: 'static>(&mut self) -> bool {
        let id = TypeId::of::<S>();
        if self.position(id).is_some() {
            return false;
        }
        if self.begun.contains(&id) {
            self.problem = Some("its stages precede each other in a circle".to_owned());
            return false;
        }
        self.begun.push(id);
        true
    }

    pub(super) fn push(&mut self, stage: TypedStage<J>) {
        self.stages.push(stage);
    }

    /// Why the list is not valid.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The stages, each once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &TypedStage<J>> {
        self.stages.iter()
    }

    /// Whether a stage follows several others. Otherwise each stage follows the one before.
    pub(super) fn is_graph(&self) -> bool {
        self.stages.iter().any(|stage| stage.previous.len() > 1)
    }

    fn position(&self, id: TypeId) -> Option<usize> {
        self.stages.iter().position(|stage| stage.id == id)
    }

    /// The positions of the stages that directly precede this one.
    fn before(&self, stage: &TypedStage<J>) -> impl Iterator<Item = usize> {
        stage.previous.iter().filter_map(|id| self.position(*id))
    }

    /// The positions of all stages that precede the one at a position.
    fn upstream(&self, position: usize) -> BTreeSet<usize> {
        let mut found: BTreeSet<usize> = self.before(&self.stages[position]).collect();
        for earlier in (0..position).rev() {
            if found.contains(&earlier) {
                found.extend(self.before(&self.stages[earlier]));
            }
        }
        found
    }
}

impl<J: Job> StageList<J> {
    pub(super) fn of_job() -> Self {
        let mut list = Self { begun: Vec::new(), stages: Vec::new(), problem: None };
        <J::Last as Link<J>>::collect(&mut list);
        let mut names: Vec<&str> = list.stages.iter().map(|stage| stage.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            list.problem.get_or_insert(format!("two of its stages are named {:?}", twice[0]));
        }
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            list.problem.get_or_insert(format!(
                "the name of its stage {name:?} must have 1 to 50 characters"
            ));
        }
        let names_one_twice = |stage: &&TypedStage<J>| {
            let mut seen = BTreeSet::new();
            !stage.previous.iter().all(|id| seen.insert(*id))
        };
        if let Some(stage) = list.stages.iter().find(names_one_twice) {
            list.problem.get_or_insert(format!(
                "its stage {:?} names the same stage twice as previous",
                stage.name
            ));
        }
        list
    }

    /// Number of rounds of each stage.
    fn rounds(&self, job: &J) -> Vec<usize> {
        // One more than are allowed is enough to reject the job.
        self.stages.iter().map(|stage| (stage.rounds)(job).min(MOST + 1)).collect()
    }

    /// The stages of a job with these parameters, in order; all have a place in a graph, or none.
    ///
    /// # Errors
    /// A stage of a graph has no rounds, or a name that cannot be told from another one.
    pub(super) fn specs(&self, job: &J) -> Result<Vec<StageSpec>, PlanError> {
        let rounds = self.rounds(job);
        let mut specs = Vec::new();
        for (position, stage) in self.stages.iter().enumerate() {
            for round in 0..rounds[position] {
                let spec = StageSpec::in_line(stage.name, (stage.options)(job, round));
                let place = self.is_graph().then(|| self.place(position, round, &rounds));
                specs.push(StageSpec { place, ..spec });
            }
        }
        // Of a job with too many stages, their number is the only problem that matters.
        if self.is_graph() && specs.len() <= MOST {
            self.check(&rounds, &specs)?;
        }
        Ok(specs)
    }

    fn place(&self, position: usize, round: usize, rounds: &[usize]) -> StageInGraph {
        let stage = &self.stages[position];
        let previous = self.previous(position, round, rounds);
        StageInGraph {
            name: match round {
                0 => stage.name.to_owned(),
                _ => format!("{}-{}", stage.name, round + 1),
            },
            kind: StageKind::Tasks,
            needs: previous.iter().map(|earlier| earlier.number).collect(),
            follows: BTreeSet::new(),
            best_effort: false,
            is_finalize: false,
            timeout: None,
        }
    }

    /// What the parameters of a job may make wrong in its graph.
    fn check(&self, rounds: &[usize], specs: &[StageSpec]) -> Result<(), PlanError> {
        if let Some(empty) = rounds.iter().position(|rounds| *rounds == 0) {
            return Err(PlanError::new(format!(
                "its stage {:?} has 0 rounds with these parameters; it must have at least 1, since other stages need it",
                self.stages[empty].name
            )));
        }
        let mut names = BTreeSet::new();
        for name in specs.iter().filter_map(|spec| spec.place.as_ref()).map(|place| &place.name) {
            if !is_name(name) {
                return Err(PlanError::new(format!(
                    "the name of its stage {name:?} must have 1 to 50 characters, with the number of the round"
                )));
            }
            if !names.insert(name) {
                return Err(PlanError::new(format!(
                    "two of its stages are named {name:?} with these parameters, of which one is a round of a repeated stage: \
                     give the other one another name"
                )));
            }
        }
        Ok(())
    }

    /// The stages that directly precede a round of a stage.
    fn previous(&self, position: usize, round: usize, rounds: &[usize]) -> Vec<Earlier> {
        if round > 0 {
            return self.earlier(position, round - 1, rounds).into_iter().collect();
        }
        let before = self.before(&self.stages[position]);
        before.filter_map(|earlier| self.last_round(earlier, rounds)).collect()
    }

    fn last_round(&self, position: usize, rounds: &[usize]) -> Option<Earlier> {
        self.earlier(position, rounds[position].checked_sub(1)?, rounds)
    }

    /// `None` if the job has too many stages, which is noticed by its number of stages.
    fn earlier(&self, position: usize, round: usize, rounds: &[usize]) -> Option<Earlier> {
        let number = 1 + rounds[..position].iter().sum::<usize>() + round;
        let number =
            u8::try_from(number).ok().and_then(|number| StageNumber::try_from(number).ok());
        let TypedStage { id, name, .. } = self.stages[position];
        Some(Earlier { id, name, number: number? })
    }

    /// The stage with this number in a job with these parameters; `None` if there is none.
    pub(super) fn numbered(&self, job: &J, number: StageNumber) -> Option<Numbered<'_, J>> {
        let rounds = self.rounds(job);
        let mut round = usize::from(number.get()) - 1;
        for (position, stage) in self.stages.iter().enumerate() {
            if round >= rounds[position] {
                round -= rounds[position];
                continue;
            }
            let before =
                round.checked_sub(1).and_then(|round| self.earlier(position, round, &rounds));
            let upstream = self.upstream(position).into_iter();
            let upstream = upstream.filter_map(|earlier| self.last_round(earlier, &rounds));
            return Some(Numbered {
                stage,
                round,
                previous: self.previous(position, round, &rounds),
                upstream: upstream.chain(before).collect(),
            });
        }
        None
    }
}

/// Whether a name fits its columns.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=50).contains(&name.chars().count()) && !name.contains('\0')
}
