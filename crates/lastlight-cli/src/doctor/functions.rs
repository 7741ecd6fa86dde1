//! Compares the function folders with the function table of this binary, and checks the settings
//! that they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Map, Value};

use super::{Notes, env};
use lastlight_engine::{
    config::{ServiceBusSettings, SettingsSoFar, host_json, reference::GROUPS},
    functions::{Function, functions},
};

/// The default of a setting that a function.json names.
fn default_of(setting: &str) -> Option<String> {
    let mut declared = GROUPS.iter().flat_map(|group| group.settings);
    declared.find(|declared| declared.name() == setting)?.default()
}

const SERVICE_BUS_TRIGGER: &str = "serviceBusTrigger";

type Object = Map<String, Value>;

pub(super) fn examine(
    root: &Path,
    given: &BTreeMap<String, String>,
    settings: &SettingsSoFar,
) -> Notes {
    let mut notes = Notes::on("functions");
    // Each unset setting with the functions that need it: reported once per setting.
    let mut unset: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut off: Vec<&str> = Vec::new();
    let mut service_bus: Vec<&str> = Vec::new();
    let mut by_name: Vec<&Function> = functions().iter().collect();
    by_name.sort_unstable_by_key(|function| function.name);
    for function in by_name {
        let name = function.name;
        let path = root.join(name).join("function.json");
        let Ok(text) = fs::read_to_string(&path) else {
            missing.push(name);
            continue;
        };
        let Some(wanted) = trigger(&function.function_json()).map(|(trigger, _)| trigger) else {
            continue;
        };
        let Some((found, is_disabled)) = trigger(&text) else {
            notes.fault(
                format!("{name}/function.json is not JSON with one trigger in \"bindings\""),
                "Use the folder of this version.",
            );
            continue;
        };
        let is_bus = wanted.get("type").and_then(Value::as_str) == Some(SERVICE_BUS_TRIGGER);
        if is_disabled || host_json::is_switched_off(given, name) {
            off.push(name);
            continue;
        }
        if is_bus {
            service_bus.push(name);
            if settings.service_bus.is_none() {
                // It should be switched off: `switches` reports that, and nothing else matters
                // then.
                continue;
            }
        }
        compare(name, &wanted, &found, given, &mut notes, &mut unset);
    }
    if !missing.is_empty() {
        notes.fault(
            format!("missing in {}: {}", root.display(), missing.join(", ")),
            format!(
                "Write them with lastlight functions --write {}, or name the app's folder with --app-root.",
                root.display()
            ),
        );
    }
    for (setting, functions) in unset {
        let functions: Vec<&str> = functions.into_iter().collect();
        let remedy = match default_of(&setting) {
            Some(default) => format!("Set {setting} to {default}, or to the queue's name."),
            None if setting == "ServiceBusConnection" => {
                "Set ServiceBusConnection to the value of SERVICE_BUS_CONNECTION_STRING, or \
                 ServiceBusConnection__fullyQualifiedNamespace to the namespace's host for sign-in by identity."
                    .to_owned()
            }
            None if setting == "AzureWebJobsStorage" => storage_connection(given),
            None => format!("Set {setting}; see local.settings.example.json."),
        };
        notes.fault(
            format!("{setting} is not set, and the host cannot start {}", functions.join(", ")),
            remedy,
        );
    }
    switches(&off, &service_bus, settings.service_bus.is_some(), &mut notes);
    if let Some(ours) = settings.service_bus.as_ref().filter(|_| !service_bus.is_empty()) {
        same_namespace(ours, given, &mut notes);
    }
    unknown(root, &mut notes);
    if notes.is_quiet() {
        notes.ok(format!("{} folders match this version", functions().len()));
    }
    notes
}

/// The remedy for the missing connection of the host's storage account.
fn storage_connection(given: &BTreeMap<String, String>) -> String {
    let account = given.get("STORAGE_ACCOUNT_NAME").map(|name| name.trim());
    match account.filter(|name| !name.is_empty()) {
        // The value is not repeated: it could be a secret that was set by mistake.
        Some(_) => "Set AzureWebJobsStorage__accountName to the value of STORAGE_ACCOUNT_NAME, for sign-in by identity: only \
                    the handler reads STORAGE_ACCOUNT_NAME, the host does not."
            .to_owned(),
        None => "Set AzureWebJobsStorage to a connection string, or AzureWebJobsStorage__accountName to the account's name \
                 for sign-in by identity."
            .to_owned(),
    }
}

/// The one trigger of a function.json, and whether the file disables the function.
fn trigger(text: &str) -> Option<(Object, bool)> {
    let document: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let is_disabled = document.get("disabled") == Some(&Value::Bool(true));
    let mut triggers = document.get("bindings")?.as_array()?.iter().filter(|binding| {
        let kind = binding.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| kind.ends_with("Trigger"))
    });
    let first = triggers.next()?.as_object()?.clone();
    triggers.next().is_none().then_some((first, is_disabled))
}

/// Reports the differences between two triggers.
fn compare<'a>(
    name: &'a str,
    wanted: &Object,
    found: &Object,
    given: &BTreeMap<String, String>,
    notes: &mut Notes,
    unset: &mut BTreeMap<String, BTreeSet<&'a str>>,
) {
    for (field, want) in wanted {
        let have = found.get(field);
        match field.as_str() {
            "queueName" => {
                let ours = ours(want.as_str().unwrap_or_default(), given);
                let text = have.and_then(Value::as_str).unwrap_or_default();
                match host_json::resolved(text, given) {
                    Ok(theirs) if theirs == ours => {}
                    Ok(theirs) => notes.fault(
                        format!("{name}/function.json listens to {theirs:?}, and the app sends to {ours:?}"),
                        format!("Set queueName to {want}."),
                    ),
                    Err(Some(setting)) => {
                        unset.entry(setting).or_default().insert(name);
                    }
                    Err(None) => notes.fault(
                        format!("{name}/function.json: queueName {text:?} has an unpaired %"),
                        format!("Set queueName to {want}."),
                    ),
                }
            }
            "connection" => {
                let connection = have.and_then(Value::as_str).unwrap_or_default();
                if have != Some(want) {
                    differs(name, field, want, have, notes);
                } else if !is_connected(connection, given) {
                    unset.entry(connection.to_owned()).or_default().insert(name);
                }
            }
            "methods" => {
                let has = |method: &Value| {
                    let all = have.and_then(Value::as_array);
                    all.is_none_or(|all| all.is_empty() || all.contains(method))
                };
                let lost: Vec<&str> = want
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|method| !has(method))
                    .filter_map(Value::as_str)
                    .collect();
                if !lost.is_empty() {
                    notes.warning(
                        format!("{name}/function.json does not accept {}", lost.join(", ")),
                        format!("Set methods to {want}."),
                    );
                }
            }
            // One message at a time is right for tasks that take minutes (docs/howto/tune.md); the
            // handler reads both.
            "cardinality" if want == "many" && have.is_none_or(|have| have == "one") => {}
            "schedule" if have != Some(want) => notes.warning(
                format!("{name}/function.json: schedule is {}; {want} is usual", shown(have)),
                "Each run finds lost work: leave the schedule at every minute.",
            ),
            "authLevel" if rank(have) > rank(Some(want)) => notes.warning(
                format!("{name}/function.json: authLevel is {}, more than {want}", shown(have)),
                "Callers need that key; ignore this if that is intended.",
            ),
            "authLevel" if have != Some(want) => notes.fault(
                format!("{name}/function.json: authLevel is {}, less than {want}", shown(have)),
                format!("Set authLevel to {want}; SECURITY.md says why."),
            ),
            _ if have != Some(want) => differs(name, field, want, have, notes),
            _ => {}
        }
    }
}

fn differs(name: &str, field: &str, want: &Value, have: Option<&Value>, notes: &mut Notes) {
    notes.fault(
        format!("{name}/function.json: {field} is {}", shown(have)),
        format!("Set {field} to {want}."),
    );
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(value) => value.to_string().chars().take(80).collect(),
    }
}

/// The strictness of an authLevel; the default is the function key.
fn rank(level: Option<&Value>) -> u8 {
    match level.and_then(Value::as_str) {
        Some("anonymous") => 0,
        Some("admin") => 2,
        _ => 1,
    }
}

/// The queue that the app uses, from its settings or their defaults.
fn ours(template: &str, given: &BTreeMap<String, String>) -> String {
    let named = template.split('%').skip(1).step_by(2);
    let mut all: BTreeMap<String, String> =
        named.filter_map(|name| Some((name.to_owned(), default_of(name)?))).collect();
    all.extend(
        given
            .iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(name, value)| (name.clone(), value.trim().to_owned())),
    );
    host_json::resolved(template, &all).unwrap_or_default()
}

/// Whether the host finds a connection: under its name, or in parts under `name__…`.
fn is_connected(connection: &str, given: &BTreeMap<String, String>) -> bool {
    let prefix = format!("{connection}__");
    given.iter().any(|(name, value)| {
        (name == connection || name.starts_with(&prefix)) && !value.trim().is_empty()
    })
}

/// Reports functions that are switched off but needed, or on but not needed.
fn switches(off: &[&str], service_bus_on: &[&str], uses_service_bus: bool, notes: &mut Notes) {
    let is_bus = |name: &&&str| name.starts_with("process_sb_");
    let bus: Vec<&str> = off.iter().filter(is_bus).copied().collect();
    let others: Vec<&str> = off.iter().filter(|name| !is_bus(name)).copied().collect();
    if uses_service_bus && !bus.is_empty() {
        notes.fault(
            format!("Service Bus is on, and {} switched off: its jobs never run", are(&bus)),
            format!("Set {} to false, or ENABLE_SERVICE_BUS to false.", names_of_switches(&bus)),
        );
    }
    if !uses_service_bus && !service_bus_on.is_empty() {
        notes.fault(
            format!(
                "Service Bus is off, and {} not switched off: the host finds no connection for them",
                are(service_bus_on)
            ),
            format!(
                "Set {} to true, or ENABLE_SERVICE_BUS to true with a connection.",
                names_of_switches(service_bus_on)
            ),
        );
    }
    for name in others {
        let remedy = format!(
            "Set AzureWebJobs.{name}.Disabled to false, and \"disabled\" in its function.json."
        );
        if name.starts_with("process_queue_") {
            notes.fault(
                format!("{name} is switched off: jobs over Storage Queues do not finish"),
                remedy,
            );
        } else if name == "reconcile" {
            notes.fault("reconcile is switched off: lost work is not recovered", remedy);
        } else if name == "fire_schedules" {
            notes.fault(
                "fire_schedules is switched off: schedules do not fire while no process runs",
                remedy,
            );
        } else {
            notes.warning(format!("{name} is switched off: its route answers 404"), remedy);
        }
    }
}

fn are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

fn names_of_switches(functions: &[&str]) -> String {
    let switches: Vec<String> =
        functions.iter().map(|name| format!("AzureWebJobs.{name}.Disabled")).collect();
    switches.join(", ")
}

/// Reports if the host listens at another namespace (`ServiceBusConnection`) than the app sends to.
fn same_namespace(ours: &ServiceBusSettings, given: &BTreeMap<String, String>, notes: &mut Notes) {
    let theirs: BTreeMap<String, String> = given
        .iter()
        .filter(|(name, _)| {
            name.as_str() == "ServiceBusConnection" || name.starts_with("ServiceBusConnection__")
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(theirs) = ServiceBusSettings::from_env(&mut env(&theirs))
        && theirs.endpoint != ours.endpoint
    {
        notes.fault(
            format!(
                "the host listens at {} (ServiceBusConnection), and the app sends to {}",
                theirs.endpoint, ours.endpoint
            ),
            "Set ServiceBusConnection and SERVICE_BUS_CONNECTION_STRING to the same namespace.",
        );
    }
}

/// Reports function folders that this binary does not know.
fn unknown(root: &Path, notes: &mut Notes) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    let mut unknown: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("function.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| functions().iter().all(|known| known.name != name))
        .collect();
    unknown.sort();
    if !unknown.is_empty() {
        notes.warning(
            format!(
                "{} not known to this version of the handler",
                are(&unknown.iter().map(String::as_str).collect::<Vec<_>>())
            ),
            "Remove the folder, or deploy the handler that belongs to it.",
        );
    }
}
