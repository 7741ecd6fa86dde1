//! The job types of this app. The framework is in `crates/`.

pub mod jobs;

use lastlight::{App, ProcessingPath};

use jobs::{HelloWorld, hello_world::handlers};

/// The app: add your job types here.
pub fn app() -> App {
    App::new()
        .job::<HelloWorld>()
        .job_over::<HelloWorld>("sb_hello_world", ProcessingPath::ServiceBus)
        .handler("hello_world_numbers", handlers::numbers)
        .handler("hello_world_greet", handlers::greet)
        .handler("hello_world_reply", handlers::reply)
}
