//! Handlers and validators that every app has, for definitions of work that are no Rust code.
//!
//! Tasks call the handlers `echo`, `fail`, `http_call` and `sleep`, one file or folder each.
//! Validators check a submission before its job is stored. Nothing here knows the workflow, the
//! database or how tasks come to run.

mod echo;
mod fail;
mod http_call;
mod parameters;
pub mod reference;
mod sleep;
mod validators;

use std::sync::Arc;

pub use http_call::HttpCalls;
pub use validators::{BlobList, OneBlob, Refusal, Validator};

use crate::job::Catalog;

/// Adds the built-in handlers to a catalog; an app's own handler of the same name becomes a problem
/// of the catalog. A second call replaces them, with other settings.
#[must_use]
pub fn add_to(catalog: Catalog, http_calls: HttpCalls) -> Catalog {
    let http_calls = Arc::new(http_calls);
    catalog
        .built_in_handler(echo::NAME, echo::echo)
        .built_in_handler(fail::NAME, fail::fail)
        .built_in_handler(http_call::NAME, move |context, given| {
            http_call::http_call(Arc::clone(&http_calls), context, given)
        })
        .built_in_handler(sleep::NAME, sleep::sleep)
}
