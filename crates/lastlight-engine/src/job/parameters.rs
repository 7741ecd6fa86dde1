//! The rules for a job's parameters, from the JSON Schema of its struct: a submission is checked
//! against it, and each problem names the field, its value and what is allowed.

use std::fmt;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind, paths::LocationSegment};
use schemars::Schema;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};

use super::{FieldProblem, Fields, Job, panics::caught};

/// The rules for the parameters of a job type.
pub(crate) struct ParameterRules {
    schema: Value,
    validator: Validator,
    fields: Vec<(String, Rule)>,
}

/// The rules for one field, besides its schema.
struct Rule {
    /// Its schema as shown to users: null counts as not submitted.
    shown: Value,
    is_required: bool,
    default: Option<Value>,
    is_whole: bool,
    takes_null: bool,
}

impl fmt::Debug for ParameterRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParameterRules").field(&self.schema).finish()
    }
}

impl ParameterRules {
    /// The rules of a schema.
    ///
    /// # Errors
    /// The schema is not that of a struct with named fields, or is not valid.
    pub(crate) fn new(schema: Schema) -> Result<Self, String> {
        let mut schema = schema.to_value();
        simplify(&mut schema);
        if !has_type(&schema, "object") {
            return Err("its parameters must be a struct with named fields".to_owned());
        }
        let validator = jsonschema::draft202012::new(&schema)
            .map_err(|error| format!("the JSON Schema of its parameters is not valid: {error}"))?;
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = schema["properties"].as_object().into_iter().flatten();
        let rule = |(name, field): (&String, &Value)| {
            let is_required = required.contains(&name.as_str());
            (name.clone(), Rule::new(field, is_required, &schema))
        };
        let fields = properties.map(rule).collect();
        Ok(Self { validator, fields, schema })
    }

    /// The doc comment of the struct, in one line.
    pub(crate) fn description(&self) -> &str {
        self.schema["description"].as_str().unwrap_or_default()
    }

    /// Reads accepted parameters. They may have fields that every submission may have: a struct that
    /// denies unknown fields is not shown them.
    pub(crate) fn read<J: Job>(
        &self,
        parameters: &Map<String, Value>,
    ) -> Result<J, serde_json::Error> {
        if self.schema["additionalProperties"] != Value::Bool(false) {
            return J::deserialize(parameters);
        }
        let own = |(name, _): &(&String, &Value)| self.has(name);
        J::deserialize(MapDeserializer::new(
            parameters.iter().filter(own).map(|(name, value)| (name.as_str(), value)),
        ))
    }

    /// Whether the struct has this field.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == field)
    }

    /// Checks the fields of a submission against the schema and fills in defaults; no type reads
    /// them.
    pub(crate) fn check_plain(&self, fields: &mut Fields) {
        self.check_schema(fields);
    }

    /// The same; returns the job type's own fields if they are valid.
    fn check_schema(&self, fields: &mut Fields) -> Option<Value> {
        let common: Vec<String> =
            fields.asked.keys().filter(|name| !self.has(name)).cloned().collect();
        let had = fields.problems.len();
        for (name, rule) in &self.fields {
            rule.fill_in(name, fields);
        }
        fields.denies_unknown = self.schema["additionalProperties"] == Value::Bool(false);
        if let Some(definitions) = self.schema.get("$defs") {
            fields.definitions = definitions.clone();
        }
        let own = |(name, _): &(&String, &Value)| !common.contains(name);
        let given: Map<String, Value> =
            fields.accepted.iter().filter(own).map(|(n, v)| (n.clone(), v.clone())).collect();
        let given = Value::Object(given);
        let errors = self.validator.iter_errors(&given);
        let problems: Vec<FieldProblem> = errors.flat_map(|error| self.problems(&error)).collect();
        for problem in problems {
            if !fields.problems[had..].iter().any(|known| known.field == problem.field) {
                fields.problems.push(problem);
            }
        }
        (fields.problems.len() == had).then_some(given)
    }

    /// Checks the fields of a submission and fills in defaults.
    pub(crate) fn check<J: Job>(&self, fields: &mut Fields) {
        let Some(given) = self.check_schema(fields) else { return };
        let found = caught(|| match serde_path_to_error::deserialize::<_, J>(&given) {
            Ok(job) => {
                job.validate().err().map(|super::Invalid { field, allowed }| (field, allowed))
            }
            Err(error) => {
                Some((error.path().to_string(), format!("of its type ({})", error.inner())))
            }
        });
        let found = found.unwrap_or_else(|problem| {
            Some(("parameters".to_owned(), format!("such that they can be checked ({problem})")))
        });
        if let Some((field, allowed)) = found {
            let value = match field.as_str() {
                "parameters" => Some(given),
                field => at(&given, field).cloned(),
            };
            fields.problems.push(FieldProblem { field, value, allowed });
        }
    }

    fn problems(&self, error: &ValidationError<'_>) -> Vec<FieldProblem> {
        let place = dotted(error);
        let within = |name: &str| match place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        };
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let schema = self.schema_at(error).and_then(|schema| field(schema, name));
                let allowed = schema.map(|schema| self.allowed(schema)).unwrap_or_default();
                vec![FieldProblem { field: within(name), value: None, allowed }]
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known =
                    self.schema_at(error).and_then(|schema| schema["properties"].as_object());
                let known: Vec<&str> =
                    known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let problem = |name: &String| FieldProblem {
                    field: within(name),
                    value: error.instance().get(name).cloned(),
                    allowed: format!("omitted: the known fields are {}", known.join(", ")),
                };
                unexpected.iter().map(problem).collect()
            }
            _ => {
                let schema = self.schema_at(error);
                vec![FieldProblem {
                    field: if place.is_empty() { "parameters".to_owned() } else { place },
                    value: Some(error.instance().clone().into_owned()),
                    allowed: schema
                        .map_or_else(|| error.to_string(), |schema| self.allowed(schema)),
                }]
            }
        }
    }

    /// The schema of the value that an error is about.
    fn schema_at(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let mut schema = &self.schema;
        for segment in error.instance_path().segments() {
            let schema_of_value = without_null(self.resolved(schema));
            schema = match segment {
                LocationSegment::Property(name) => field(schema_of_value, &name)?,
                LocationSegment::Index(place) => schema_of_value
                    .pointer(&format!("/prefixItems/{place}"))
                    .or_else(|| schema_of_value.get("items"))
                    .or_else(|| field(schema_of_value, &place.to_string()))?,
            };
        }
        Some(without_null(self.resolved(schema)))
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }

    /// What a schema allows, in words.
    fn allowed(&self, schema: &Value) -> String {
        let schema = without_null(self.resolved(schema));
        let options = ["enum", "oneOf", "anyOf"].iter().find_map(|name| schema[name].as_array());
        if let Some(options) = options {
            let option = |option: &Value| match option {
                Value::Object(_) => match option.get("const") {
                    Some(constant) => constant.to_string(),
                    None => self.allowed(option),
                },
                constant => constant.to_string(),
            };
            let options: Vec<String> = options.iter().map(option).collect();
            return options.join(" or ");
        }
        if let Some(constant) = schema.get("const") {
            return constant.to_string();
        }
        let of = |noun: &str, unit: &str, [least, most]: [Option<&Value>; 2]| match (least, most) {
            (Some(least), Some(most)) if unit.is_empty() => {
                format!("{noun} from {least} to {most}")
            }
            (Some(least), Some(most)) => format!("{noun} of {least} to {most}{unit}"),
            (Some(least), None) => format!("{noun} of at least {least}{unit}"),
            (None, Some(most)) => format!("{noun} of at most {most}{unit}"),
            (None, None) => noun.to_owned(),
        };
        let limits = |least, most| [schema.get(least), schema.get(most)];
        let number = |noun: &str| {
            let mut words = of(noun, "", limits("minimum", "maximum"));
            for (name, says) in [
                ("exclusiveMinimum", "more than"),
                ("exclusiveMaximum", "less than"),
                ("multipleOf", "a multiple of"),
            ] {
                if let Some(limit) = schema.get(name) {
                    words = format!("{words}, {says} {limit}");
                }
            }
            words
        };
        if has_type(schema, "integer") {
            number("a whole number")
        } else if has_type(schema, "number") {
            number("a number")
        } else if has_type(schema, "boolean") {
            "true or false".to_owned()
        } else if has_type(schema, "string") {
            let text = of("text", " characters", limits("minLength", "maxLength"));
            match (schema["pattern"].as_str(), schema["format"].as_str()) {
                (Some(pattern), _) => format!("{text} that matches {pattern}"),
                (None, Some(format)) => format!("{text} in the format {format}"),
                (None, None) => text,
            }
        } else if has_type(schema, "array") {
            let list = of("a list", " items", limits("minItems", "maxItems"));
            match schema.get("items") {
                Some(items) => format!("{list}, each {}", self.allowed(items)),
                None => list,
            }
        } else if has_type(schema, "object") {
            let names: Vec<&str> = schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect();
            match names.as_slice() {
                [] => "an object".to_owned(),
                names => format!("an object with the fields {}", names.join(", ")),
            }
        } else {
            schema["description"].as_str().map_or_else(|| schema.to_string(), str::to_owned)
        }
    }
}

impl Rule {
    fn new(field: &Value, is_required: bool, root: &Value) -> Self {
        let resolved = field["$ref"]
            .as_str()
            .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
            .unwrap_or(field);
        let default = field.get("default").filter(|default| !default.is_null()).cloned();
        let mut shown = field.clone();
        if let Value::Object(shown) = &mut shown {
            if default.is_none() {
                shown.remove("default");
            }
            if !is_required && let Some(Value::String(only)) = shown.get("type").cloned() {
                shown.insert("type".to_owned(), Value::from(vec![only, "null".to_owned()]));
            }
        }
        Self {
            shown,
            is_required,
            default,
            is_whole: has_type(without_null(resolved), "integer"),
            takes_null: is_required && has_type(resolved, "null"),
        }
    }

    /// Fills in the default, and treats null as not submitted.
    fn fill_in(&self, name: &str, fields: &mut Fields) {
        fields.ask(name, self.shown.clone());
        if self.is_required {
            fields.required.push(name.to_owned());
        }
        match fields.accepted.get(name) {
            None | Some(Value::Null) if !self.takes_null => match &self.default {
                Some(default) => {
                    fields.accepted.insert(name.to_owned(), default.clone());
                }
                None if !self.is_required => {
                    fields.accepted.remove(name);
                }
                None => {}
            },
            Some(value) if self.is_whole => {
                // 5.0 and 5 are the same parameter and must get the same job id.
                if let Some(number) = super::fields::whole(value) {
                    fields.accepted.insert(name.to_owned(), Value::from(number));
                }
            }
            _ => {}
        }
    }
}

/// Removes what only describes Rust's types.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_rust = |format: &str| {
                format.starts_with("int")
                    || format.starts_with("uint")
                    || matches!(format, "float" | "double")
            };
            if fields.get("format").and_then(Value::as_str).is_some_and(is_rust) {
                fields.remove("format");
            }
            // What is below these is data and no schema.
            let is_schema = |name: &str| !matches!(name, "default" | "const" | "enum" | "examples");
            fields
                .iter_mut()
                .filter(|(name, _)| is_schema(name))
                .for_each(|(_, field)| simplify(field));
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

fn has_type(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == name,
        Value::Array(several) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// The schema of the values that are not null.
fn without_null(schema: &Value) -> &Value {
    let options = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    match options {
        [one, null] if has_type(null, "null") => one,
        _ => schema,
    }
}

fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let known = schema["properties"].get(name);
    known.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
}

/// The place of an error: `areas[2].west`.
fn dotted(error: &ValidationError<'_>) -> String {
    let mut place = String::new();
    for segment in error.instance_path().segments() {
        match segment {
            LocationSegment::Property(name) if place.is_empty() => place = name.into_owned(),
            LocationSegment::Property(name) => place = format!("{place}.{name}"),
            LocationSegment::Index(number) => place = format!("{place}[{number}]"),
        }
    }
    place
}

/// The value at a place such as `areas[2].west`.
fn at<'a>(value: &'a Value, place: &str) -> Option<&'a Value> {
    let pointer = place.replace('[', ".").replace(']', "");
    pointer.split('.').try_fold(value, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}
