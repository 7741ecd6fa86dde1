//! This app's job types. The rest is the framework in `crates/`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod jobs;

use lastlight::App;

use jobs::HelloWorld;

/// The app: add yours here.
pub fn app() -> App {
    App::new().job(HelloWorld::over_either()).job(HelloWorld::over_service_bus())
}
