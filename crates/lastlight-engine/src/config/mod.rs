//! The settings, parsed and checked once into typed values.
//!
//! Settings are environment variables (the Functions host turns `local.settings.json` and the app's
//! settings into them). No other module of the handler reads the environment. All problems are
//! collected, so that they can be fixed in one go. Each setting is declared in [`mod@reference`],
//! from which its reader takes name, default and bounds. Secrets are [`Secret`]s, which print as
//! `***`.

mod archive;
mod blobs;
mod connection_string;
mod database;
mod database_text;
mod declaration;
pub mod endpoint;
mod env;
pub mod host_json;
mod http_call;
mod notifications;
mod prices;
pub mod reference;
mod service_bus;
mod settings;
mod storage;
mod storage_account;
mod telemetry;
mod timing;
mod unresolved;
mod values;

pub use archive::{ArchiveSettings, ContainerName};
pub use blobs::{BlobAccount, BlobSettings, NumberSettings};
pub use database::DatabaseSettings;
pub use declaration::{Declared, Form};
pub use env::{ConfigError, Env, Secret, SettingProblem};
pub use http_call::HttpCallAllow;
pub use notifications::{
    AllowedHosts, Label, NotificationAddress, NotificationSettings, RoutedAddress, SigningSecret,
    is_public, literal_address,
};
pub use prices::Prices;
pub use service_bus::{ServiceBusAuth, ServiceBusSettings};
pub use settings::{Settings, SettingsSoFar};
pub use storage::StorageSettings;
pub use storage_account::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, StorageAuth};
pub use telemetry::{LogSettings, OtlpSettings, SamplerSettings};
pub use timing::Timing;
pub use unresolved::unresolved;
pub use values::{LogFormat, QueueEncoding};
