//! The command line's commands beside `serve` and `migrate`: arguments in, words out.

pub mod bench;
pub mod chaos;
pub mod local;
