//! Reads host.json and its overrides as the Functions host does, for the local host, `doctor` and
//! the handler.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

/// Overrides values of host.json with the app settings `AzureFunctionsJobHost__<path>`, as the host
/// does.
pub fn overlaid(mut host: Value, settings: &BTreeMap<String, String>) -> Value {
    for (name, text) in settings {
        let Some(steps) = name.strip_prefix("AzureFunctionsJobHost__") else {
            continue;
        };
        // Values that parse as JSON other than strings are used as such; all others are text.
        let value = serde_json::from_str(text)
            .ok()
            .filter(|value: &Value| !value.is_string())
            .unwrap_or_else(|| Value::from(text.as_str()));
        let mut place = &mut host;
        for step in steps.split("__") {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[step];
        }
        *place = value;
    }
    host
}

/// Parses `hh:mm:ss` or `d.hh:mm:ss`.
pub fn time_span(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once('.') {
        Some((days, clock)) => (days.parse::<u64>().ok()?, clock),
        None => (0, text),
    };
    let numbers: Vec<u64> =
        clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = numbers[..] else {
        return None;
    };
    // A value that overflows is rejected instead of a panic.
    let sum = days
        .checked_mul(86_400)?
        .checked_add(hours.checked_mul(3600)?)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(seconds)?;
    Some(Duration::from_secs(sum))
}

/// Whether the app's settings disable a function, as in Azure: `AzureWebJobs.<name>.Disabled`, or
/// with `__` for the dots.
pub fn is_switched_off(settings: &BTreeMap<String, String>, function: &str) -> bool {
    [format!("AzureWebJobs.{function}.Disabled"), format!("AzureWebJobs__{function}__Disabled")]
        .iter()
        .filter_map(|name| settings.get(name))
        .any(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// Replaces each `%NAME%` by the value of the setting with this name.
///
/// # Errors
/// The name of a setting that is not set; `None` if a `%` has no partner.
pub fn resolved(text: &str, settings: &BTreeMap<String, String>) -> Result<String, Option<String>> {
    let mut parts = text.split('%');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    while let Some(name) = parts.next() {
        let value = settings.get(name).ok_or_else(|| Some(name.to_owned()))?;
        whole.push_str(value);
        whole.push_str(parts.next().ok_or(None)?);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_spans_are_parsed_as_by_the_host() {
        assert_eq!(time_span("00:30:00"), Some(Duration::from_secs(1800)));
        assert_eq!(time_span("1.00:00:01"), Some(Duration::from_secs(86_401)));
        for bad in ["", "30", "00:30", "-1", "a:b:c", "99999999999999999999.00:00:00"] {
            assert_eq!(time_span(bad), None, "{bad}");
        }
    }

    #[test]
    fn app_settings_override_the_file() {
        let settings = [
            ("AzureFunctionsJobHost__functionTimeout", "00:01:00"),
            ("AzureFunctionsJobHost__extensions__queues__batchSize", "8"),
            ("OTHER", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let host = json!({ "functionTimeout": "00:30:00", "extensions": { "queues": { "batchSize": 32 } } });
        assert_eq!(
            overlaid(host, &settings),
            json!({ "functionTimeout": "00:01:00", "extensions": { "queues": { "batchSize": 8 } } })
        );
    }
}
