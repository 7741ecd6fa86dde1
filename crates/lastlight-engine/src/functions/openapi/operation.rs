//! The description of an API operation: its parameters, its responses and its error statuses. Each
//! function describes its operations beside its handler.

use axum::http::StatusCode;
use lastlight_api::job_types::JobTypeInfo;
use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform,
};
use serde_json::{Map, Value, json};

use crate::functions::{Key, table::Described};

/// Collects the schemas of the response types, each once under its name.
pub(in crate::functions) struct Schemas {
    generator: SchemaGenerator,
    /// The job types: their names for the filters, and the schemas of their parameters.
    pub(in crate::functions) job_types: Vec<JobTypeInfo>,
}

impl Schemas {
    pub(super) fn new(job_types: Vec<JobTypeInfo>) -> Self {
        let settings = SchemaSettings::draft2020_12()
            .for_serialize()
            // What a reader takes for a field that an older app does not send.
            .with_transform(RecursiveTransform(|schema: &mut Schema| {
                drop(schema.remove("default"))
            }))
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Self { generator: settings.into_generator(), job_types }
    }

    /// Returns a reference to the schema of `T`, or the schema itself if it is inlined.
    pub(in crate::functions) fn of<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    pub(super) fn finish(mut self) -> Map<String, Value> {
        self.generator.take_definitions(true)
    }
}

pub(in crate::functions) struct Operation {
    parameters: Vec<Value>,
    body: Option<Value>,
    content: Value,
    others: Vec<StatusCode>,
    is_away_alike: bool,
}

impl Operation {
    /// An operation without parameters and without a response body.
    pub(in crate::functions) fn new() -> Self {
        Self {
            parameters: Vec::new(),
            body: None,
            content: json!({}),
            others: Vec::new(),
            is_away_alike: false,
        }
    }

    /// Adds the path parameter `job_id`: 400 for a malformed id, 404 for an unknown job.
    pub(in crate::functions) fn of_a_job(self) -> Self {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
        self.parameter("path", "job_id", schema, "The job id.")
            .refuses(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND])
    }

    /// Adds the path parameter `name`.
    pub(in crate::functions) fn path(self, name: &str, schema: Value, description: &str) -> Self {
        self.parameter("path", name, schema, description)
    }

    /// Adds a query parameter.
    pub(in crate::functions) fn query(self, name: &str, schema: Value, description: &str) -> Self {
        self.parameter("query", name, schema, description)
    }

    /// Adds query parameters whose names are the fields of an object.
    pub(in crate::functions) fn query_object(
        mut self,
        name: &str,
        schema: Value,
        description: &str,
    ) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "query", "required": false, "style": "form", "explode": true, "schema": schema,
            "description": description,
        }));
        self
    }

    fn parameter(mut self, place: &str, name: &str, schema: Value, description: &str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": place, "required": place == "path", "schema": schema, "description": description,
        }));
        self
    }

    /// Sets the JSON request body.
    pub(in crate::functions) fn body(self, is_required: bool, schema: Value) -> Self {
        let content = json!({ "application/json": { "schema": schema } });
        Self { body: Some(json!({ "required": is_required, "content": content })), ..self }
    }

    /// Sets the body of the 200 response: this type and the fields of every response.
    pub(in crate::functions) fn answers<T: JsonSchema>(self, schemas: &mut Schemas) -> Self {
        let schema = schemas.of::<T>();
        self.answers_json(schema)
    }

    /// Sets the body of the 200 response: this schema and the fields of every response.
    pub(in crate::functions) fn answers_json(self, schema: Value) -> Self {
        let stamped = json!({ "allOf": [schema, { "$ref": "#/components/schemas/Stamp" }] });
        Self { content: json!({ "application/json": { "schema": stamped } }), ..self }
    }

    /// Sets the body of the 200 response: a JSON object without the fields of every response.
    pub(super) fn answers_object(self) -> Self {
        let content = json!({ "application/json": { "schema": { "type": "object" } } });
        Self { content, ..self }
    }

    /// Sets the 200 response: text of one of these media types.
    pub(in crate::functions) fn answers_text(self, media_types: &[&str]) -> Self {
        let content = media_types.iter().map(|media_type| {
            ((*media_type).to_owned(), json!({ "schema": { "type": "string" } }))
        });
        Self { content: Value::Object(content.collect()), ..self }
    }

    /// Adds responses with these statuses.
    pub(in crate::functions) fn refuses(mut self, statuses: &[StatusCode]) -> Self {
        self.others.extend(statuses);
        self
    }

    /// Gives the 503 response the same body as the 200 response.
    pub(in crate::functions) fn answers_alike_when_away(self) -> Self {
        Self { is_away_alike: true, ..self }
    }

    /// The operation as it appears in the OpenAPI document. An operation that needs a key gets a
    /// 401 response, which the host sends.
    pub(super) fn describe(self, described: &Described, key: Key, tag: &str) -> Value {
        let needs_key = key != Key::Anonymous;
        let mut responses = Map::new();
        responses.insert(
            "200".to_owned(),
            json!({ "description": "Success.", "content": &self.content }),
        );
        let mut others = self.others;
        // Any operation may find the database unavailable.
        others.push(StatusCode::SERVICE_UNAVAILABLE);
        if needs_key {
            others.push(StatusCode::UNAUTHORIZED);
        }
        others.sort();
        others.dedup();
        for status in others {
            let mut refusal = refusal(status);
            if status == StatusCode::SERVICE_UNAVAILABLE && self.is_away_alike {
                refusal["content"] = self.content.clone();
            }
            responses.insert(status.as_str().to_owned(), refusal);
        }
        let mut operation = json!({
            "operationId": described.id, "tags": [tag], "summary": described.summary, "parameters": self.parameters,
            "responses": responses,
        });
        if let Value::Object(fields) = &mut operation {
            if let Some(body) = self.body {
                fields.insert("requestBody".to_owned(), body);
            }
            if !needs_key {
                fields.insert("security".to_owned(), json!([]));
            }
        }
        operation
    }
}

fn refusal(status: StatusCode) -> Value {
    let description = match status {
        StatusCode::BAD_REQUEST => {
            "Invalid request. The message names the parameter or field, its value and the allowed values."
        }
        // Sent by the host, without a body.
        StatusCode::UNAUTHORIZED => {
            return json!({ "description": "The Functions host requires a key." });
        }
        StatusCode::NOT_MODIFIED => {
            return json!({ "description": "Not modified: the caller has the current version." });
        }
        StatusCode::NOT_FOUND => "Not found.",
        StatusCode::CONFLICT => "Not allowed in the current state, or disabled by the settings.",
        StatusCode::PAYLOAD_TOO_LARGE => {
            "The body is larger than 1 MiB, or than 8 MiB in what workers say of tasks."
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            "A dependency of the app is unavailable. Try again; no data was lost."
        }
        _ => "The request failed.",
    };
    json!({
        "description": description,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    })
}
