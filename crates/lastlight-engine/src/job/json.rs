//! Values as JSON: what cannot be written or read is named with its place.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Writes a value as JSON.
///
/// # Errors
/// The value cannot be written, or could not be read again: a map with keys that are not text; a
/// number that is not finite.
pub(crate) fn write<T: Serialize + DeserializeOwned>(
    value: &T,
    what: &str,
) -> Result<Box<RawValue>, String> {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    if value.serialize(&mut serializer).is_err() {
        return Err(unwritten(value, what));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8"))?;
    // serde_json writes NaN and infinity as null, which their types do not read.
    if text.contains("null")
        && let Err((place, _)) = from_text::<T>(&text, what)
    {
        return Err(format!("{place} cannot be stored: JSON has no NaN and no infinity"));
    }
    RawValue::from_string(text).map_err(|error| format!("{what} is not JSON: {error}"))
}

/// The sentence on a value that cannot be written. Written again, since the place is found by a
/// slower writer.
fn unwritten<T: Serialize>(value: &T, what: &str) -> String {
    let mut serializer = serde_json::Serializer::new(std::io::sink());
    match serde_path_to_error::serialize(value, &mut serializer) {
        Err(error) => {
            let place = place(what, &error.path().to_string());
            format!("{place} cannot be written as JSON: {}", error.inner())
        }
        Ok(()) => format!("{what} cannot be written as JSON"),
    }
}

/// Reads a value from JSON.
///
/// # Errors
/// The JSON does not match the type; the sentence says where.
pub(crate) fn read<T: DeserializeOwned>(json: &RawValue, what: &str) -> Result<T, String> {
    from_text(json.get(), what)
        .map_err(|(place, error)| format!("{place} does not match its type: {error}"))
}

fn from_text<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, (String, String)> {
    // The plain reader is faster; the path is needed for an error only.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| (place(what, &error.path().to_string()), error.inner().to_string()))
}

fn place(what: &str, path: &str) -> String {
    if path == "." { what.to_owned() } else { format!("{path} in {what}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Area {
        km2: f64,
    }

    #[test]
    fn a_number_that_is_not_finite_is_named_with_its_place() {
        let areas = vec![Area { km2: 1.0 }, Area { km2: f64::NAN }];
        let error = write(&areas, "the result").unwrap_err();
        assert_eq!(
            error,
            "[1].km2 in the result cannot be stored: JSON has no NaN and no infinity"
        );
        assert_eq!(
            write(&f64::INFINITY, "the result").unwrap_err(),
            "the result cannot be stored: JSON has no NaN and no infinity"
        );
    }

    #[test]
    fn a_map_whose_keys_are_no_text_is_named_with_its_place() {
        let areas = BTreeMap::from([("tiles", BTreeMap::from([((1, 2), 3)]))]);
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        struct Areas(BTreeMap<String, BTreeMap<(u8, u8), u8>>);
        let areas = Areas(areas.into_iter().map(|(name, area)| (name.to_owned(), area)).collect());
        let error = write(&areas, "the result").unwrap_err();
        assert_eq!(error, "tiles in the result cannot be written as JSON: key must be a string");
    }

    #[test]
    fn null_is_a_value_like_any_other() {
        assert_eq!(write(&(), "the result").unwrap().get(), "null");
        assert_eq!(
            write(&vec![None, Some("null".to_owned())], "the result").unwrap().get(),
            r#"[null,"null"]"#
        );
    }
}
