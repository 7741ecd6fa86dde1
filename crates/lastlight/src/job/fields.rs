//! Reading the parameters of a submission: each reader checks one field, fills in its default, and
//! notes what is wrong with the field's name, its value and what is allowed. Nothing stops at the
//! first problem.
//!
//! The readers also note what they ask for, so that the same lines that check a submission describe
//! it: see [`Fields::schema_of`].

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldProblem {
    /// The field's name.
    pub field: String,
    /// What was given; absent when the field was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What is allowed, in words.
    pub allowed: String,
}

impl std::fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, value, allowed } = self;
        match value {
            None => write!(f, "{field} is missing: {allowed}"),
            Some(value) => write!(f, "{field} must be {allowed}, not {}", shortened(value)),
        }
    }
}

/// The whole number that a value is, however it is spelt: JSON knows one kind of number.
fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..EXACT).contains(&number)).then_some(number as u64)
    })
}

/// A value as an error shows it: long ones are cut, so that an error is never as large as its
/// cause.
fn shortened(value: &Value) -> String {
    const SHOWN: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A submission's fields while they are checked. What no reader asked for is kept as it came: it is
/// part of the job's identity, as in the Python app.
#[derive(Debug)]
pub struct Fields {
    accepted: Map<String, Value>,
    problems: Vec<FieldProblem>,
    /// JSON Schemas of the fields that were asked for, by name.
    asked: Map<String, Value>,
    required: Vec<String>,
}

impl Fields {
    /// Starts with what was submitted.
    pub fn new(submitted: Map<String, Value>) -> Self {
        Self { accepted: submitted, problems: Vec::new(), asked: Map::new(), required: Vec::new() }
    }

    /// A JSON Schema (draft 2020-12) of the objects that `check` accepts: what it asks for while it
    /// reads an empty one. A field that it asks for only where another one has some value is not in
    /// it.
    pub fn schema_of(check: impl FnOnce(&mut Self)) -> Value {
        let mut fields = Self::new(Map::new());
        check(&mut fields);
        json!({
            "type": "object",
            "properties": fields.asked,
            "required": fields.required,
            "additionalProperties": true,
        })
    }

    /// Says what a field is for, in the schema. Comes after the reader of the field.
    pub fn describe(&mut self, field: &str, description: &str) {
        if let Some(Value::Object(schema)) = self.asked.get_mut(field) {
            schema.insert("description".to_owned(), Value::from(description));
        }
    }

    fn ask(&mut self, field: &str, schema: Value) {
        self.asked.insert(field.to_owned(), schema);
    }

    /// A whole number within `allowed`; it must be given.
    pub fn integer(&mut self, field: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let schema =
            json!({ "type": "integer", "minimum": allowed.start(), "maximum": allowed.end() });
        self.ask(field, schema);
        self.required.push(field.to_owned());
        self.given_integer(field, &allowed)
    }

    fn given_integer(&mut self, field: &str, allowed: &RangeInclusive<u64>) -> Option<u64> {
        let words = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        match self.accepted.get(field) {
            None | Some(Value::Null) => {
                self.note(field, words);
                None
            }
            Some(value) => match whole(value).filter(|number| allowed.contains(number)) {
                Some(number) => {
                    // 5.0 is the same work as 5, and gets the same id.
                    self.accepted.insert(field.to_owned(), Value::from(number));
                    Some(number)
                }
                None => {
                    self.note(field, words);
                    None
                }
            },
        }
    }

    /// A whole number within `allowed` that may be left out (or null, which is the same).
    pub fn optional_integer(&mut self, field: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let schema = json!({ "type": ["integer", "null"], "minimum": allowed.start(), "maximum": allowed.end() });
        self.ask(field, schema);
        match self.accepted.get(field) {
            None => None,
            Some(Value::Null) => {
                self.accepted.remove(field);
                None
            }
            Some(_) => self.given_integer(field, &allowed),
        }
    }

    /// Text whose length in characters is within `allowed`; `default` takes its place where it is
    /// not given.
    pub fn text_or(
        &mut self,
        field: &str,
        default: &str,
        allowed: RangeInclusive<usize>,
    ) -> String {
        let schema = json!({
            "type": ["string", "null"], "minLength": allowed.start(), "maxLength": allowed.end(), "default": default,
        });
        self.ask(field, schema);
        let words = format!("text of {} to {} characters", allowed.start(), allowed.end());
        match self.accepted.get(field) {
            None | Some(Value::Null) => {
                self.accepted.insert(field.to_owned(), Value::from(default));
                default.to_owned()
            }
            Some(Value::String(text)) if allowed.contains(&text.chars().count()) => text.clone(),
            Some(_) => {
                self.note(field, words);
                default.to_owned()
            }
        }
    }

    /// `true` or `false`; `default` takes its place where it is not given.
    pub fn flag_or(&mut self, field: &str, default: bool) -> bool {
        self.ask(field, json!({ "type": ["boolean", "null"], "default": default }));
        match self.accepted.get(field) {
            None | Some(Value::Null) => {
                self.accepted.insert(field.to_owned(), Value::from(default));
                default
            }
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.note(field, "true or false".to_owned());
                default
            }
        }
    }

    /// A field that may be left out (or null, which is the same) and otherwise must satisfy
    /// `is_allowed`. `allowed` says so in words, `schema` as a JSON Schema.
    pub fn optional(
        &mut self,
        field: &str,
        allowed: &str,
        schema: Value,
        is_allowed: fn(&Value) -> bool,
    ) {
        self.ask(field, schema);
        match self.accepted.get(field) {
            None => {}
            Some(Value::Null) => {
                self.accepted.remove(field);
            }
            Some(value) if is_allowed(value) => {}
            Some(_) => self.note(field, allowed.to_owned()),
        }
    }

    /// Sets a field to what the job type prescribes; another value that was given is a problem.
    pub fn prescribe(&mut self, field: &str, prescribed: Value, why: &str) {
        self.ask(field, json!({ "enum": [prescribed, null], "default": prescribed }));
        match self.accepted.get(field) {
            Some(given) if !given.is_null() && *given != prescribed => {
                self.note(field, format!("{prescribed}, or left out, {why}"));
            }
            _ => {
                self.accepted.insert(field.to_owned(), prescribed);
            }
        }
    }

    /// What was given and no reader asked for, a sentence each, with the name that may have been
    /// meant. For people: such a field is allowed, but whoever misspelt one waits in vain for what
    /// it should do. Comes after the readers.
    pub fn unread(&self) -> Vec<String> {
        const SHOWN: usize = 20;
        let unread = || self.accepted.keys().filter(|name| !self.asked.contains_key(*name));
        let mut said: Vec<String> = unread()
            .take(SHOWN)
            .map(|name| {
                let meant = self.close_to(name).map(|meant| format!("did you mean {meant}? "));
                format!(
                    "nothing reads {}: {}it is part of the job's identity and does nothing",
                    shortened(&Value::from(name.as_str())),
                    meant.unwrap_or_default()
                )
            })
            .collect();
        let left = unread().count().saturating_sub(SHOWN);
        if left > 0 {
            said.push(format!("nothing reads {left} more fields"));
        }
        said
    }

    /// The known name that is most like this one, if one is.
    fn close_to(&self, name: &str) -> Option<&str> {
        // Longer ones are no misspelling, and what is compared takes the square of its length.
        const LONGEST: usize = 64;
        let likeness = |known: &String| strsim::damerau_levenshtein(known, name);
        let best = (name.len() <= LONGEST)
            .then(|| self.asked.keys().min_by_key(|known| likeness(known)))
            .flatten()?;
        (likeness(best) <= (name.chars().count() / 4).max(1)).then_some(best)
    }

    fn note(&mut self, field: &str, allowed: String) {
        self.problems.push(FieldProblem {
            field: field.to_owned(),
            value: self.accepted.get(field).cloned(),
            allowed,
        });
    }

    /// The parameters with their defaults.
    ///
    /// # Errors
    /// Everything that the readers noted.
    pub fn finish(self) -> Result<Map<String, Value>, Vec<FieldProblem>> {
        if self.problems.is_empty() { Ok(self.accepted) } else { Err(self.problems) }
    }
}
