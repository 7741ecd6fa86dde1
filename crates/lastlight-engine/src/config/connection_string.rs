//! Parses Azure connection strings: `Key=Value;Key=Value`, where a value may contain `=`.

use std::collections::BTreeMap;

/// Returns the values by their keys in lower case.
///
/// # Errors
/// A part is not of the form `Key=Value`. It is named by its number, since its text may be a
/// secret.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut parts = BTreeMap::new();
    for (place, part) in
        text.split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty())
    {
        match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                parts.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
            _ => return Err(format!("part {} is not of the form Key=Value", place + 1)),
        }
    }
    Ok(parts)
}

/// Whether the value is `true`, ignoring case.
pub(super) fn is_true(parts: &BTreeMap<String, String>, key: &str) -> bool {
    parts.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}
