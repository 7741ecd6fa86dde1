//! The doctor checks what the app needs: settings, host.json, the function folders, the workflow files,
//! the database, the queues and the archive, in this order. It changes nothing. Each finding states a fact and, for a
//! problem, a remedy. It must not depend on the HTTP API, because it is used before the app runs.

mod archive;
mod concurrency;
mod database;
mod functions;
mod host_json;
mod queues;
pub(crate) mod settings;
mod workflows;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use lastlight_engine::{
    config::{Env, Settings},
    job::erased::Catalog,
};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No problem.
    Ok,
    /// It works but should be changed, or it could not be checked.
    Warning,
    Fault,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The area: `settings`, `host.json`, `functions`, `workflows`, `database`, `storage queues`, `archive` or
    /// `service bus`.
    pub check: &'static str,
    /// The severity of a finding.
    pub state: State,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What to check.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The folder with host.json and the function folders.
    pub app_root: PathBuf,
    pub environment: BTreeMap<String, String>,
    /// A settings file as `func start` reads it; environment variables override it.
    pub settings_file: Option<PathBuf>,
}

/// The findings of one area.
struct Notes {
    check: &'static str,
    findings: Vec<Finding>,
}

impl Notes {
    fn on(check: &'static str) -> Self {
        Self { check, findings: Vec::new() }
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.note(State::Ok, what.into(), None);
    }

    fn warning(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(State::Warning, what.into(), Some(remedy.into()));
    }

    fn fault(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(State::Fault, what.into(), Some(remedy.into()));
    }

    /// Whether a finding names this setting.
    fn mention(&self, setting: &str) -> bool {
        self.findings.iter().any(|finding| {
            let rest = finding.what.strip_prefix(setting);
            rest.is_some_and(|rest| rest.starts_with(':'))
        })
    }

    fn note(&mut self, state: State, what: String, remedy: Option<String>) {
        self.findings.push(Finding { check: self.check, state, what, remedy });
    }

    /// Whether there is no warning and no fault.
    fn is_quiet(&self) -> bool {
        self.findings.iter().all(|finding| finding.state == State::Ok)
    }
}

/// Runs all checks; calls `each` with each finding when its area is checked. `catalog` has the app's job
/// types and handlers.
pub async fn examine(
    patient: &Patient,
    catalog: Catalog,
    mut each: impl FnMut(&Finding),
) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    let mut hear = |notes: Notes| {
        for finding in notes.findings {
            each(&finding);
            all.push(finding);
        }
    };
    let (given, notes) = settings::gathered(patient);
    hear(notes);
    hear(settings::examine(&given));
    let so_far = Settings::load_so_far(env(&given));
    hear(host_json::examine(&patient.app_root, &given, &so_far));
    hear(functions::examine(&patient.app_root, &given, &so_far));
    hear(workflows::examine(&patient.app_root, &given, catalog));
    if let Some(database) = &so_far.database {
        hear(database::examine(database, &so_far.timing).await);
    }
    if let Some(storage) = so_far.storage {
        hear(queues::storage(storage).await);
    }
    if let Some(archive) = &so_far.archive {
        hear(archive::examine(archive).await);
    }
    if let Some(service_bus) = so_far.service_bus {
        hear(queues::service_bus(service_bus).await);
    }
    all
}

fn env(given: &BTreeMap<String, String>) -> Env {
    Env::from_pairs(given.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// The highest severity of the findings.
pub fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok)
}
