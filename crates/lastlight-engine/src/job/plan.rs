//! Plans: the tasks of a stage as an iterator or a stream that can begin anywhere.

use std::{any::TypeId, fmt, future::Future};

use futures_util::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};

use super::{Contexts, Input, Stage, context::Context, error::PlanError};

/// One task of a plan: an index with the task's parameters, or this type, which can also name the
/// task's predecessor.
///
/// ```
/// # use lastlight_engine::job::{Plan, Planned};
/// // Reply 7 reads the result of greeting 7, a task of the previous stage.
/// let replies: Plan<u64> = Plan::of(0..100, |n| {
///     Planned::new(format!("reply-{n}"), n).after(format!("greeting-{n}"))
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Planned<T> {
    pub(crate) index: String,
    pub(crate) task: T,
    pub(crate) predecessor: Option<Before>,
}

/// The task whose result a task reads, as its plan names it.
#[derive(Debug, Clone)]
pub(crate) enum Before {
    /// A task of the previous stage, with this index.
    InPrevious(String),
    /// A task of any stage before.
    In { stage: TypeId, name: &'static str, index: String },
}

impl<T> Planned<T> {
    /// A task with its semantic index: 1 to 50 characters, unique within the stage, such as
    /// `tile_x5_y10`. Operators search for it when the task fails.
    pub fn new(index: impl Into<String>, task: T) -> Self {
        Self { index: index.into(), task, predecessor: None }
    }

    /// The task of the previous stage whose result this task reads; without this, the one with the
    /// same index. After several stages, [`after_in`](Self::after_in) says which one.
    #[must_use]
    pub fn after(self, index: impl Into<String>) -> Self {
        Self { predecessor: Some(Before::InPrevious(index.into())), ..self }
    }

    /// The task of the stage `A` whose result this task reads, with
    /// [`TaskContext::predecessor_of`](super::TaskContext::predecessor_of). `A` is any stage that must
    /// have completed before this one begins, even through others; of a repeated stage, its last round
    /// before this one. A plan that names another stage fails its job.
    ///
    /// ```
    /// # use lastlight_engine::job::{Plan, Planned, Stage};
    /// # fn plan<Tiles: Stage>() -> Plan<u64> {
    /// Plan::of(0..100, |n| {
    ///     Planned::new(format!("map-{n}"), n).after_in::<Tiles>(format!("tile-{n}"))
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn after_in<A: Stage>(self, index: impl Into<String>) -> Self {
        let stage = TypeId::of::<A>();
        let before = Before::In { stage, name: A::NAME, index: index.into() };
        Self { predecessor: Some(before), ..self }
    }
}

impl<T, I: Into<String>> From<(I, T)> for Planned<T> {
    fn from((index, task): (I, T)) -> Self {
        Self::new(index, task)
    }
}

type Tasks<T> = BoxStream<'static, Result<Planned<T>, PlanError>>;

/// The tasks of a stage, at most a million. They are taken one by one, so they need not be in memory
/// together.
///
/// ```
/// # use lastlight_engine::job::Plan;
/// let tiles: Plan<u64> = Plan::of(0..1_000_000, |n| (format!("tile-{n}"), n));
///
/// // A list that is read first.
/// let files: Plan<String> = Plan::after(async {
///     let names = tokio::fs::read_to_string("names.txt").await?;
///     let names: Vec<String> = names.lines().map(str::to_owned).collect();
///     Ok(Plan::of(names, |name| (name.clone(), name)))
/// });
/// ```
pub struct Plan<T>(Box<dyn FnOnce(u64) -> Tasks<T> + Send>);

impl<T> fmt::Debug for Plan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Plan<T> {
    /// One task per item: `Plan::of(0..n, |n| (format!("tile-{n}"), Tile { n }))`.
    pub fn of<I, P>(items: I, mut task: impl FnMut(I::Item) -> P + Send + 'static) -> Self
    where
        I: IntoIterator<IntoIter: Send + 'static> + Send + 'static,
        P: Into<Planned<T>>,
    {
        Self(Box::new(move |from| {
            // A plan that is continued was left at a position that it had reached.
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            stream::iter(items.into_iter().skip(from).map(move |item| Ok(task(item).into())))
                .boxed()
        }))
    }

    /// One task: `Plan::one("report", Report)`.
    pub fn one(index: impl Into<String>, task: T) -> Self {
        let planned = Planned::new(index, task);
        Self::of(Some(planned), |planned| planned)
    }

    /// No tasks: the stage finishes at once.
    pub fn empty() -> Self {
        Self::of(None::<Planned<T>>, |planned| planned)
    }

    /// A stream of tasks. `make` receives the number of tasks to leave out, because they are planned
    /// already: a stream that cannot begin there is given `.skip(from)`.
    pub fn stream<S, P>(make: impl FnOnce(u64) -> S + Send + 'static) -> Self
    where
        S: Stream<Item = Result<P, PlanError>> + Send + 'static,
        P: Into<Planned<T>>,
    {
        Self(Box::new(move |from| make(from).map(|planned| planned.map(Into::into)).boxed()))
    }

    /// A plan that is made first: from a list of blobs, for example.
    pub fn after(make: impl Future<Output = Result<Self, PlanError>> + Send + 'static) -> Self {
        Self(Box::new(move |from| {
            make.map(move |made| match made {
                Ok(plan) => plan.from(from),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .flatten_stream()
            .boxed()
        }))
    }

    pub(crate) fn from(self, from: u64) -> Tasks<T> {
        (self.0)(from)
    }
}

/// The input of a plan. Two plans with the same input must have the same tasks, so it has no clock
/// and no random numbers.
#[non_exhaustive]
pub struct PlanContext<S: Stage> {
    /// The parameters of the job.
    pub job: S::Job,
    /// The summary of the previous stage; after several stages, a tuple of their summaries.
    pub input: Input<S>,
    /// The round of a repeated stage, from 0.
    pub round: usize,
    pub(crate) contexts: Contexts,
}

impl<S: Stage> PlanContext<S> {
    /// A value that the tasks of this process share; see [`Context`]. It borrows nothing, so that it
    /// can be used in [`Plan::after`] and [`Plan::stream`].
    pub fn get<C: Context>(
        &self,
    ) -> impl Future<Output = Result<std::sync::Arc<C>, PlanError>> + Send + use<S, C> {
        let contexts = self.contexts.clone();
        async move {
            contexts.get::<C>().await.map_err(|error| PlanError::Unavailable(error.to_string()))
        }
    }
}

impl<S: Stage> fmt::Debug for PlanContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanContext").field("round", &self.round).finish_non_exhaustive()
    }
}
