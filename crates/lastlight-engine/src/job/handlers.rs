//! Handlers: plain typed functions that are known by a name, for definitions that are no Rust code.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{TaskContext, TaskError, json, task::Attempt};

type Call = dyn Fn(Attempt, &RawValue) -> BoxFuture<'static, Result<Box<RawValue>, TaskError>>
    + Send
    + Sync;

/// The handlers of an app and those that are built in, by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<&'static str, Handler>);

#[derive(Clone)]
struct Handler {
    call: Arc<Call>,
    origin: Origin,
}

/// Where a handler comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The app's own code.
    App,
    /// Every app has it.
    BuiltIn,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Handlers {
    /// Adds a handler. A built-in handler replaces an earlier one of its name, with other settings.
    ///
    /// # Errors
    /// The app has a handler of this name already, or one is built in: the sentence names both.
    pub(super) fn add<P, R, F>(
        &mut self,
        name: &'static str,
        origin: Origin,
        handler: impl Fn(TaskContext, P) -> F + Send + Sync + 'static,
    ) -> Result<(), String>
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
    {
        match self.0.get(name).map(|existing| existing.origin) {
            Some(Origin::App) if origin == Origin::App => {
                return Err(format!("two handlers are named {name:?}"));
            }
            Some(existing) if existing != origin => {
                return Err(format!(
                    "the app's handler {name:?} has the name of the built-in handler {name:?}: give it another name"
                ));
            }
            _ => {}
        }
        let call = move |attempt: Attempt, parameters: &RawValue| {
            let started = json::read::<P>(parameters, "the parameters")
                .map_err(TaskError::Permanent)
                .map(|parameters| handler(TaskContext::new(attempt), parameters));
            async move {
                let result = started?.await?;
                json::write(&result, "the result").map_err(TaskError::Permanent)
            }
            .boxed()
        };
        self.0.insert(name, Handler { call: Arc::new(call), origin });
        Ok(())
    }

    /// Calls a handler; `None` if there is none of this name.
    pub fn call(
        &self,
        name: &str,
        attempt: Attempt,
        parameters: &RawValue,
    ) -> Option<BoxFuture<'static, Result<Box<RawValue>, TaskError>>> {
        self.0.get(name).map(|handler| (handler.call)(attempt, parameters))
    }

    /// All names, also those of the built-in handlers.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Whether a handler of this name is built in.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|handler| handler.origin == Origin::BuiltIn)
    }
}
