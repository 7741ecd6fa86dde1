//! Labels in arguments and in output.

use lastlight_api::{
    Labels,
    labels::{check_label_key, is_label_value},
};

/// Parses `KEY=VALUE`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = named(text, "KEY=VALUE")?;
    check_label_key(&key).map_err(|problem| problem.to_string())?;
    Ok((key, value))
}

/// Parses `NAME=VALUE`, where the value is a text of a job's parameter.
pub(super) fn parameter(text: &str) -> Result<(String, String), String> {
    named(text, "NAME=VALUE")
}

fn named(text: &str, expected: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && is_label_value(value) => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("expected {expected} with a value of 1 to 256 characters")),
    }
}

/// Labels in one line: `stage=test, team=roads`.
pub(super) fn line(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_key_and_value() {
        let read = |text| label(text).map_err(|problem| problem.to_string());
        assert_eq!(read("team=roads"), Ok(("team".to_owned(), "roads".to_owned())));
        assert_eq!(read("url=a=b"), Ok(("url".to_owned(), "a=b".to_owned())));
        for wrong in ["team", "=roads", "team=", "Team=roads"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
