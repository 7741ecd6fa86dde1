//! A Functions host.
