//! The job types of this app, one per file. Each is added in [`app`](crate::app).

pub mod hello_world;

pub use hello_world::HelloWorld;
