//! Every setting, parsed and checked once, into typed values.
//!
//! Settings are environment variables (the Functions host turns `local.settings.json` and the app's
//! settings into them). Nothing else in the house reads the environment. What is wrong is
//! collected, so that a person mends all of it in one go. Each setting is declared in
//! [`mod@reference`], where its reader takes name, default and bounds from. Secrets are
//! [`Secret`]s, which print as `***`.

mod connection_string;
mod database;
mod database_text;
mod declaration;
pub mod endpoint;
mod env;
pub mod host_json;
mod prices;
pub mod reference;
mod service_bus;
mod settings;
mod storage;
mod telemetry;
mod timing;
mod unresolved;
mod values;

pub use database::DatabaseSettings;
pub use declaration::{Declared, Form};
pub use env::{ConfigError, Env, Secret, SettingProblem};
pub use prices::Prices;
pub use service_bus::{ServiceBusAuth, ServiceBusSettings};
pub use settings::{Settings, SettingsSoFar};
pub use storage::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, StorageAuth, StorageSettings};
pub use telemetry::{LogSettings, OtlpSettings, SamplerSettings};
pub use timing::Timing;
pub use unresolved::unresolved;
pub use values::{LogFormat, QueueEncoding};
