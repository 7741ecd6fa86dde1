//! docs/API.md: the reference of the endpoints, generated from the OpenAPI document, with the key
//! that each function needs. A test compares the page with them; `UPDATE_DOCS=1` writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Map, Value};

use lastlight::functions::{Trigger, functions, openapi_document};

const HEAD: &str = "# The API

Made from the program by a test (`tests/it/api_reference.rs`); `UPDATE_DOCS=1 cargo nextest run reference` writes it
anew. `GET /api/openapi.json` is the same for programs.

An endpoint that wants a key takes it in the header `x-functions-key` or in the query as `code`. `function` is the key of the
function or of the app, `admin` the master key, `anonymous` none. The Functions host checks it, and answers 401 before the app
sees a request; the local host asks for none.

Every answer in JSON has what is in [Stamp](#stamp), too, and a refusal is an [Error](#error), but for the host's own. Another
method than those below is 405, a body of more than 1 MB 413. Names in a query that nobody asks for are let pass.
";

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

struct Described<'a> {
    method: String,
    path: &'a str,
    operation: &'a Value,
    key: String,
}

impl Described<'_> {
    fn heading(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

fn page() -> String {
    let document = openapi_document(&lastlight_app::app().catalog());
    let keys = keys();
    let operations: Vec<Described> = object(&document["paths"])
        .iter()
        .flat_map(|(path, operations)| {
            let keys = &keys;
            object(operations).iter().map(move |(method, operation)| Described {
                method: method.to_uppercase(),
                path,
                operation,
                key: key_of(path, keys),
            })
        })
        .collect();
    let mut page = HEAD.to_owned();
    page.push_str("\n| endpoint | key | |\n| --- | --- | --- |\n");
    for described in &operations {
        // The document states whether a key is needed; the host checks it.
        let is_open = described.operation.get("security").is_some();
        assert_eq!(is_open, described.key == "anonymous", "{}", described.heading());
        page.push_str(&format!(
            "| [`{}`](#{}) | {} | {} |\n",
            described.heading(),
            anchor(&described.heading()),
            described.key,
            text(&described.operation["summary"])
        ));
    }
    for described in &operations {
        describe(described, &mut page);
    }
    page.push_str(
        "\n## What is answered\n\nA field that is not marked as `always` may be missing.\n",
    );
    let shapes = object(&document["components"]["schemas"]);
    for (name, schema) in shapes {
        page.push_str(&format!("\n### {name}\n"));
        let about = text(&schema["description"]);
        if !about.is_empty() {
            page.push_str(&format!("\n{about}\n"));
        }
        shape(schema, "always", &mut page);
    }
    page
}

fn describe(described: &Described, page: &mut String) {
    let Described { operation, .. } = described;
    page.push_str(&format!("\n## {}\n\n{}", described.heading(), text(&operation["summary"])));
    let more = text(&operation["description"]);
    if !more.is_empty() {
        page.push_str(&format!(" {more}"));
    }
    page.push_str(&format!(" Key: {}.\n", described.key));
    let parameters = operation["parameters"].as_array().unwrap();
    if !parameters.is_empty() {
        page.push_str("\n| parameter | in | allowed | |\n| --- | --- | --- | --- |\n");
        for parameter in parameters {
            page.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                text(&parameter["name"]),
                text(&parameter["in"]),
                kind(&parameter["schema"]),
                text(&parameter["description"])
            ));
        }
    }
    if let Some(body) = operation.get("requestBody") {
        let schema = &body["content"]["application/json"]["schema"];
        let may_be_missing = if body["required"] == true { "" } else { ", or nothing" };
        page.push_str(&format!("\nBody: JSON{may_be_missing}.\n"));
        shape(schema, "required", page);
    }
    page.push_str("\n| answer | | |\n| --- | --- | --- |\n");
    for (status, response) in object(&operation["responses"]) {
        let contents: Vec<String> = response
            .get("content")
            .map(|content| {
                object(content)
                    .iter()
                    .map(|(media_type, content)| match media_type.as_str() {
                        "application/json" => answered(&content["schema"]),
                        _ => format!("`{media_type}`"),
                    })
                    .collect()
            })
            .unwrap_or_default();
        page.push_str(&format!(
            "| {status} | {} | {} |\n",
            text(&response["description"]),
            contents.join(", ")
        ));
    }
}

/// The schema of an answer, without the fields that all answers have.
fn answered(schema: &Value) -> String {
    match schema["allOf"].as_array().map(Vec::as_slice) {
        Some([own, _]) => kind(own),
        _ if schema["type"] == "string" => "`application/json`".to_owned(),
        _ => kind(schema),
    }
}

/// A schema as a table of its fields, or as one line.
fn shape(schema: &Value, must: &str, page: &mut String) {
    for (variant, number) in variants(schema).iter().zip(1..) {
        let Some(fields) = variant.get("properties").and_then(Value::as_object) else {
            page.push_str(&format!("\n{}.\n", capital(&kind(variant))));
            continue;
        };
        if number > 1 {
            page.push_str("\nOr:\n");
        }
        let required: BTreeSet<&str> = variant["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        page.push_str(&format!("\n| field | | {must} | |\n| --- | --- | --- | --- |\n"));
        for (name, field) in fields {
            page.push_str(&format!(
                "| `{name}` | {} | {} | {} |\n",
                kind(field),
                if required.contains(&**name) { must } else { "" },
                text(&field["description"])
            ));
        }
    }
}

/// The alternatives of a schema.
fn variants(schema: &Value) -> Vec<&Value> {
    let one_of = ["oneOf", "anyOf"].iter().find_map(|word| schema[word].as_array());
    match one_of {
        Some(variants) if variants.iter().any(|variant| variant.get("properties").is_some()) => {
            variants.iter().collect()
        }
        _ => vec![schema],
    }
}

/// A short description of a schema.
fn kind(schema: &Value) -> String {
    let Some(fields) = schema.as_object() else {
        return "anything".to_owned();
    };
    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", anchor(name));
    }
    if let Some(value) = fields.get("const") {
        return format!("`{}`", plain(value));
    }
    if let Some(values) = fields.get("enum").and_then(Value::as_array) {
        return with_default(joined(values, ", ", |value| format!("`{}`", plain(value))), fields);
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(variants) = fields.get(word).and_then(Value::as_array) {
            return with_default(joined(variants, " or ", kind), fields);
        }
    }
    if let Some(all) = fields.get("allOf").and_then(Value::as_array) {
        return joined(all, " and ", kind);
    }
    let types: Vec<&str> = match fields.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return with_default("anything".to_owned(), fields),
    };
    let words: Vec<String> = types.iter().map(|one| of_type(one, fields)).collect();
    with_default(words.join(" or "), fields)
}

fn of_type(one: &str, fields: &Map<String, Value>) -> String {
    let within = |word: &str, (least, most): (&str, &str)| {
        // schemars gives unsigned numbers a minimum of 0.
        match (fields.get(least), fields.get(most)) {
            (Some(least), Some(most)) => format!("{word}, {least} to {most}"),
            (Some(least), None) => format!("{word}, {least} or more"),
            (None, Some(most)) => format!("{word}, at most {most}"),
            (None, None) => word.to_owned(),
        }
    };
    match one {
        "integer" => within("whole number", ("minimum", "maximum")),
        "number" => within("number", ("minimum", "maximum")),
        "boolean" => "`true` or `false`".to_owned(),
        "array" => match fields.get("items") {
            Some(items) => format!("list of {}", kind(items)),
            None => "list".to_owned(),
        },
        "object" => match fields.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("object, by name: {}", kind(values)),
            _ => match fields.get("properties").and_then(Value::as_object) {
                Some(inner) => format!(
                    "object with {}",
                    inner
                        .iter()
                        .map(|(name, field)| format!("`{name}` ({})", kind(field)))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                None => "object".to_owned(),
            },
        },
        "string" => {
            let text = match (fields.get("format").and_then(Value::as_str), fields.get("pattern")) {
                (Some("date-time"), _) => "time, as RFC 3339 writes it".to_owned(),
                (_, Some(pattern)) => format!("text, `{}`", plain(pattern).replace('|', "\\|")),
                _ => "text".to_owned(),
            };
            match (fields.get("minLength"), fields.get("maxLength")) {
                (None, None) => text,
                (least, most) => format!(
                    "{text}, {} to {} characters",
                    least.map_or_else(|| "0".to_owned(), plain),
                    most.map_or_else(|| "any number of".to_owned(), plain)
                ),
            }
        }
        other => other.to_owned(),
    }
}

fn with_default(text: String, fields: &Map<String, Value>) -> String {
    match fields.get("default") {
        None | Some(Value::Null) => text,
        Some(default) => format!("{text} (default `{}`)", plain(default)),
    }
}

fn joined(values: &[Value], between: &str, word: impl Fn(&Value) -> String) -> String {
    values.iter().map(word).collect::<Vec<_>>().join(between)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// A text on one line, as a table cell needs it.
fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// Each route with the key of its function.
fn keys() -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for function in functions() {
        if let Trigger::Http { route, key } = function.trigger {
            keys.insert(format!("/api/{route}"), key.as_str().to_owned());
        }
    }
    keys
}

fn key_of(path: &str, keys: &BTreeMap<String, String>) -> String {
    let is_at = |route: &str| {
        let (mut path, mut route) = (path.split('/'), route.split('/'));
        loop {
            match (path.next(), route.next()) {
                (None, None) => return true,
                (None, Some(part)) => return part.ends_with("?}"),
                (Some(part), Some(place)) if part == place || place.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    // A route without parameters is a better match than one with parameters.
    let route = keys.get_key_value(path).or_else(|| keys.iter().find(|(route, _)| is_at(route)));
    route.map(|(_, key)| key.clone()).unwrap_or_else(|| panic!("no function has {path}"))
}

#[test]
fn docs_api_md_matches_the_openapi_document() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == page,
        "docs/API.md is not what the API answers: UPDATE_DOCS=1 cargo nextest run reference"
    );
}

#[test]
fn headings_of_docs_api_md_have_unique_anchors() {
    let page = page();
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .map(anchor)
        .collect();
    let different: BTreeSet<&String> = headings.iter().collect();
    assert_eq!(different.len(), headings.len(), "{headings:?}");
}
