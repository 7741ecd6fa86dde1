//! Compares the number of messages that the host delivers to a process at once with the number of
//! tasks that the process runs at once. Delivering more works but costs: a task beyond the limit is
//! deferred, which takes another message. This module reads only the numbers in host.json.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::Notes;
use lastlight_engine::config::{SettingsSoFar, host_json};

/// The defaults of the extensions.
const DEFAULT_BATCH_SIZE: u64 = 16;
const DEFAULT_MESSAGE_BATCH_SIZE: u64 = 1000;
const DEFAULT_CONCURRENT_CALLS: u64 = 16;

/// The largest `batchSize` of a Storage Queue.
const LARGEST_BATCH_SIZE: u64 = 32;

/// The function that runs the tasks of Service Bus.
const BUS_TASKS: &str = "process_sb_task";

const DEFERRED: &str = "tasks beyond that limit are deferred, which costs another message each";

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
                "extensions.serviceBus.prefetchCount is {prefetched}: the locks of messages that wait in the host are not \
                 renewed; each lock that expires costs a delivery, and a message that has used all its deliveries is \
                 dead-lettered although its task never started"
            ),
            format!("Set it to 0; if every task takes less than a second, {room} or less does no harm."),
        );
    }
}

/// Whether the task function gets several messages per invocation. An unreadable file is reported
/// by another check.
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
