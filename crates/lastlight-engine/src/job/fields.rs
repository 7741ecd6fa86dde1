//! Reading the parameters of a submission: each reader checks one field, fills in its default, and
//! records a problem with the field's name, its value and what is allowed. All problems are
//! collected; checking does not stop at the first one.
//!
//! The readers also record a JSON Schema of each field that they read, so that the same code checks
//! and documents a submission: see [`Fields::schema_of`].

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A problem with one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldProblem {
    /// The field's name.
    pub field: String,
    /// The submitted value; absent if the field was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// A description of the allowed values.
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

/// The value as a whole number, in any notation: JSON has only one number type, so 5.0 equals 5.
pub(super) fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..EXACT).contains(&number)).then_some(number as u64)
    })
}

/// A value for an error message: long values are truncated, so that the message stays small.
fn shortened(value: &Value) -> String {
    const SHOWN: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A submission's fields while they are checked. Fields that no reader reads are kept unchanged:
/// they are part of the job's identity, as in the Python app.
#[derive(Debug)]
pub struct Fields {
    pub(super) accepted: Map<String, Value>,
    pub(super) problems: Vec<FieldProblem>,
    /// JSON Schemas of the fields that were read, by name.
    pub(super) asked: Map<String, Value>,
    pub(super) required: Vec<String>,
    /// `$defs` that these schemas refer to.
    pub(super) definitions: Value,
    /// Whether fields that no reader reads are problems.
    pub(super) denies_unknown: bool,
    /// What no object may be: a JSON Schema, or null.
    excluded: Value,
    /// Fields of the submission that are not parameters.
    options: BTreeMap<&'static str, Value>,
}

impl Fields {
    /// Starts with the submitted fields.
    pub fn new(submitted: Map<String, Value>) -> Self {
        Self {
            accepted: submitted,
            problems: Vec::new(),
            asked: Map::new(),
            required: Vec::new(),
            definitions: Value::Null,
            denies_unknown: false,
            excluded: Value::Null,
            options: BTreeMap::new(),
        }
    }

    /// A JSON Schema (draft 2020-12) of the objects that `check` accepts: the fields that it reads
    /// from an empty object. A field that `check` reads only if another field has some value is not
    /// included.
    pub fn schema_of(check: impl FnOnce(&mut Self)) -> Value {
        let mut fields = Self::new(Map::new());
        check(&mut fields);
        let mut schema = json!({
            "type": "object",
            "properties": fields.asked,
            "required": fields.required,
            "additionalProperties": !fields.denies_unknown,
        });
        if !fields.definitions.is_null() {
            schema["$defs"] = fields.definitions;
        }
        if !fields.excluded.is_null() {
            schema["not"] = fields.excluded;
        }
        schema
    }

    /// Sets a field's description in the schema. Call it after the reader of the field.
    pub fn describe(&mut self, field: &str, description: &str) {
        if let Some(Value::Object(schema)) = self.asked.get_mut(field) {
            schema.insert("description".to_owned(), Value::from(description));
        }
    }

    pub(super) fn ask(&mut self, field: &str, schema: Value) {
        self.asked.insert(field.to_owned(), schema);
    }

    /// `true` or `false`; `default` if absent or null.
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

    /// `true` or `false`, false if absent. It is part of the job's identity only if it is true, so
    /// that jobs from before it existed keep theirs.
    pub fn switch(&mut self, field: &str) -> bool {
        self.ask(field, json!({ "type": ["boolean", "null"], "default": false }));
        match self.accepted.get(field) {
            None => false,
            Some(Value::Null | Value::Bool(false)) => {
                self.accepted.remove(field);
                false
            }
            Some(Value::Bool(true)) => true,
            Some(_) => {
                self.note(field, "true or false".to_owned());
                false
            }
        }
    }

    /// Two flags of which only one may be true; `why` is added to the problem.
    pub fn excludes(&mut self, one: &str, other: &str, why: &str) {
        self.excluded = json!({
            "properties": { one: { "const": true }, other: { "const": true } },
            "required": [one, other],
        });
        let is_true = |field: &str| self.accepted.get(field) == Some(&Value::Bool(true));
        if is_true(one) && is_true(other) {
            self.note(one, format!("false if {other} is true: {why}"));
        }
    }

    /// An optional field that must satisfy `is_allowed`; null is the same as absent. `allowed`
    /// describes the allowed values in words, `schema` as a JSON Schema.
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

    /// An option of the submission, which is not a parameter of the job: it is checked like
    /// [`Self::optional`], and kept for [`Self::take_option`].
    pub(crate) fn option(
        &mut self,
        field: &'static str,
        allowed: &str,
        schema: Value,
        is_allowed: fn(&Value) -> bool,
    ) {
        self.optional(field, allowed, schema, is_allowed);
        if let Some(value) = self.accepted.remove(field) {
            self.options.insert(field, value);
        }
    }

    /// The value of an option, if it was submitted.
    pub(crate) fn take_option(&mut self, field: &str) -> Option<Value> {
        self.options.remove(field)
    }

    /// Whether the field was submitted.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.accepted.contains_key(field)
    }

    /// Sets a field to the value that the job type prescribes; any other submitted value is a
    /// problem.
    pub fn prescribe(&mut self, field: &str, prescribed: Value, why: &str) {
        self.ask(field, json!({ "enum": [prescribed, null], "default": prescribed }));
        match self.accepted.get(field) {
            Some(given) if !given.is_null() && *given != prescribed => {
                self.note(field, format!("{prescribed} or omitted, {why}"));
            }
            _ => {
                self.accepted.insert(field.to_owned(), prescribed);
            }
        }
    }

    /// Warnings about submitted fields that no reader reads, one sentence each, with the field name
    /// that may have been meant. Such a field is allowed, but a misspelt one has no effect. Call it
    /// after the readers.
    pub fn unread(&self) -> Vec<String> {
        const SHOWN: usize = 20;
        let unread = || self.accepted.keys().filter(|name| !self.asked.contains_key(*name));
        let mut said: Vec<String> = unread()
            .take(SHOWN)
            .map(|name| {
                let meant = self.close_to(name).map(|meant| format!(" (did you mean {meant}?)"));
                format!(
                    "unknown field {}{}: it is part of the job's identity and has no effect",
                    shortened(&Value::from(name.as_str())),
                    meant.unwrap_or_default()
                )
            })
            .collect();
        let left = unread().count().saturating_sub(SHOWN);
        if left > 0 {
            said.push(format!("{left} more unknown fields"));
        }
        said
    }

    /// The known name that is most similar to this one, if any is similar enough.
    fn close_to(&self, name: &str) -> Option<&str> {
        // Longer names are no misspellings, and the comparison takes quadratic time.
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

    /// Adds defaults that no reader knows, those of nested fields for example, unless there are
    /// problems.
    pub(crate) fn fill_in(&mut self, fill: impl FnOnce(&mut Map<String, Value>)) {
        if self.problems.is_empty() {
            fill(&mut self.accepted);
        }
    }

    /// Returns the parameters with their defaults.
    ///
    /// # Errors
    /// All problems that the readers recorded.
    pub fn finish(self) -> Result<Map<String, Value>, Vec<FieldProblem>> {
        if self.problems.is_empty() { Ok(self.accepted) } else { Err(self.problems) }
    }
}
