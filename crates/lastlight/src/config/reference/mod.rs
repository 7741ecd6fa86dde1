//! Every setting of the handler, declared: name, default, bounds and meaning; a file a group. The
//! readers take them from here, and so does docs/SETTINGS.md, which a test makes of [`GROUPS`] and
//! holds to what the readers do. Reads nothing itself.

mod database;
#[cfg(test)]
mod elsewhere;
#[cfg(test)]
mod in_force;
#[cfg(test)]
mod page;
mod prices;
mod process;
mod service_bus;
mod storage_queues;
mod telemetry;
mod workflow;

pub(super) use self::{
    database::*, prices::*, process::*, service_bus::*, storage_queues::*, telemetry::*,
    workflow::*,
};
use super::declaration::Declared;

/// Settings that belong together.
pub struct Group {
    /// For people.
    pub title: &'static str,
    /// What holds for all of them.
    pub about: &'static str,
    /// In the order of the page.
    pub settings: &'static [&'static dyn Declared],
}

/// All of them.
pub static GROUPS: &[&Group] = &[
    &database::GROUP,
    &storage_queues::GROUP,
    &service_bus::GROUP,
    &workflow::GROUP,
    &telemetry::GROUP,
    &prices::GROUP,
    &process::ADMINISTRATION,
    &process::SET_BY_THE_HOST,
];

fn anything(_: &str) -> bool {
    true
}
