//! Reads JSON bodies field by field: those of workers' requests, of requests to delete jobs, and of schedules. A problem
//! names the field, its value and what is allowed. Values of results are kept as they were sent.

use std::{collections::BTreeMap, ops::RangeInclusive};

use lastlight_api::workers::AttemptKey;
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};

use super::{
    ApiError,
    query::{bad, shortened},
};
use crate::{model::Stage, store::RunningTask};

/// A JSON object whose fields are read one after the other.
#[derive(Debug)]
pub(super) struct Fields {
    /// Where the object is: empty for the body itself.
    place: String,
    fields: BTreeMap<String, Box<RawValue>>,
}

impl Fields {
    /// The body of a request.
    pub(super) fn of_body(body: &[u8], send: &str) -> Result<Self, ApiError> {
        let refuse = |problem: String| Err(bad(format!("{problem}; {send}")));
        let Ok(text) = std::str::from_utf8(body) else {
            return refuse("the body is not UTF-8".to_owned());
        };
        if text.trim().is_empty() {
            return refuse("the body is empty".to_owned());
        }
        match serde_json::from_str(text) {
            Ok(fields) => Ok(Self { place: String::new(), fields }),
            Err(error) if error.is_data() => {
                refuse("the body is JSON but not an object".to_owned())
            }
            Err(error) => refuse(format!("the body is not JSON: {error}")),
        }
    }

    /// An object in a list.
    pub(super) fn of_item(list: &str, index: usize, item: &RawValue) -> Result<Self, String> {
        let place = format!("{list}[{index}]");
        match serde_json::from_str(item.get()) {
            Ok(fields) => Ok(Self { place: format!("{place}."), fields }),
            Err(_) => Err(format!("{place} must be an object, not {}", shortened(item.get()))),
        }
    }

    /// A field as it was sent; `None` if it is absent.
    pub(super) fn raw_or_null(&mut self, field: &str) -> Option<Box<RawValue>> {
        self.fields.remove(field)
    }

    /// A field as it was sent; `None` if it is absent or null.
    pub(super) fn raw(&mut self, field: &str) -> Option<Box<RawValue>> {
        self.fields.remove(field).filter(|value| value.get() != "null")
    }

    /// A field; `None` if it is absent or null.
    fn read<T: DeserializeOwned>(
        &mut self,
        field: &str,
        allowed: &str,
        is_allowed: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.raw(field) else { return Ok(None) };
        let read = serde_json::from_str(value.get()).ok().filter(is_allowed);
        let place = &self.place;
        match read {
            Some(read) => Ok(Some(read)),
            None => {
                Err(format!("{place}{field} must be {allowed}, not {}", shortened(value.get())))
            }
        }
    }

    fn required<T>(&self, field: &str, allowed: &str, read: Option<T>) -> Result<T, String> {
        read.ok_or_else(|| format!("{}{field} is missing: {allowed}", self.place))
    }

    /// A text of at most `longest` characters, and at least one.
    pub(super) fn name(&mut self, field: &str, longest: usize) -> Result<Option<String>, String> {
        let allowed =
            format!("text of 1 to {longest} characters, none of them a control character");
        self.read(field, &allowed, |text: &String| is_name(text, longest))
    }

    /// The same, if the field is required.
    pub(super) fn required_name(&mut self, field: &str, longest: usize) -> Result<String, String> {
        let read = self.name(field, longest)?;
        self.required(field, &format!("text of 1 to {longest} characters"), read)
    }

    /// A text of any length. Halves of characters, which JSON can write and nothing else can, are
    /// replaced.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, String> {
        let Some(value) = self.raw(field) else { return Ok(None) };
        match serde_json::from_str(value.get()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => match serde_json::from_str(&without_halves(value.get())) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(format!(
                    "{}{field} must be text, not {}",
                    self.place,
                    shortened(value.get())
                )),
            },
        }
    }

    /// A number in a range.
    pub(super) fn number(
        &mut self,
        field: &str,
        allowed: RangeInclusive<f64>,
    ) -> Result<Option<f64>, String> {
        let said = format!("a number from {} to {}", allowed.start(), allowed.end());
        self.read(field, &said, |number: &f64| allowed.contains(number))
    }

    /// True or false.
    pub(super) fn flag(&mut self, field: &str) -> Result<Option<bool>, String> {
        self.read(field, "true or false", |_: &bool| true)
    }

    /// A whole number in a range.
    pub(super) fn whole(
        &mut self,
        field: &str,
        allowed: RangeInclusive<u16>,
    ) -> Result<Option<u16>, String> {
        let said = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        // JSON has only one number type, so 5.0 equals 5.
        let whole = |number: &f64| {
            number.fract() == 0.0
                && (f64::from(*allowed.start())..=f64::from(*allowed.end())).contains(number)
        };
        Ok(self.read(field, &said, whole)?.map(|number| number as u16))
    }

    /// One of several names.
    pub(super) fn choice<T: Copy>(
        &mut self,
        field: &str,
        allowed: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, String> {
        let said = names_of(allowed, &name_of);
        let is = |text: &String| allowed.iter().find(|one| name_of(**one) == text).copied();
        let read = self.read(field, &said, |text: &String| is(text).is_some())?;
        Ok(read.as_ref().and_then(is))
    }

    /// The same, if the field is required.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        field: &str,
        allowed: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) -> Result<T, String> {
        let said = names_of(allowed, &name_of);
        let read = self.choice(field, allowed, name_of)?;
        self.required(field, &said, read)
    }

    /// A list whose length is allowed, with its values as they were sent.
    pub(super) fn list(
        &mut self,
        field: &str,
        allowed: RangeInclusive<usize>,
    ) -> Result<Vec<Box<RawValue>>, String> {
        let said = format!("a list of {} to {} values", allowed.start(), allowed.end());
        let read = self.list_if_given(field, allowed)?;
        self.required(field, &said, read)
    }

    /// The same, if the field need not be given.
    pub(super) fn list_if_given(
        &mut self,
        field: &str,
        allowed: RangeInclusive<usize>,
    ) -> Result<Option<Vec<Box<RawValue>>>, String> {
        let said = format!("a list of {} to {} values", allowed.start(), allowed.end());
        self.read(field, &said, |list: &Vec<Box<RawValue>>| allowed.contains(&list.len()))
    }

    /// The attempt that the object names.
    pub(super) fn attempt(&mut self) -> Result<RunningTask, String> {
        let job_id = self.read("job_id", "64 hexadecimal digits", |_| true)?;
        let job_id = self.required("job_id", "64 hexadecimal digits", job_id)?;
        let stage = self.whole("stage", 1..=100)?;
        let stage = stage.and_then(|stage| u8::try_from(stage).ok());
        let stage = stage.and_then(|stage| Stage::try_from(stage).ok());
        let stage = self.required("stage", "a whole number from 1 to 100", stage)?;
        let task_id = self.read("task_id", "a task id, as the claim said it", |_| true)?;
        let task_id = self.required("task_id", "a task id, as the claim said it", task_id)?;
        let attempt = self.whole("attempt", 1..=i16::MAX.unsigned_abs())?;
        let attempt = attempt.and_then(|attempt| i16::try_from(attempt).ok());
        let attempt = self.required("attempt", "a whole number from 1 to 32767", attempt)?;
        Ok(RunningTask { job_id, stage, task_id, attempt })
    }

    /// Refuses a field that was not read.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), String> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(format!(
                "unknown field {}{}; allowed are {}",
                self.place,
                shortened(unknown),
                known.join(", ")
            )),
        }
    }
}

/// Names in quotes, for messages.
fn names_of<T: Copy>(allowed: &[T], name_of: impl Fn(T) -> &'static str) -> String {
    let names: Vec<String> = allowed.iter().map(|one| format!("{:?}", name_of(*one))).collect();
    names.join(", ")
}

/// The fields that name an attempt.
pub(super) const ATTEMPT: [&str; 4] = ["job_id", "stage", "task_id", "attempt"];

/// The schemas of the fields that name an attempt.
pub(super) fn attempt_schema() -> Value {
    json!({
        "job_id": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": "The job's id." },
        "stage": { "type": "integer", "minimum": 1, "maximum": 100, "description": "The stage." },
        "task_id": {
            "type": "string", "minLength": 1, "maxLength": 100, "pattern": r"^[^\u0000]+$",
            "description": "The task's id.",
        },
        "attempt": {
            "type": "integer", "minimum": 1, "maximum": 32767,
            "description": "The number of the attempt, as the claim said it.",
        },
    })
}

/// The schema of a name.
pub(super) fn name_schema(longest: usize, description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": longest, "pattern": NAME,
        "description": description,
    })
}

/// No control characters.
pub(super) const NAME: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";

/// The schema of an optional text.
pub(super) fn text_schema(description: &str) -> Value {
    json!({ "type": ["string", "null"], "description": description })
}

/// The schema of an object without other fields.
pub(super) fn object(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

/// The key of an attempt, for an answer.
pub(super) fn key(task: RunningTask) -> AttemptKey {
    let RunningTask { job_id, stage, task_id, attempt } = task;
    AttemptKey { job_id, stage, task_id, attempt }
}

/// Whether a text is a name of at most `longest` characters.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A JSON text with every escape of a surrogate, half of a character or not, replaced.
fn without_halves(json: &str) -> String {
    let mut replaced = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        replaced.push_str(&rest[..at]);
        let escape = &rest[at..];
        let surrogate = |digits: &str| {
            digits.starts_with(['d', 'D'])
                && matches!(digits.as_bytes().get(1), Some(b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F'))
        };
        let length = if escape.as_bytes().get(1) == Some(&b'u')
            && escape.is_char_boundary(6.min(escape.len()))
        {
            let length = 6.min(escape.len());
            if escape.get(2..length).is_some_and(surrogate) {
                replaced.push_str("\\ufffd");
                rest = &escape[length..];
                continue;
            }
            length
        } else {
            escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end)
        };
        replaced.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters_are_replaced_in_texts() {
        let body = br#"{"error": "a\ud800b \\ud800 \u0041", "other": "\ud83d\ude00"}"#;
        let mut fields = Fields::of_body(body, "").unwrap();
        assert_eq!(fields.text("error").unwrap().unwrap(), "a\u{fffd}b \\ud800 A");
        assert_eq!(fields.text("other").unwrap().unwrap(), "\u{1f600}");
    }

    #[test]
    fn problems_name_the_field_the_value_and_what_is_allowed() {
        let body = br#"{"worker_id": "", "max": 101, "wait_seconds": -1, "handlers": [], "x": 1}"#;
        let mut fields = Fields::of_body(body, "").unwrap();
        let said = [
            fields.required_name("worker_id", 100).unwrap_err(),
            fields.whole("max", 1..=100).unwrap_err(),
            fields.number("wait_seconds", 0.0..=25.0).unwrap_err(),
            fields.list("handlers", 1..=100).unwrap_err(),
            fields.required_name("queue", 50).unwrap_err(),
            fields.finish(&["worker_id", "max"]).unwrap_err(),
        ];
        assert_eq!(
            said,
            [
                "worker_id must be text of 1 to 100 characters, none of them a control character, not \"\"",
                "max must be a whole number from 1 to 100, not 101",
                "wait_seconds must be a number from 0 to 25, not -1",
                "handlers must be a list of 1 to 100 values, not []",
                "queue is missing: text of 1 to 50 characters",
                "unknown field x; allowed are worker_id, max",
            ]
        );
        let item: Box<RawValue> = serde_json::from_str(r#"{"job_id": "no"}"#).unwrap();
        let mut item = Fields::of_item("outcomes", 3, &item).unwrap();
        assert_eq!(
            item.attempt().unwrap_err(),
            "outcomes[3].job_id must be 64 hexadecimal digits, not \"no\""
        );
    }
}
