//! Reads the parameters of a workflow.

use serde_json::Value;

use super::reader::{Fields, Reader};
use crate::{
    Parameter, ParameterType, Parameters,
    limits::{LONGEST_PARAMETER, MOST_PARAMETERS},
    reference::{PARAMETER, PARAMETER_TYPES},
    yaml::{Content, Key, Located},
};

/// What the name of a parameter may be, for messages.
const NAME: &str = "a name of 1 to 100 letters, digits and _, which does not begin with a digit";

/// Names that every handler is given besides its parameters.
const RESERVED: [&str; 3] = ["_run_id", "_task_name", "_workflow"];

/// Reads the field `parameters` of a file.
pub(super) fn of_file(reader: &mut Reader, file: &Fields<'_>) -> Parameters {
    let entries = reader.mapping(file, "parameters", "a mapping of names to parameters");
    parameters(reader, entries, "parameters of the file")
}

/// Reads parameters, or the fields of one.
fn parameters(reader: &mut Reader, entries: &[(Key, Located)], what: &str) -> Parameters {
    if let Some((key, _)) = entries.get(MOST_PARAMETERS) {
        let message = format!("{what} must be at most {MOST_PARAMETERS}, not {}", entries.len());
        reader.problem(key.place, message);
    }
    let entries = entries.get(..MOST_PARAMETERS).unwrap_or(entries);
    Parameters(entries.iter().map(|(key, value)| parameter(reader, key, value)).collect())
}

fn parameter(reader: &mut Reader, key: &Key, value: &Located) -> Parameter {
    if !is_name(&key.text) {
        reader.problem(
            key.place,
            format!("the name of a parameter must be {NAME}, not {:?}", key.text),
        );
    }
    if RESERVED.contains(&key.text.as_str()) {
        let reserved = RESERVED.join(", ");
        let message = format!("a parameter must not be named {reserved}: handlers are given these");
        reader.problem(key.place, message);
    }
    let what = format!("parameter {:?}", key.text);
    let Some(fields) = reader.fields(value, what, key.place) else {
        return unreadable(key);
    };
    reader.deny_unknown(&fields, &PARAMETER);
    if fields.get("type").is_none() {
        let types = PARAMETER_TYPES.map(|(name, _)| name).join(" or ");
        reader.missing(&fields, "type", &types);
    }
    let kind = reader.choice(&fields, "type", &PARAMETER_TYPES);
    let required = reader.flag(&fields, "required");
    let nested = nested(reader, &fields, kind);
    let description = reader.text(&fields, "description", "text", |_| true);
    let default = default(reader, &fields, kind);
    Parameter {
        name: key.text.clone(),
        kind: kind.unwrap_or(UNREADABLE),
        required,
        default,
        description: description.map(|description| description.value.to_owned()),
        nested,
    }
}

/// The type of a parameter whose type cannot be read, which is a problem already: a path may look
/// for anything in it.
const UNREADABLE: ParameterType = ParameterType::Dict;

/// A parameter of which only the name is known, so that those who use it have no problem.
fn unreadable(key: &Key) -> Parameter {
    Parameter {
        name: key.text.clone(),
        kind: UNREADABLE,
        required: false,
        default: None,
        description: None,
        nested: None,
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.bytes();
    text.len() <= LONGEST_PARAMETER
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == b'_')
}

fn nested(
    reader: &mut Reader,
    fields: &Fields<'_>,
    kind: Option<ParameterType>,
) -> Option<Parameters> {
    let value = fields.get("nested")?;
    if let Some(kind) = kind.filter(|kind| *kind != ParameterType::Dict) {
        let message = format!(
            "{} must not have the field nested: only a parameter of type dict has fields, and this \
             one is of type {}",
            fields.what,
            kind.name()
        );
        reader.problem(fields.place_of("nested"), message);
        return None;
    }
    match &value.content {
        Content::Mapping(entries) => {
            Some(parameters(reader, entries, &format!("nested of {}", fields.what)))
        }
        _ => {
            let what = format!("nested of {}", fields.what);
            reader.must_be(value, &what, "a mapping of names to parameters");
            None
        }
    }
}

fn default(reader: &mut Reader, fields: &Fields<'_>, kind: Option<ParameterType>) -> Option<Value> {
    let default = fields.get("default")?;
    let kind = kind?;
    let json = default.to_json();
    if kind.has(&json) {
        return Some(json);
    }
    let what = format!("default of {}", fields.what);
    reader.must_be(default, &what, &format!("{} (its type is {})", kind.words(), kind.name()));
    None
}
