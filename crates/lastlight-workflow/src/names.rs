//! Names in messages: lists of those that are allowed, and the one that was probably meant.

/// Names that a message lists at most.
const LISTED: usize = 20;

/// The name among those allowed that is most similar to this one, if any is similar enough.
pub(crate) fn nearest<'a>(
    name: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Longer names are no misspellings, and the comparison takes quadratic time.
    const LONGEST: usize = 64;
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&lower, &other.to_lowercase());
    let near = (lower.chars().count() / 3).max(1);
    let candidates = allowed.into_iter().filter(|other| other.len() <= LONGEST && *other != name);
    let candidates: Vec<&str> = candidates.collect();
    let by_distance = candidates.iter().map(|other| (distance(other), *other));
    match by_distance.min_by_key(|(distance, _)| *distance) {
        // Of a name of one letter nothing is left if that is wrong.
        Some((distance, other))
            if distance <= near && distance < lower.chars().count().max(other.chars().count()) =>
        {
            Some(other)
        }
        // `string` for `str`, `timeout` for `timeout_seconds`.
        _ => candidates.into_iter().find(|other| {
            name.len().min(other.len()) >= 3 && (other.starts_with(name) || name.starts_with(other))
        }),
    }
}

/// The end of a message on a wrong name: `; did you mean crs?`, or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, allowed).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

/// Names as a message lists them: `a, b, c and 80 more`; `none` if there are none.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.len() {
        0 => "none".to_owned(),
        all if all > LISTED => {
            format!("{} and {} more", names[..LISTED].join(", "), all - LISTED)
        }
        _ => names.join(", "),
    }
}

/// A value as a message shows it: one line, truncated.
pub(crate) fn shown(value: &serde_json::Value) -> String {
    truncated(&value.to_string())
}

/// A text as a message shows it, truncated.
pub(crate) fn truncated(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The type of a value, for messages.
pub(crate) fn type_of(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_with_a_few_wrong_letters() {
        let names = ["handler", "params", "receives", "retry"];
        assert_eq!(nearest("recieves", names), Some("receives"));
        assert_eq!(nearest("Params", names), Some("params"));
        assert_eq!(nearest("when", names), None);
        assert_eq!(nearest("string", ["str", "int"]), Some("str"));
        assert_eq!(nearest("timeout", ["type", "timeout_seconds"]), Some("timeout_seconds"));
        assert_eq!(nearest("", names), None);
        assert_eq!((nearest("a", ["b"]), nearest("aa", ["a"])), (None, Some("a")));
        assert_eq!(nearest(&"handler".repeat(1000), names), None);
    }

    #[test]
    fn long_lists_say_how_many_names_are_left() {
        let names: Vec<String> = (0..23).map(|number| format!("n{number}")).collect();
        let listed = listed(names.iter().map(String::as_str));
        assert!(listed.starts_with("n0, n1, ") && listed.ends_with("n19 and 3 more"), "{listed}");
    }
}
