//! The declarations of the handler's settings: name, default, bounds and meaning, one file per
//! group. The readers use them, and a test generates docs/SETTINGS.md from [`GROUPS`] and checks
//! that the readers behave as declared. Reads no setting itself.

mod built_in;
mod database;
#[cfg(test)]
mod elsewhere;
#[cfg(test)]
mod in_force;
mod notifications;
#[cfg(test)]
mod page;
mod prices;
mod process;
mod service_bus;
mod storage_queues;
mod telemetry;
mod workflow;

pub(super) use self::{
    built_in::*, database::*, notifications::*, prices::*, process::*, service_bus::*,
    storage_queues::*, telemetry::*, workflow::*,
};
use super::declaration::Declared;

/// Settings that belong together.
pub struct Group {
    /// The heading in docs/SETTINGS.md.
    pub title: &'static str,
    /// A description of the group.
    pub about: &'static str,
    /// The settings, in the order of docs/SETTINGS.md.
    pub settings: &'static [&'static dyn Declared],
}

/// All groups.
pub static GROUPS: &[&Group] = &[
    &database::GROUP,
    &storage_queues::GROUP,
    &service_bus::GROUP,
    &workflow::GROUP,
    &built_in::GROUP,
    &notifications::GROUP,
    &telemetry::GROUP,
    &prices::GROUP,
    &process::ADMINISTRATION,
    &process::SET_BY_THE_HOST,
];

fn anything(_: &str) -> bool {
    true
}
