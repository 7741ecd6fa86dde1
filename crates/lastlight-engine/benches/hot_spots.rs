//! Benchmarks of per-task work without the database: decoding the host's requests, ids, messages,
//! SQL arguments.
//!
//!     cargo bench --bench hot_spots
#![allow(clippy::unwrap_used)]

use divan::{Bencher, black_box, counter::ItemsCount};
use lastlight_engine::{
    invocation,
    model::{
        JobId, Stage, TaskId, TaskIndex, TraceParent,
        messages::{JobReference, TaskMessage, TaskQueueMessage, message_time},
    },
};
use serde_json::{Map, Value, json, value::RawValue};
use sqlx::{Arguments, postgres::PgArguments};

fn main() {
    divan::main();
}

fn parameters() -> Map<String, Value> {
    let parameters = json!({ "n": 10_000, "name": "World", "use_service_bus": true });
    parameters.as_object().unwrap().clone()
}

fn job_id() -> JobId {
    JobId::derive("hello_world", &parameters())
}

fn message(number: usize) -> String {
    let job_id = job_id();
    let index = format!("greet-{number}");
    let task_id =
        TaskId::derive(&job_id, Stage::FIRST, &TaskIndex::try_from(index.as_str()).unwrap());
    let parameters = json!({
        "task_index": index, "task_number": number, "name": "World",
        "message": format!("Hello World from task {number}!"),
    })
    .to_string();
    serde_json::to_string(&TaskQueueMessage {
        task_id: task_id.as_str(),
        parent_job_id: &job_id,
        job_type: "hello_world",
        task_type: "hello_world_greeting",
        stage: Stage::FIRST,
        task_index: &index,
        parameters: serde_json::from_str::<&RawValue>(&parameters).unwrap(),
        parent_task_id: None,
        retry_count: 0,
        runs_alone: false,
        timestamp: &message_time(),
        traceparent: Some(TraceParent::generate()),
    })
    .unwrap()
}

/// A queue trigger's message as the host encodes it: JSON text of the message's text.
fn one() -> Vec<u8> {
    let text = json!(message(7)).to_string();
    json!({ "Data": { "msg": text }, "Metadata": { "DequeueCount": "1", "sys": { "MethodName": "process_queue_task" } } })
        .to_string()
        .into_bytes()
}

/// A batch of 100 messages as the host encodes it.
fn hundred() -> Vec<u8> {
    let texts: Vec<String> = (0..100).map(message).collect();
    let text = json!(texts).to_string();
    json!({ "Data": { "msg": text }, "Metadata": {} }).to_string().into_bytes()
}

fn decoded(body: &[u8]) -> usize {
    match invocation::messages(body, "msg").unwrap() {
        invocation::Messages::One(text) => usize::from(TaskMessage::decode(&text.0).is_ok()),
        invocation::Messages::Many(texts) => {
            texts.iter().filter(|text| TaskMessage::decode(&text.0).is_ok()).count()
        }
    }
}

#[divan::bench]
fn decode_an_invocation_of_one_message(bencher: Bencher) {
    let body = one();
    bencher.counter(ItemsCount::new(1_usize)).bench(|| decoded(black_box(&body)));
}

#[divan::bench]
fn decode_an_invocation_of_100_messages(bencher: Bencher) {
    let body = hundred();
    bencher.counter(ItemsCount::new(100_usize)).bench(|| decoded(black_box(&body)));
}

#[divan::bench]
fn decode_a_job_message(bencher: Bencher) {
    let text = json!({ "job_id": job_id(), "job_type": "hello_world", "stage": 1, "parameters": parameters() });
    let text = text.to_string();
    bencher.bench(|| JobReference::decode(black_box(&text)).is_ok());
}

#[divan::bench]
fn encode_a_task_message(bencher: Bencher) {
    bencher.bench(|| message(black_box(7)));
}

#[divan::bench]
fn derive_a_job_id(bencher: Bencher) {
    let parameters = parameters();
    bencher.bench(|| JobId::derive("hello_world", black_box(&parameters)));
}

#[divan::bench]
fn derive_a_task_id(bencher: Bencher) {
    let job_id = job_id();
    let index = TaskIndex::try_from("tile_x5_y10").unwrap();
    bencher.bench(|| TaskId::derive(black_box(&job_id), Stage::FIRST, &index));
}

/// The arguments of one chunk of a plan, as `batch_create_tasks` binds them.
#[divan::bench]
fn bind_a_chunk_of_1000_tasks(bencher: Bencher) {
    let texts: Vec<String> =
        (0..1000).map(|number| format!("d6aba3ae-s1-greet-{number}")).collect();
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let ordinals: Vec<i32> = (0..1000).collect();
    bencher.counter(ItemsCount::new(1000_usize)).bench(|| {
        let mut arguments = PgArguments::default();
        for _ in 0..4 {
            arguments.add(black_box(&borrowed)).unwrap();
        }
        arguments.add(black_box(&ordinals)).unwrap();
        arguments
    });
}
