//! The JSON Schema of a workflow's parameters.

use serde_json::{Map, Value, json};

use crate::{Parameter, ParameterType, Parameters, Workflow};

impl Workflow {
    /// A JSON Schema (draft 2020-12) of the parameters of a submission: an object with the workflow's
    /// name and description, without other fields. An optional parameter may be null, which is the
    /// same as absent.
    pub fn json_schema(&self) -> Value {
        let mut schema = self.parameters.json_schema();
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!(self.name));
        if !self.description.is_empty() {
            schema.insert("description".to_owned(), json!(self.description));
        }
        Value::Object(schema)
    }
}

impl Parameters {
    fn json_schema(&self) -> Map<String, Value> {
        let property = |parameter: &Parameter| (parameter.name.clone(), parameter.json_schema());
        let properties: Map<String, Value> = self.iter().map(property).collect();
        let required = self.iter().filter(|parameter| parameter.required);
        let required: Vec<&str> = required.map(|parameter| parameter.name.as_str()).collect();
        Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
            ("required".to_owned(), json!(required)),
            ("additionalProperties".to_owned(), json!(false)),
        ])
    }
}

impl Parameter {
    fn json_schema(&self) -> Value {
        let name = match self.kind {
            ParameterType::Text => "string",
            ParameterType::Int => "integer",
            ParameterType::Float => "number",
            ParameterType::Bool => "boolean",
            ParameterType::Dict => "object",
            ParameterType::List => "array",
        };
        let mut schema = self.nested.as_ref().map(Parameters::json_schema).unwrap_or_default();
        let types = if self.required { json!(name) } else { json!([name, "null"]) };
        schema.insert("type".to_owned(), types);
        if let Some(default) = &self.default {
            schema.insert("default".to_owned(), default.clone());
        }
        if let Some(description) = &self.description {
            schema.insert("description".to_owned(), json!(description));
        }
        Value::Object(schema)
    }
}
