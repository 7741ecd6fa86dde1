//! The connection to the database: the pool, the migrations, and what a database answers before it
//! can be used. Knows the schema's name and state, but none of its tables.

mod connections;
mod database;
mod error;
mod examination;
mod pooler;
mod reach;
mod schema_state;

pub use database::{ConnectionLimits, Database, MIGRATOR, PoolUse};
pub use error::DatabaseError;
pub use examination::{Examination, ExaminationError, MissingRight, UnservedHandler, examine};
pub use reach::{DatabaseAddress, Unreachable, reach};
pub use schema_state::SchemaState;
