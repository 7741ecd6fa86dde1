//! YAML into a tree of values with their places. Knows nothing of workflows.
//!
//! Files are written for PyYAML as well, so plain text is read as it reads it where that differs
//! from the library's rules: `y` and `n` are text, `0755` is octal and `0089` text.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{
    DuplicateKeyPolicy, Error, Location, MessageFormatter, NonFiniteFloatPolicy, Options, Spanned,
    UserMessageFormatter, budget::BudgetBreach,
};

use crate::{
    Place, Problem,
    limits::{MOST_LEVELS, MOST_TEXT, MOST_VALUES, MOST_VALUES_OF_ALIASES},
};

/// A value with its place. For one that an alias names, that is the place of the alias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Located>),
    /// In the order of the file; a key may be there twice.
    Mapping(Vec<(Key, Located)>),
}

/// A key of a mapping, with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Located {
    /// As JSON. Of a key that is there twice, the last value.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(flag) => Value::Bool(*flag),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => Value::Object(mapping_to_json(entries)),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.content == Content::Null
    }
}

/// The entries of a mapping as JSON.
pub(crate) fn mapping_to_json(entries: &[(Key, Located)]) -> Map<String, Value> {
    entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect()
}

/// Reads the only document of a text. What is wrong with single values is added to `problems`:
/// values that cannot be JSON, and keys that are twice in one mapping.
///
/// # Errors
/// The text is no YAML, or too large with its aliases expanded.
pub(crate) fn read(text: &str, problems: &mut Vec<Problem>) -> Result<Located, Problem> {
    let tree: Spanned<Written> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| problem(&error, text))?;
    let tree = located(tree, text, problems);
    find_duplicates(&tree, problems);
    Ok(tree)
}

fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        // All duplicates are found below, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        null_as_string: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_depth: MOST_LEVELS,
            flow_nesting_limit: MOST_LEVELS,
            max_nodes: MOST_VALUES,
            max_total_scalar_bytes: MOST_TEXT,
            // A list of a hundred dependencies may be an anchor that a hundred nodes name.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_VALUES_OF_ALIASES,
        },
    }
}

/// A value as the library reads it.
enum Written {
    Null,
    Bool(bool),
    Number(Number),
    /// NaN, an infinity, or a number that is too large.
    NotFinite,
    Text(String),
    List(Vec<Spanned<Self>>),
    Mapping(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Written, E> {
        Ok(Written::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Written, E> {
        Ok(Written::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Written, E> {
        Ok(Written::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Written, E> {
        Ok(Number::from_f64(number).map_or(Written::NotFinite, Written::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Written, E> {
        Ok(Written::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Written, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Written::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Written, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Written::Mapping(entries))
    }
}

fn located(value: Spanned<Written>, text: &str, problems: &mut Vec<Problem>) -> Located {
    let place = place(value.referenced);
    let written = written(value.defined, text);
    let content = match value.value {
        Written::Null => Content::Null,
        Written::Bool(_) if matches!(written, "y" | "Y" | "n" | "N") => {
            Content::Text(written.to_owned())
        }
        Written::Bool(flag) => Content::Bool(flag),
        Written::Number(_) if is_number_with_leading_zero_and_not_octal(written) => {
            Content::Text(written.to_owned())
        }
        Written::Number(number) => Content::Number(number),
        // A number that is too large is a name, such as the beginning of a hash: 12e4567.
        Written::NotFinite if written.starts_with(|first: char| first.is_ascii_digit()) => {
            Content::Text(written.to_owned())
        }
        Written::NotFinite => {
            let message = format!("{written} cannot be stored: JSON has no NaN and no infinity");
            problems.push(Problem { place, message });
            Content::Null
        }
        Written::Text(text) => Content::Text(text),
        Written::List(items) => {
            Content::List(items.into_iter().map(|item| located(item, text, problems)).collect())
        }
        Written::Mapping(entries) => {
            let entry = |(key, value): (Spanned<String>, Spanned<Written>)| {
                let key = Key { place: self::place(key.referenced), text: key.value };
                (key, located(value, text, problems))
            };
            Content::Mapping(entries.into_iter().map(entry).collect())
        }
    };
    Located { place, content }
}

/// `0089`, which is text for PyYAML, since it is no octal number.
fn is_number_with_leading_zero_and_not_octal(written: &str) -> bool {
    let digits = written.trim_start_matches(['+', '-']);
    digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && digits.contains(['8', '9'])
}

/// A value as it is written in the file; empty for a list or mapping.
fn written(location: Location, text: &str) -> &str {
    let span = location.span();
    let range = span.byte_offset().zip(span.byte_len()).and_then(|(offset, length)| {
        let offset = usize::try_from(offset).ok()?;
        Some(offset..offset.checked_add(usize::try_from(length).ok()?)?)
    });
    range.and_then(|range| text.get(range)).unwrap_or_default().trim()
}

fn place(location: Location) -> Place {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place { line: number(location.line()), column: number(location.column()) }
}

fn find_duplicates(value: &Located, problems: &mut Vec<Problem>) {
    match &value.content {
        Content::List(items) => items.iter().for_each(|item| find_duplicates(item, problems)),
        Content::Mapping(entries) => {
            let mut first = HashMap::new();
            for (key, value) in entries {
                if let Some(first) = first.insert(key.text.as_str(), key.place) {
                    let message =
                        format!("{:?} is here twice: first in line {}", key.text, first.line);
                    problems.push(Problem { place: key.place, message });
                }
                find_duplicates(value, problems);
            }
        }
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => {}
    }
}

/// The problem with a text that cannot be read.
fn problem(error: &Error, text: &str) -> Problem {
    let location = error.location().map_or(Place::START, place);
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner;
    }
    let levels = || format!("at most {MOST_LEVELS} lists and mappings may be in one another");
    let message = match error {
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Documents { .. } => {
                "a file has one workflow: a second document begins here".to_owned()
            }
            BudgetBreach::Depth { .. } => levels(),
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => format!(
                "at most {MOST_VALUES} values, with those of all anchors that are used here"
            ),
            BudgetBreach::ScalarBytes { .. } => format!(
                "at most {MOST_TEXT} bytes of text, with that of all anchors that are used here"
            ),
            breach => format!("too large to be read ({breach:?})"),
        },
        Error::AliasReplayLimitExceeded { .. } | Error::AliasReplayStackDepthExceeded { .. } => {
            format!("anchors that are used here may add at most {MOST_VALUES_OF_ALIASES} values")
        }
        Error::MultipleDocuments { .. } => {
            "a file has one workflow: a second document begins here".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an anchor must not contain itself".to_owned()
        }
        Error::UnknownAnchor { .. } => "no anchor with this name stands above".to_owned(),
        Error::Unexpected { expected: "string scalar", .. } => {
            key_is_no_text(location, text).to_owned()
        }
        Error::ExternalMessage { msg, .. } if msg.contains("recursion limit") => levels(),
        error => {
            let message = UserMessageFormatter.format_message(error);
            let message = message.replace(char::is_control, " ");
            format!("the file is no valid YAML: {message}")
        }
    };
    Problem { place: location, message }
}

/// The problem with a key that is a list or mapping: most often a template without quotes.
fn key_is_no_text(place: Place, text: &str) -> &'static str {
    let line = text.lines().nth(place.line as usize - 1).unwrap_or_default();
    if line.contains("{{") {
        "a template must stand in quotes: \"{{ … }}\""
    } else {
        "a key must be text, not a list or mapping"
    }
}
