//! Checks the settings: their source, and whether they can be parsed.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::{Notes, Patient, env};
use lastlight_engine::config::{SettingProblem, Settings, unresolved};

const LOCAL: &str = "local.settings.json";

/// The settings of the file, if one is given, overridden by environment variables, as `func start`
/// does it.
pub(super) fn gathered(patient: &Patient) -> (BTreeMap<String, String>, Notes) {
    let mut notes = Notes::on("settings");
    let mut given = BTreeMap::new();
    match &patient.settings_file {
        Some(path) => match read(path) {
            Ok(values) => {
                notes.ok(format!(
                    "{}: {} settings",
                    path.display(),
                    values.keys().filter(is_setting).count()
                ));
                given = values;
            }
            Err((problem, remedy)) => notes.fault(format!("{}: {problem}", path.display()), remedy),
        },
        None => {
            let path = patient.app_root.join(LOCAL);
            if path.is_file() {
                match read(&path) {
                    Ok(_) => notes
                        .ok(format!("{LOCAL} can be read; --settings {LOCAL} checks its settings")),
                    Err((problem, remedy)) => notes.fault(format!("{LOCAL}: {problem}"), remedy),
                }
            }
        }
    }
    given.extend(patient.environment.clone());
    (given, notes)
}

/// The settings of a file, for commands that read nothing but settings and storage.
pub(crate) fn of_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    read(path).map_err(|(problem, remedy)| format!("{}: {problem}\n    {remedy}", path.display()))
}

/// Whether an entry is a setting and not a comment (JSON has no other place for comments).
fn is_setting(name: &&String) -> bool {
    !name.starts_with("_comment")
}

/// The `Values` of a settings file.
fn read(path: &Path) -> Result<BTreeMap<String, String>, (String, String)> {
    let example = "Start with a copy of local.settings.example.json.";
    let text = fs::read_to_string(path).map_err(|error| (error.to_string(), example.to_owned()))?;
    let document: Value =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            // The error contains only the position; the text itself may contain secrets.
            (format!("it is not JSON: {error}"), example.to_owned())
        })?;
    if document.get("IsEncrypted") == Some(&Value::Bool(true)) {
        return Err((
            "its values are encrypted".to_owned(),
            "Run func settings decrypt in the app's folder.".to_owned(),
        ));
    }
    let Some(values) = document.get("Values").and_then(Value::as_object) else {
        return Err(("it has no object \"Values\"".to_owned(), example.to_owned()));
    };
    let mut read = BTreeMap::new();
    for (name, value) in values {
        let Some(text) = value.as_str() else {
            return Err((
                format!("Values.{name} is not text, and the host accepts only text"),
                format!("Put the value of {name} into quotes."),
            ));
        };
        read.insert(name.clone(), text.to_owned());
    }
    Ok(read)
}

pub(super) fn examine(given: &BTreeMap<String, String>) -> Notes {
    let mut notes = Notes::on("settings");
    let warnings = match Settings::load_without_host(env(given)) {
        Ok(settings) => settings.warnings,
        Err(error) => {
            for SettingProblem { setting, problem, remedy } in error.problems {
                notes.fault(format!("{setting}: {problem}"), remedy);
            }
            Vec::new()
        }
    };
    // Settings of the host and of other programs, which the handler does not read.
    for (name, value) in given {
        if let Some((what, remedy)) = unresolved(value.trim())
            && !notes.mention(name)
        {
            notes.fault(format!("{name}: {what}"), remedy);
        }
    }
    for SettingProblem { setting, problem, remedy } in warnings {
        notes.warning(format!("{setting}: {problem}"), remedy);
    }
    match given.get("FUNCTIONS_WORKER_RUNTIME").map(|value| value.trim()) {
        Some("custom") => {}
        Some(other) => notes.fault(
            format!(
                "FUNCTIONS_WORKER_RUNTIME: {:?} starts a different worker, not this handler",
                shortened(other)
            ),
            "Set FUNCTIONS_WORKER_RUNTIME to custom.",
        ),
        None => notes.warning(
            "FUNCTIONS_WORKER_RUNTIME: is not set; a Functions host needs it",
            "Set FUNCTIONS_WORKER_RUNTIME to custom.",
        ),
    }
    if notes.is_quiet() {
        notes.ok("every setting can be read");
    }
    notes
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
