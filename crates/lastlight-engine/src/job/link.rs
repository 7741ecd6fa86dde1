//! What precedes a stage: nothing, another stage, several, or its own previous round; and the types
//! that follow from it. Knows neither how stages are numbered nor what runs them.

use std::{any::TypeId, marker::PhantomData};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Job, Stage, stage_list::StageList, typed_stage::TypedStage};

/// What precedes a stage: [`Start`], another stage, a tuple of 2 to 4 stages, or, for a repeated
/// stage, its own previous round ([`Again`]).
///
/// A stage begins when all stages that precede it have completed. Stages of which none precedes the
/// other run at the same time. Here the stages `Hills` and `Water` do, and the plan of `Map` receives
/// the summaries of both:
///
/// ```
/// # use lastlight_engine::job::*;
/// # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct Terrain {}
/// # impl Job for Terrain {
/// #     const NAME: &'static str = "terrain";
/// #     type Last = Map;
/// # }
/// # macro_rules! stage {
/// #     ($stage:ident, $name:literal, $previous:ty) => {
/// #         struct $stage;
/// #         impl Stage for $stage {
/// #             const NAME: &'static str = $name;
/// #             type Job = Terrain;
/// #             type Previous = $previous;
/// #             type Task = ();
/// #             type Output = f64;
/// #             type Summary = f64;
/// #             fn plan(_: PlanContext<Self>) -> Plan<()> { Plan::empty() }
/// #             async fn run(_: TaskContext<Self>, (): ()) -> Result<f64, TaskError> { Ok(0.0) }
/// #             fn fold(_: &mut f64, _: f64) {}
/// #         }
/// #     };
/// # }
/// # stage!(Tiles, "tiles", Start);
/// # stage!(Hills, "hills", Tiles);
/// # stage!(Water, "water", Tiles);
/// # struct Map;
/// impl Stage for Map {
/// #   const NAME: &'static str = "map";
///     type Job = Terrain;
///     type Previous = (Hills, Water);
/// #   type Task = f64;
/// #   type Output = f64;
/// #   type Summary = f64;
///     // …
///     fn plan(context: PlanContext<Self>) -> Plan<f64> {
///         let (highest, deepest) = context.input;
///         let height = highest - deepest;
///         // Each task reads a result of the stage that it names.
///         Plan::of(0..9, move |n| {
///             Planned::new(format!("map-{n}"), height).after_in::<Tiles>(format!("tile-{n}"))
///         })
///     }
///
///     async fn run(context: TaskContext<Self>, height: f64) -> Result<f64, TaskError> {
///         Ok(context.predecessor_of::<Tiles>()? / height)
///     }
/// #   fn fold(_: &mut f64, _: f64) {}
/// }
/// ```
///
/// All stages of a tuple are stages of the same job:
///
/// ```compile_fail,E0271
/// # use lastlight_engine::job::*;
/// fn precedes<J: Job, P: Link<J>>() {}
///
/// fn of_two_jobs<A: Job, B: Job>() {
///     precedes::<A, (A::Last, B::Last)>();
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot precede a stage of `{J}`",
    label = "use `Start`, a stage of `{J}`, a tuple of 2 to 4 of its stages, or `Again<Self>` for a stage that implements `Repeat`"
)]
pub trait Link<J>: Sized + 'static {
    /// What the plan of the following stage receives.
    type Input: Send + 'static;

    /// Adds the stages up to this one to the list.
    #[doc(hidden)]
    fn collect(stages: &mut StageList<J>);

    /// The stages that it stands for, in order.
    #[doc(hidden)]
    fn stages() -> Vec<TypeId>;

    /// The input from the summaries of these stages, in the same order.
    ///
    /// # Errors
    /// A summary does not match its type.
    #[doc(hidden)]
    fn input(summaries: Vec<Value>) -> Result<Self::Input, String>;

    /// How often the following stage is repeated.
    #[doc(hidden)]
    fn rounds(_job: &J) -> usize {
        1
    }
}

/// What precedes a stage, if it is at most one stage: then a task has a predecessor even if its plan
/// names none, and [`TaskContext::predecessor`](super::TaskContext::predecessor) has its type.
#[diagnostic::on_unimplemented(
    message = "which stage a task reads does not follow from `{Self}`, which are several",
    label = "name it: `predecessor_of::<A>()`, and `Planned::after_in::<A>` in the plan"
)]
pub trait LinkToOne<J>: Link<J> {
    /// The result of a task's predecessor.
    type Output: DeserializeOwned + Send + 'static;
}

/// The beginning of a job: what precedes its first stage.
#[derive(Debug, Clone, Copy)]
pub struct Start;

impl<J: Job> Link<J> for Start {
    type Input = ();

    fn collect(_stages: &mut StageList<J>) {}

    fn stages() -> Vec<TypeId> {
        Vec::new()
    }

    fn input(summaries: Vec<Value>) -> Result<(), String> {
        only(summaries)
    }
}

impl<J: Job> LinkToOne<J> for Start {
    type Output = ();
}

impl<S: Stage> Link<S::Job> for S {
    type Input = S::Summary;

    fn collect(stages: &mut StageList<S::Job>) {
        if stages.begin::<S>() {
            <S::Previous as Link<S::Job>>::collect(stages);
            stages.push(TypedStage::of::<S>());
        }
    }

    fn stages() -> Vec<TypeId> {
        vec![TypeId::of::<S>()]
    }

    fn input(summaries: Vec<Value>) -> Result<S::Summary, String> {
        only(summaries)
    }
}

impl<S: Stage> LinkToOne<S::Job> for S {
    type Output = S::Output;
}

/// Several stages, all of which must have completed before the following one begins.
macro_rules! several {
    ($($stage:ident)+) => {
        impl<J: Job, $($stage: Stage<Job = J>),+> Link<J> for ($($stage,)+) {
            type Input = ($($stage::Summary,)+);

            fn collect(stages: &mut StageList<J>) {
                $(<$stage as Link<J>>::collect(stages);)+
            }

            fn stages() -> Vec<TypeId> {
                vec![$(TypeId::of::<$stage>()),+]
            }

            fn input(summaries: Vec<Value>) -> Result<Self::Input, String> {
                let mut summaries = summaries.into_iter();
                Ok(($(summary_of::<$stage>(summaries.next())?,)+))
            }
        }
    };
}

several!(A B);
several!(A B C);
several!(A B C D);

/// A stage that a job has several times, each round working on the results of the round before. The
/// number of rounds depends on the job's parameters: the levels of a pyramid, for example.
///
/// ```
/// # use lastlight_engine::job::*;
/// # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct Pyramid { levels: u32 }
/// # impl Job for Pyramid {
/// #     const NAME: &'static str = "pyramid";
/// #     type Last = Level;
/// # }
/// struct Level;
///
/// impl Stage for Level {
///     type Job = Pyramid;
///     type Previous = Again<Self>;
/// #   type Task = usize;
/// #   type Output = u64;
/// #   type Summary = u64;
///     // …
///     fn plan(context: PlanContext<Self>) -> Plan<usize> {
///         Plan::one("tile", context.round)
///     }
///
///     async fn run(context: TaskContext<Self>, round: usize) -> Result<u64, TaskError> {
///         Ok(if round == 0 { 1 } else { context.predecessor()? * 4 })
///     }
/// #   fn fold(tiles: &mut u64, more: u64) { *tiles += more; }
/// }
///
/// impl Repeat for Level {
///     fn rounds(job: &Pyramid) -> usize {
///         job.levels as usize
///     }
/// }
/// ```
pub trait Repeat: Stage<Previous = Again<Self>> {
    /// Number of rounds; a job has at most 100 stages in all.
    fn rounds(job: &Self::Job) -> usize;
}

/// What precedes a repeated stage: its own previous round. The first round has no input and no
/// predecessors.
#[derive(Debug, Clone, Copy)]
pub struct Again<S>(PhantomData<S>);

impl<S: Repeat> Link<S::Job> for Again<S> {
    type Input = Option<S::Summary>;

    fn collect(_stages: &mut StageList<S::Job>) {}

    fn stages() -> Vec<TypeId> {
        Vec::new()
    }

    fn input(summaries: Vec<Value>) -> Result<Self::Input, String> {
        only(summaries)
    }

    fn rounds(job: &S::Job) -> usize {
        S::rounds(job)
    }
}

impl<S: Repeat> LinkToOne<S::Job> for Again<S> {
    type Output = S::Output;
}

/// What the plan of a stage receives: the summary of the previous stage. `()` for the first stage; a
/// tuple of summaries after several stages; for a repeated stage an `Option` of its own summary, since
/// its first round has none.
pub type Input<S> = <<S as Stage>::Previous as Link<<S as Stage>::Job>>::Input;

/// The result of a task's predecessor in the previous stage: the type of
/// [`TaskContext::predecessor`](super::TaskContext::predecessor).
pub type Predecessor<S> = <<S as Stage>::Previous as LinkToOne<<S as Stage>::Job>>::Output;

/// The input after at most one stage; null stands for none.
fn only<T: DeserializeOwned>(summaries: Vec<Value>) -> Result<T, String> {
    let summary = summaries.into_iter().next().unwrap_or(Value::Null);
    T::deserialize(summary).map_err(|error| {
        format!("the summary of the previous stage does not match its type: {error}")
    })
}

/// The summary of one of several stages.
fn summary_of<S: Stage>(summary: Option<Value>) -> Result<S::Summary, String> {
    S::Summary::deserialize(summary.unwrap_or(Value::Null)).map_err(|error| {
        format!("the summary of stage {:?} does not match its type: {error}", S::NAME)
    })
}
