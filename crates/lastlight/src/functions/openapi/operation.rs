//! One operation of the API, as its trigger describes it beside its handler: what it takes, what it
//! answers, and with what it refuses.

use axum::http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    functions::{Key, table::Described},
    workflow::JobTypeInfo,
};

/// Schemas of the types that are answered with, each under its name once.
pub(in crate::functions) struct Schemas {
    generator: SchemaGenerator,
    /// Names for filters, and what may be submitted.
    pub(in crate::functions) job_types: Vec<JobTypeInfo>,
}

impl Schemas {
    pub(super) fn new(job_types: Vec<JobTypeInfo>) -> Self {
        let settings = SchemaSettings::draft2020_12()
            .for_serialize()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Self { generator: settings.into_generator(), job_types }
    }

    /// A reference to the schema of `T`, or the schema itself where it is small.
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
    /// An operation that answers with nothing yet.
    pub(in crate::functions) fn new() -> Self {
        Self {
            parameters: Vec::new(),
            body: None,
            content: json!({}),
            others: Vec::new(),
            is_away_alike: false,
        }
    }

    /// Its path names a job: 400 for what is no id, 404 for what is no job's.
    pub(in crate::functions) fn of_a_job(self) -> Self {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
        self.parameter("path", "job_id", schema, "The job's id.")
            .refuses(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND])
    }

    /// Its path has a part that is called `name`.
    pub(in crate::functions) fn path(self, name: &str, schema: Value, description: &str) -> Self {
        self.parameter("path", name, schema, description)
    }

    /// It takes a parameter in its query.
    pub(in crate::functions) fn query(self, name: &str, schema: Value, description: &str) -> Self {
        self.parameter("query", name, schema, description)
    }

    fn parameter(mut self, place: &str, name: &str, schema: Value, description: &str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": place, "required": place == "path", "schema": schema, "description": description,
        }));
        self
    }

    /// It takes a JSON body.
    pub(in crate::functions) fn body(self, is_required: bool, schema: Value) -> Self {
        let content = json!({ "application/json": { "schema": schema } });
        Self { body: Some(json!({ "required": is_required, "content": content })), ..self }
    }

    /// It answers 200 with this type, and with what every answer has.
    pub(in crate::functions) fn answers<T: JsonSchema>(self, schemas: &mut Schemas) -> Self {
        let schema = schemas.of::<T>();
        self.answers_json(schema)
    }

    /// It answers 200 with this schema, and with what every answer has.
    pub(in crate::functions) fn answers_json(self, schema: Value) -> Self {
        let stamped = json!({ "allOf": [schema, { "$ref": "#/components/schemas/Stamp" }] });
        Self { content: json!({ "application/json": { "schema": stamped } }), ..self }
    }

    /// It answers 200 with text of this media type.
    pub(in crate::functions) fn answers_text(self, media_types: &[&str]) -> Self {
        let content = media_types.iter().map(|media_type| {
            ((*media_type).to_owned(), json!({ "schema": { "type": "string" } }))
        });
        Self { content: Value::Object(content.collect()), ..self }
    }

    /// It answers with these statuses, too.
    pub(in crate::functions) fn refuses(mut self, statuses: &[StatusCode]) -> Self {
        self.others.extend(statuses);
        self
    }

    /// What it answers with 200 it answers with 503, too.
    pub(in crate::functions) fn answers_alike_when_away(self) -> Self {
        Self { is_away_alike: true, ..self }
    }

    /// As the document says it. Where it needs a key, it is 401 from the host without one.
    pub(super) fn describe(self, described: &Described, key: Key, tag: &str) -> Value {
        let needs_key = key != Key::Anonymous;
        let mut responses = Map::new();
        responses.insert(
            "200".to_owned(),
            json!({ "description": "As asked.", "content": &self.content }),
        );
        let mut others = self.others;
        // Whatever needs the database may find it away.
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
            "The message names what is wrong, its value and what is allowed."
        }
        // The host's own answer, which has no body.
        StatusCode::UNAUTHORIZED => {
            return json!({ "description": "The Functions host wants a key." });
        }
        StatusCode::NOT_MODIFIED => return json!({ "description": "The caller has this version." }),
        StatusCode::NOT_FOUND => "There is no such thing.",
        StatusCode::CONFLICT => "Not in this state, or switched off.",
        StatusCode::PAYLOAD_TOO_LARGE => "The body has more than 1 MB.",
        StatusCode::SERVICE_UNAVAILABLE => {
            "Something that the app needs is away: try again, nothing was lost."
        }
        _ => "It did not work.",
    };
    json!({
        "description": description,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    })
}
