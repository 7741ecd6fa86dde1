//! Every setting, parsed and checked once, into typed values.
//!
//! Settings are environment variables (the Functions host turns `local.settings.json` and the app's
//! settings into them). Nothing else in the house reads the environment. What is wrong is collected, so
//! that a person mends all of it in one go. Secrets are [`Secret`]s, which print as `***`.

mod env;

pub use env::{ConfigError, Env, Secret, SettingProblem};
