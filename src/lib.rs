//! The job types of this app. The framework is in `crates/`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod jobs;

use lastlight::App;

use jobs::HelloWorld;

/// The app: add your job types here.
pub fn app() -> App {
    App::new().job(HelloWorld::over_either()).job(HelloWorld::over_service_bus())
}
