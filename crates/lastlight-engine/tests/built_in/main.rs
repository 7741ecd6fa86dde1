//! What users rely on in the built-in handlers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod handlers;
mod http_call;
mod validators;
