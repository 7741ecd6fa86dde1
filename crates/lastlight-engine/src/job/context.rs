//! Values that the tasks of a process share: made once, on first use, and after a failure again.
//! Knows nothing of tasks.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::Mutex as AsyncMutex;

/// The error of a context: any error, by `?`, or a text, by `"…".into()`. Operators read it.
pub type ContextError = Box<dyn std::error::Error + Send + Sync>;

/// A value that is made once per process and shared by its tasks: a client of blob storage, a
/// connection pool, a model.
///
/// It is made when a task first asks for it with `context.get::<Blobs>()`. If that fails, the tasks
/// that need it wait and are tried again later, without using up an attempt; `GET /api/health` shows
/// the reason. Health needs no key, so the reason must have no secret; the queries of URLs are left
/// out.
///
/// ```
/// # use lastlight_engine::job::{Context, ContextError};
/// /// The population of places.
/// struct Census(Vec<u64>);
///
/// impl Context for Census {
///     const NAME: &'static str = "census";
///
///     async fn start() -> Result<Self, ContextError> {
///         let text = tokio::fs::read_to_string("census.csv").await?;
///         Ok(Self(text.lines().map(str::parse).collect::<Result<_, _>>()?))
///     }
/// }
/// ```
pub trait Context: Sized + Send + Sync + 'static {
    /// The name in health.
    const NAME: &'static str;

    /// Makes the value.
    ///
    /// # Errors
    /// It cannot be made now; it is tried again, after pauses of up to a minute.
    fn start() -> impl Future<Output = Result<Self, ContextError>> + Send;

    /// Checks whether the value can be used, for health.
    ///
    /// # Errors
    /// It cannot be used now; the reason is shown to operators.
    fn check(&self) -> impl Future<Output = Result<(), ContextError>> + Send {
        async { Ok(()) }
    }
}

/// The shortest and the longest pause after a failed start.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// A start that takes longer has failed.
const LONGEST_START: Duration = Duration::from_secs(30);

/// A context could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not available: {reason}")]
pub struct Unavailable {
    /// The context.
    pub name: &'static str,
    /// The message of its `start`.
    pub reason: String,
}

/// The contexts of an app. Cheap to clone.
#[derive(Clone, Default)]
pub struct Contexts(Arc<Mutex<HashMap<TypeId, Arc<Slot>>>>);

type Check = fn(Contexts) -> BoxFuture<'static, Result<(), String>>;

struct Slot {
    name: &'static str,
    state: AsyncMutex<State>,
    check: Check,
}

enum State {
    New,
    Made(Arc<dyn Any + Send + Sync>),
    Failed { reason: String, at: Instant, pause: Duration },
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.slots().iter().map(|slot| slot.name).collect();
        f.debug_tuple("Contexts").field(&names).finish()
    }
}

impl Contexts {
    /// Adds a context that is made on first use, so that health shows it before.
    pub fn add<C: Context>(&self) {
        self.slot::<C>(State::New);
    }

    /// Adds a value that is made already.
    pub fn provide<C: Context>(&self, value: C) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.insert(TypeId::of::<C>(), Arc::new(new_slot::<C>(State::Made(Arc::new(value)))));
    }

    fn slot<C: Context>(&self, state: State) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(TypeId::of::<C>()).or_insert_with(|| Arc::new(new_slot::<C>(state))))
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots: Vec<_> = slots.values().cloned().collect();
        slots.sort_by_key(|slot| slot.name);
        slots
    }

    /// The value, made if it is not yet. Callers at the same moment share one start.
    ///
    /// # Errors
    /// It could not be made, now or a moment ago.
    pub async fn get<C: Context>(&self) -> Result<Arc<C>, Unavailable> {
        let slot = self.slot::<C>(State::New);
        let mut state = slot.state.lock().await;
        let pause = match &*state {
            State::Made(value) => {
                return Arc::clone(value)
                    .downcast()
                    .map_err(|_| unavailable::<C>("it has another type".to_owned()));
            }
            State::Failed { reason, at, pause } if at.elapsed() < *pause => {
                return Err(unavailable::<C>(reason.clone()));
            }
            State::Failed { pause, .. } => (*pause * 2).min(PAUSES[1]),
            State::New => PAUSES[0],
        };
        let start = std::panic::AssertUnwindSafe(C::start()).catch_unwind();
        let reason = match tokio::time::timeout(LONGEST_START, start).await {
            Ok(Ok(Ok(value))) => {
                let value = Arc::new(value);
                *state = State::Made(value.clone());
                return Ok(value);
            }
            Ok(Ok(Err(error))) => without_queries(&super::error::with_sources(&*error)),
            Ok(Err(panic)) => super::panics::panicked(&*panic),
            Err(_) => format!("it did not start within {} s", LONGEST_START.as_secs()),
        };
        tracing::warn!(context = C::NAME, reason, "a context could not be made; it is tried again");
        *state = State::Failed { reason: reason.clone(), at: Instant::now(), pause };
        Err(unavailable::<C>(reason))
    }

    /// A check of each context, by its name: starts it if it is not started. The error says why it
    /// cannot be used.
    pub fn checks(&self) -> Vec<(&'static str, BoxFuture<'static, Result<(), String>>)> {
        let check = |slot: &Arc<Slot>| (slot.name, (slot.check)(self.clone()));
        self.slots().iter().map(check).collect()
    }
}

fn new_slot<C: Context>(state: State) -> Slot {
    Slot {
        name: C::NAME,
        state: AsyncMutex::new(state),
        check: |contexts| {
            async move {
                let value = contexts.get::<C>().await.map_err(|error| error.reason)?;
                let checked = value.check().await;
                checked.map_err(|error| without_queries(&super::error::with_sources(&*error)))
            }
            .boxed()
        },
    }
}

/// The text with the queries of its URLs left out: errors of HTTP clients quote URLs, whose queries
/// may have signatures, and health is shown without a key.
fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let url = &rest[scheme..];
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '>'));
        let (url, after) = url.split_at(end.unwrap_or(url.len()));
        shown.push_str(&rest[..scheme]);
        match url.split_once('?') {
            Some((address, _)) => shown.extend([address, "?…"]),
            None => shown.push_str(url),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn unavailable<C: Context>(reason: String) -> Unavailable {
    let name = if C::NAME.is_empty() { type_name::<C>() } else { C::NAME };
    Unavailable { name, reason }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    static STARTS: AtomicU32 = AtomicU32::new(0);

    #[derive(Debug)]
    struct Flaky;

    impl Context for Flaky {
        const NAME: &'static str = "flaky";

        async fn start() -> Result<Self, ContextError> {
            match STARTS.fetch_add(1, Ordering::SeqCst) {
                0 => Err("no route to host".into()),
                _ => Ok(Self),
            }
        }

        async fn check(&self) -> Result<(), ContextError> {
            Err("it answers slowly".into())
        }
    }

    #[tokio::test]
    async fn a_failed_context_is_not_made_again_at_once() {
        let contexts = Contexts::default();
        contexts.add::<Flaky>();
        let error = contexts.get::<Flaky>().await.unwrap_err();
        assert_eq!(error.to_string(), "flaky is not available: no route to host");
        assert_eq!(contexts.get::<Flaky>().await.unwrap_err(), error, "not at once");
        assert_eq!(STARTS.load(Ordering::SeqCst), 1);
        let (name, check) = contexts.checks().remove(0);
        assert_eq!((name, check.await), ("flaky", Err("no route to host".to_owned())));
    }

    #[test]
    fn signatures_in_urls_are_left_out() {
        assert_eq!(
            without_queries(
                "GET (https://a.blob.core.windows.net/tiles?sv=2&sig=hunter2): no route, see https://b/c"
            ),
            "GET (https://a.blob.core.windows.net/tiles?…): no route, see https://b/c"
        );
    }

    #[tokio::test]
    async fn a_provided_value_is_not_made() {
        let contexts = Contexts::default();
        contexts.provide(Flaky);
        assert!(contexts.get::<Flaky>().await.is_ok());
        let (_, check) = contexts.checks().remove(0);
        assert_eq!(check.await, Err("it answers slowly".to_owned()));
    }
}
