//! Any message in any of the host's encodings is decoded unchanged; arbitrary bytes get an answer
//! and never cause a panic.

use base64::{Engine, prelude::BASE64_STANDARD};
use lastlight_engine::invocation::{MessageText, Messages, messages};
use proptest::prelude::*;
use serde_json::{Value, json};

/// JSON objects like those in messages: any keys, any nesting.
fn message() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".*", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::hash_map(".*", value, 0..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// The encodings of a text, as the JSON value of `Data.msg`.
fn wrapped(text: &str, way: usize) -> Value {
    match way {
        0 => serde_json::from_str(text).unwrap(),
        1 => json!(text),
        2 => json!(json!(text).to_string()),
        3 => json!(BASE64_STANDARD.encode(text)),
        4 => json!(BASE64_STANDARD.encode(json!(text).to_string())),
        _ => json!(json!(BASE64_STANDARD.encode(text)).to_string()),
    }
}

fn one(body: &str) -> Value {
    match messages(body.as_bytes(), "msg").unwrap() {
        Messages::One(MessageText(text)) => serde_json::from_str(&text).unwrap(),
        Messages::Many(_) => panic!("one message became many"),
    }
}

proptest! {
    #[test]
    fn a_message_is_unwrapped_from_every_encoding(message in message(), way in 0..6_usize) {
        let body = json!({ "Data": { "msg": wrapped(&message.to_string(), way) }, "Metadata": {} }).to_string();
        prop_assert_eq!(one(&body), message);
    }

    #[test]
    fn several_messages_are_unwrapped_in_order(
        all in prop::collection::vec((message(), 0..6_usize), 1..6),
        is_array in any::<bool>(),
    ) {
        let items = Value::from(all.iter().map(|(message, way)| wrapped(&message.to_string(), *way)).collect::<Vec<_>>());
        let binding = if is_array { items } else { Value::from(items.to_string()) };
        let body = json!({ "Data": { "msg": binding } }).to_string();
        let Messages::Many(texts) = messages(body.as_bytes(), "msg").unwrap() else {
            return Err(TestCaseError::fail("many became one"));
        };
        let back: Vec<Value> = texts.iter().map(|MessageText(text)| serde_json::from_str(text).unwrap()).collect();
        prop_assert_eq!(back, all.into_iter().map(|(message, _)| message).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = messages(&bytes, "msg") {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_in_a_binding_is_decoded_or_refused(text in ".*") {
        let body = json!({ "Data": { "msg": text } }).to_string();
        if let Err(error) = messages(body.as_bytes(), "msg") {
            prop_assert!(error.to_string().contains("msg"));
        }
    }
}

#[test]
fn metadata_never_overrides_the_message() {
    let body = json!({
        "Data": { "msg": "{\"task_id\":\"real\"}" },
        "Metadata": { "task_id": "\"forged\"", "msg": "forged" },
    });
    assert_eq!(one(&body.to_string())["task_id"], "real");
}

#[test]
fn unwrapping_stops_at_a_maximum_depth() {
    let mut text = "{}".to_owned();
    for _ in 0..12 {
        text = json!(text).to_string();
    }
    let body = json!({ "Data": { "msg": text } }).to_string();
    assert!(matches!(messages(body.as_bytes(), "msg"), Ok(Messages::One(_))));
    let deep = format!("{{\"Data\":{{\"msg\":{}}}}}", "[".repeat(100_000));
    assert!(messages(deep.as_bytes(), "msg").is_err());
}
