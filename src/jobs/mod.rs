//! The job types of this app, one a file. Each has a line in [`app`](crate::app).

mod hello_world;

pub use hello_world::HelloWorld;
