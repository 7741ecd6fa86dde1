//! Reads the validators of a workflow.

use std::collections::BTreeMap;

use super::reader::{Fields, Placed, Reader};
use crate::{
    FieldRule, FieldValue, Known, Parameters, Validator, ValidatorRule,
    names::shown,
    yaml::{Content, Located, mapping_to_json},
};

/// Reads the field `validators`.
pub(super) fn validators(
    reader: &mut Reader,
    workflow: &Fields<'_>,
    parameters: &Parameters,
    known: &Known,
) -> Vec<Validator> {
    let items = reader.list(workflow, "validators", "a list of mappings with the field type");
    let read = |(place, item)| validator(reader, place, item, parameters, known);
    items.iter().enumerate().filter_map(read).collect()
}

fn validator(
    reader: &mut Reader,
    index: usize,
    item: &Located,
    parameters: &Parameters,
    known: &Known,
) -> Option<Validator> {
    let fields = reader.fields(item, format!("validator {}", index + 1), item.place)?;
    let allowed = match &known.validators {
        Some(validators) => validators.keys().map(String::as_str).collect::<Vec<_>>().join(" or "),
        None => "the name of a validator".to_owned(),
    };
    let kind = reader.required_text(&fields, "type", &allowed, |kind| !kind.is_empty())?;
    let fields = fields.called(format!("validator {} ({})", index + 1, kind.value));
    if let Some(validators) = &known.validators {
        check(reader, &fields, kind, parameters, validators);
    }
    let Content::Mapping(entries) = &item.content else { return None };
    let mut json = mapping_to_json(entries);
    json.remove("type");
    Some(Validator { kind: kind.value.to_owned(), fields: json })
}

fn check(
    reader: &mut Reader,
    fields: &Fields<'_>,
    kind: Placed<&str>,
    parameters: &Parameters,
    validators: &BTreeMap<String, ValidatorRule>,
) {
    let Some(ValidatorRule { fields: rules, .. }) = validators.get(kind.value) else {
        let names = validators.keys().map(String::as_str);
        return reader.unknown(kind, "validator", "validators of the file", names);
    };
    let mut allowed = vec!["type"];
    allowed.extend(rules.keys().map(String::as_str));
    reader.deny_others(fields, &format!("a validator {}", kind.value), &allowed);
    for (name, rule) in rules {
        match fields.get(name) {
            Some(value) => field(reader, fields, name, *rule, value, parameters),
            None if rule.required => reader.missing(fields, name, rule.value.words()),
            None => {}
        }
    }
}

fn field(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    rule: FieldRule,
    value: &Located,
    parameters: &Parameters,
) {
    match (&value.content, rule.value) {
        (Content::Text(text), FieldValue::Parameter) => {
            if parameters.get(text).is_none() {
                let text = Placed { value: text.as_str(), place: value.place };
                let names = parameters.iter().map(|parameter| parameter.name.as_str());
                let names: Vec<&str> = names.collect();
                let whose = format!("{name} of {}", fields.what);
                reader.unknown(text, "parameter", &whose, names.into_iter());
            }
        }
        (Content::Text(text), FieldValue::Text | FieldValue::Setting) if !text.is_empty() => {}
        (Content::Number(number), FieldValue::Number)
            if number.as_f64().is_some_and(|number| number > 0.0) => {}
        _ => {
            let allowed = rule.value.words();
            let value_shown = shown(&value.to_json());
            let message = format!("{name} of {} must be {allowed}, not {value_shown}", fields.what);
            reader.problem(value.place, message);
        }
    }
}
