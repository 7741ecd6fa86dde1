//! The statements fit the schema, and a database that is slow, full, unreachable or behind a pooler
//! delays work without losing it.

mod back_pressure;
mod pooler;
mod sql;
mod unreachable_database;
