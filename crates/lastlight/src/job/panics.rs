//! A job type's own code may panic. That is its mistake: the job fails with the reason, and whoever
//! asked goes on.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What the code of a job type comes to, or how it panicked.
pub(crate) fn caught<T>(ask: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|panic| panicked(&*panic))
}

/// A panic in a sentence.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    format!("the job type panicked: {}", said(panic))
}

/// What a panic says.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
