//! The library as an app uses it: the examples, in memory and on local clouds. Knows nothing of the
//! engine but what users see: answers over HTTP, and rows in the database.
#![allow(clippy::unwrap_used)]

mod blobs;
mod clusters;
mod examples;
mod in_memory;
mod squares;
