//! Catches panics in the code of a job type: the job fails with the reason, and the caller
//! continues.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The result of the job type's code, or a sentence about its panic.
pub(crate) fn caught<T>(ask: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|panic| panicked(&*panic))
}

/// A sentence about a panic.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    format!("the job type panicked: {}", said(panic))
}

/// The message of a panic.
pub fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
