//! Checks host.json.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::Value;

use super::{Notes, concurrency};
use lastlight_engine::config::{QueueEncoding, SettingsSoFar, host_json};

/// The default of `extensions.serviceBus.maxAutoLockRenewalDuration`.
const DEFAULT_LOCK_RENEWAL: Duration = Duration::from_secs(300);

const BUNDLE: &str = "Microsoft.Azure.Functions.ExtensionBundle";

pub(super) fn examine(
    root: &Path,
    given: &BTreeMap<String, String>,
    settings: &SettingsSoFar,
) -> Notes {
    let mut notes = Notes::on("host.json");
    let path = root.join("host.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            notes.fault(
                format!("{}: {error}", path.display()),
                "Run this in the app's folder, or set the folder with --app-root.",
            );
            return notes;
        }
    };
    let host = match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        Ok(host) if host.is_object() => host_json::overlaid(host, given),
        Ok(_) => {
            notes.fault("it is JSON, but not an object", "Use the host.json of this version.");
            return notes;
        }
        Err(error) => {
            notes.fault(format!("it is not JSON: {error}"), "Use the host.json of this version.");
            return notes;
        }
    };
    if host.get("version").and_then(Value::as_str) != Some("2.0") {
        notes
            .fault(format!("version is {}", shown(host.get("version"))), "Set version to \"2.0\".");
    }
    handler(&host, root, &mut notes);
    bundle(&host, &mut notes);
    times(&host, settings, &mut notes);
    queues(&host, settings, &mut notes);
    concurrency::examine(&host, root, given, settings, &mut notes);
    if notes.is_quiet() {
        notes.ok("it fits the app");
    }
    notes
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(value) => value.to_string().chars().take(80).collect(),
    }
}

fn handler(host: &Value, root: &Path, notes: &mut Notes) {
    let executable = host.pointer("/customHandler/description/defaultExecutablePath");
    match executable.and_then(Value::as_str).filter(|path| !path.is_empty()) {
        None => notes.fault(
            format!("customHandler.description.defaultExecutablePath is {}", shown(executable)),
            "Set it to \"lastlight\".",
        ),
        Some(name) => {
            let path = root.join(name);
            let remedy = format!(
                "cargo build --release --no-default-features && cp target/release/lastlight {}",
                path.display()
            );
            match fs::metadata(&path) {
                Err(error) => notes.fault(
                    format!("the handler {name:?} (customHandler.description.defaultExecutablePath) cannot be found: {error}"),
                    remedy,
                ),
                Ok(file) if !file.is_file() => {
                    notes.fault(format!("the handler {name:?} is not a file"), remedy);
                }
                Ok(file) if file.permissions().mode() & 0o111 == 0 => notes.fault(
                    format!("the handler {name:?} is not executable"),
                    format!("chmod +x {}", path.display()),
                ),
                Ok(_) => {}
            }
        }
    }
    let is_on =
        |name: &str| host.pointer(&format!("/customHandler/{name}")) == Some(&Value::Bool(true));
    if !is_on("enableForwardingHttpRequest") && !is_on("enableProxyingHttpRequest") {
        notes.warning(
            "customHandler.enableForwardingHttpRequest is not true: requests arrive wrapped, and bodies that are not \
             JSON are damaged",
            "Set it to true.",
        );
    }
    let prefix = host.pointer("/extensions/http/routePrefix");
    if prefix.is_some_and(|prefix| prefix != "api") {
        notes.fault(
            format!(
                "extensions.http.routePrefix is {}: the handler answers only under /api",
                shown(prefix)
            ),
            "Set it to \"api\", or leave it out.",
        );
    }
}

fn bundle(host: &Value, notes: &mut Notes) {
    let remedy = format!(
        "Set extensionBundle to {{ \"id\": \"{BUNDLE}\", \"version\": \"[4.*, 5.0.0)\" }}."
    );
    let id = host.pointer("/extensionBundle/id").and_then(Value::as_str);
    let version = host.pointer("/extensionBundle/version");
    let least = version.and_then(Value::as_str).and_then(|range| {
        range.trim_start_matches(['[', '(']).split('.').next()?.trim().parse::<u32>().ok()
    });
    match (id, least) {
        (None, _) => notes.fault(
            "extensionBundle is not set: the host has no triggers for queues and Service Bus",
            remedy,
        ),
        (Some(id), _) if id != BUNDLE && !id.starts_with(&format!("{BUNDLE}.")) => {
            notes.warning(format!("extensionBundle.id is {id:?}, which is unknown"), remedy);
        }
        (Some(_), Some(4..)) => {}
        (Some(_), _) => notes.fault(
            format!("extensionBundle.version is {}; 4 or later is needed", shown(version)),
            remedy,
        ),
    }
}

/// A time span of host.json; a malformed one is reported.
fn span(host: &Value, pointer: &str, notes: &mut Notes) -> Option<Duration> {
    let value = host.pointer(pointer)?;
    let read = value.as_str().and_then(host_json::time_span);
    if read.is_none() {
        notes.fault(
            format!("{} is {}, which is not a time span", dotted(pointer), shown(Some(value))),
            "Write it as hh:mm:ss.",
        );
    }
    read
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn times(host: &Value, settings: &SettingsSoFar, notes: &mut Notes) {
    let ours = settings.timing.task_timeout;
    let minutes = ours.as_secs() / 60;
    // -1 means no limit.
    let is_endless = host.get("functionTimeout").is_some_and(|limit| limit == "-1" || limit == -1);
    let limit = if is_endless { None } else { span(host, "/functionTimeout", notes) };
    match limit {
        Some(limit) if limit < ours => notes.warning(
            format!(
                "functionTimeout is {} s, less than FUNCTION_TIMEOUT_MINUTES ({minutes} min): attempts end shortly before \
                 functionTimeout, because the host would kill the handler with everything that runs in it",
                limit.as_secs()
            ),
            format!(
                "Set FUNCTION_TIMEOUT_MINUTES to {} or less, or functionTimeout to {} or more.",
                (limit.as_secs() / 60).max(1),
                written(ours)
            ),
        ),
        None if host.get("functionTimeout").is_none() => notes.warning(
            "functionTimeout is not set: the plan decides (5 minutes on Consumption)",
            format!("Set it to {} or more.", written(ours)),
        ),
        _ => {}
    }
    if settings.service_bus.is_some() {
        let renewal = match host.pointer("/extensions/serviceBus/maxAutoLockRenewalDuration") {
            None => Some(DEFAULT_LOCK_RENEWAL),
            Some(_) => span(host, "/extensions/serviceBus/maxAutoLockRenewalDuration", notes),
        };
        let needed = limit.unwrap_or(ours);
        if let Some(renewal) = renewal.filter(|renewal| *renewal < needed) {
            notes.fault(
                format!(
                    "extensions.serviceBus.maxAutoLockRenewalDuration is {} s, less than functionTimeout ({} s): messages \
                     are redelivered while they are being processed",
                    renewal.as_secs(),
                    needed.as_secs()
                ),
                format!("Set it to {} or more.", written(needed + Duration::from_secs(60))),
            );
        }
        let completes = host.pointer("/extensions/serviceBus/autoCompleteMessages");
        if completes.is_some_and(|completes| completes != &Value::Bool(true)) {
            notes.fault(
                format!(
                    "extensions.serviceBus.autoCompleteMessages is {}: no message is ever completed",
                    shown(completes)
                ),
                "Set it to true, or leave it out.",
            );
        }
    }
}

/// A time span in the format of host.json.
fn written(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", clock / 3600, clock % 3600 / 60, clock % 60);
    if days > 0 { format!("{days}.{clock}") } else { clock }
}

fn queues(host: &Value, settings: &SettingsSoFar, notes: &mut Notes) {
    let part = |name: &str| host.pointer(&format!("/extensions/queues/{name}"));
    if let Some(storage) = &settings.storage {
        let ours = match storage.encoding {
            QueueEncoding::Base64 => "base64",
            QueueEncoding::None => "none",
        };
        let theirs = part("messageEncoding").and_then(Value::as_str).unwrap_or("base64");
        if !theirs.eq_ignore_ascii_case(ours) {
            notes.fault(
                format!(
                    "extensions.queues.messageEncoding is {theirs:?}, and STORAGE_QUEUE_ENCODING is {ours}: the host cannot \
                     read what the app sends"
                ),
                format!("Set STORAGE_QUEUE_ENCODING to {theirs}, or messageEncoding to \"{ours}\"."),
            );
        }
    }
    for (name, least, most) in [("batchSize", 1, 32), ("newBatchThreshold", 0, 1000)] {
        if let Some(value) = part(name)
            && !value.as_u64().is_some_and(|number| (least..=most).contains(&number))
        {
            notes.fault(
                format!(
                    "extensions.queues.{name} is {}; {least} to {most} are allowed",
                    shown(Some(value))
                ),
                "Correct it, or leave it out.",
            );
        }
    }
    if let Some(value) = part("maxDequeueCount") {
        match value.as_u64() {
            None | Some(0) => notes.fault(
                format!("extensions.queues.maxDequeueCount is {}", shown(Some(value))),
                "Set it to 5.",
            ),
            Some(count @ 1..3) => notes.warning(
                format!(
                    "extensions.queues.maxDequeueCount is {count}: a message that fails {count} time(s) is dead-lettered"
                ),
                "Set it to 5.",
            ),
            Some(_) => {}
        }
    }
    let pause = match part("visibilityTimeout") {
        None => Some(Duration::ZERO),
        Some(_) => span(host, "/extensions/queues/visibilityTimeout", notes),
    };
    if pause.is_some_and(|pause| pause < Duration::from_secs(5)) {
        notes.warning(
            "extensions.queues.visibilityTimeout is less than 5 s: while the database is unavailable, messages use up \
             their deliveries within seconds and are dead-lettered",
            "Set it to \"00:00:30\".",
        );
    }
}
