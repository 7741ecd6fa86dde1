//! The command line's commands beside `serve` and `migrate`: arguments in, words out.

#[cfg(feature = "local")]
pub mod app;
#[cfg(feature = "local")]
pub mod bench;
#[cfg(feature = "local")]
pub mod chaos;
#[cfg(feature = "local")]
pub mod completions;
pub mod doctor;
#[cfg(feature = "local")]
pub mod local;
pub mod out;
mod paint;
#[cfg(all(test, feature = "local"))]
mod reference;
#[cfg(feature = "local")]
mod words;
