//! What the host brings a process at once against what the process runs at once. More than that
//! works, and costs: a task whose message came when there was no room is deferred, which takes
//! another message. It must not know what a host.json is beyond its numbers.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::Notes;
use lastlight::config::{SettingsSoFar, host_json};

/// What the extensions do without a word about it.
const DEFAULT_BATCH_SIZE: u64 = 16;
const DEFAULT_MESSAGE_BATCH_SIZE: u64 = 1000;
const DEFAULT_CONCURRENT_CALLS: u64 = 16;

/// The largest `batchSize` of a Storage Queue.
const LARGEST_BATCH_SIZE: u64 = 32;

/// The function that runs the tasks of Service Bus.
const BUS_TASKS: &str = "process_sb_task";

const DEFERRED: &str = "the tasks that find no room are deferred, which costs another message each";

pub(super) fn examine(
    host: &Value,
    root: &Path,
    given: &BTreeMap<String, String>,
    settings: &SettingsSoFar,
    notes: &mut Notes,
) {
    let room = settings.timing.tasks_in_flight as u64;
    let number = |extension: &str, name: &str| {
        host.pointer(&format!("/extensions/{extension}/{name}"))?.as_u64()
    };
    if settings.storage.is_some() && !host_json::is_switched_off(given, "process_queue_task") {
        let batch = number("queues", "batchSize").unwrap_or(DEFAULT_BATCH_SIZE);
        let more = number("queues", "newBatchThreshold").unwrap_or(batch / 2);
        if batch + more > room {
            let fitting = room.div_ceil(2).min(LARGEST_BATCH_SIZE);
            notes.warning(
                format!(
                    "extensions.queues.batchSize + newBatchThreshold is {batch} + {more}, more than LASTLIGHT_TASKS_IN_FLIGHT \
                     ({room}): {DEFERRED}"
                ),
                format!(
                    "Set batchSize to {fitting} and newBatchThreshold to {} or less, or raise LASTLIGHT_TASKS_IN_FLIGHT.",
                    (room - fitting).min(fitting)
                ),
            );
        }
    }
    if settings.service_bus.is_none() || host_json::is_switched_off(given, BUS_TASKS) {
        return;
    }
    if comes_in_batches(root) {
        let batch =
            number("serviceBus", "maxMessageBatchSize").unwrap_or(DEFAULT_MESSAGE_BATCH_SIZE);
        if batch > room {
            notes.warning(
                format!(
                    "extensions.serviceBus.maxMessageBatchSize is {batch}, more than LASTLIGHT_TASKS_IN_FLIGHT ({room}): \
                     {DEFERRED}"
                ),
                format!("Set maxMessageBatchSize to {room} or less, or raise LASTLIGHT_TASKS_IN_FLIGHT."),
            );
        }
    } else {
        let calls = number("serviceBus", "maxConcurrentCalls").unwrap_or(DEFAULT_CONCURRENT_CALLS);
        if calls > room {
            notes.warning(
                format!(
                    "extensions.serviceBus.maxConcurrentCalls is {calls}, and {BUS_TASKS} takes one message at a time: more \
                     than LASTLIGHT_TASKS_IN_FLIGHT ({room}): {DEFERRED}"
                ),
                format!("Set maxConcurrentCalls to {room} or less, or raise LASTLIGHT_TASKS_IN_FLIGHT."),
            );
        }
    }
    let prefetched = number("serviceBus", "prefetchCount").unwrap_or(0);
    if prefetched > 0 {
        notes.warning(
            format!(
                "extensions.serviceBus.prefetchCount is {prefetched}: nobody renews the locks of messages that wait in the \
                 host; each lock that runs out costs a delivery, and a message that had all its deliveries is dead-lettered \
                 although nobody began its task"
            ),
            format!("Set it to 0; where every task takes less than a second, {room} or less does no harm."),
        );
    }
}

/// Whether the task function gets several messages an invocation; a file that cannot be read is
/// another check's.
fn comes_in_batches(root: &Path) -> bool {
    let read = || -> Option<Value> {
        let text = fs::read_to_string(root.join(BUS_TASKS).join("function.json")).ok()?;
        serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
    };
    let document = read();
    let bindings = document.as_ref().and_then(|document| document.get("bindings")?.as_array());
    let of = |binding: &Value| binding.get("cardinality").and_then(Value::as_str) == Some("many");
    bindings.is_none_or(|bindings| bindings.iter().any(of))
}
