//! Saves Service Bus queues in a file, so that the messages of the local cloud survive a restart.

use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    super::{SnapshotError, lines},
    NewMessage, QueueOptions, ServiceBus,
    message::Stored,
    queue::Queue,
};

/// One line of the file: a queue, followed by its content.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Written<'a> {
    ServiceBusQueue {
        name: &'a str,
        options: &'a QueueOptions,
        last_sequence_number: i64,
    },
    /// An id that duplicate detection remembers.
    Seen(#[serde(with = "time::serde::timestamp::microseconds")] OffsetDateTime, &'a str),
    Scheduled(
        #[serde(with = "time::serde::timestamp::microseconds")] OffsetDateTime,
        &'a NewMessage,
    ),
    Message(&'a Stored),
    DeadLetter(&'a Stored),
}

/// A [`Written`] line, read back.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    ServiceBusQueue { name: String, options: QueueOptions, last_sequence_number: i64 },
    Seen(#[serde(with = "time::serde::timestamp::microseconds")] OffsetDateTime, String),
    Scheduled(#[serde(with = "time::serde::timestamp::microseconds")] OffsetDateTime, NewMessage),
    Message(Box<Stored>),
    DeadLetter(Box<Stored>),
}

impl ServiceBus {
    /// Writes all queues into one file, which is replaced atomically. Each queue is locked while
    /// its own messages are written (about a second per million messages).
    ///
    /// # Errors
    /// The file cannot be written; the old file is unchanged.
    pub fn snapshot(&self, path: &Path) -> Result<(), SnapshotError> {
        let queues = self.registry.all();
        lines::write(
            path,
            queues.iter().map(|(name, cell)| cell.with(|queue| queue_lines(name, queue))),
        )
    }

    /// Restores a file of [`ServiceBus::snapshot`]. It replaces the messages of queues of the same
    /// names, which keep their options. Locked messages are available again and keep their delivery
    /// counts; scheduled messages keep their time. Does nothing if there is no file.
    ///
    /// # Errors
    /// The file cannot be read or is not such a snapshot; nothing was restored.
    pub fn restore(&self, path: &Path) -> Result<(), SnapshotError> {
        let mut queues: Vec<(String, Queue)> = Vec::new();
        lines::read(path, |record| {
            if let Read::ServiceBusQueue { name, options, last_sequence_number } = record {
                let mut queue = Queue::new(options);
                queue.last_sequence_number = last_sequence_number;
                queues.push((name, queue));
            } else if let Some((_, queue)) = queues.last_mut() {
                take_in(queue, record);
            }
        })?;
        for (name, mut queue) in queues {
            if let Ok(cell) = self.registry.get(&name) {
                queue.options = cell.with(|queue| queue.options);
            }
            self.registry.put(&name, queue);
        }
        Ok(())
    }
}

fn take_in(queue: &mut Queue, record: Read) {
    match record {
        Read::ServiceBusQueue { .. } => {}
        Read::Seen(moment, id) => {
            queue.history.admit(&id, moment);
        }
        Read::Scheduled(moment, message) => queue.schedule(moment, message),
        Read::Message(message) => queue.main.push(message),
        Read::DeadLetter(message) => queue.dead.push(message),
    }
}

fn queue_lines(name: &str, queue: &Queue) -> Result<Vec<u8>, serde_json::Error> {
    let mut buffer = Vec::new();
    let mut push = |record: Written<'_>| lines::push_record(&mut buffer, &record);
    push(Written::ServiceBusQueue {
        name,
        options: &queue.options,
        last_sequence_number: queue.last_sequence_number,
    })?;
    for (moment, id) in &queue.history.arrivals {
        push(Written::Seen(*moment, id))?;
    }
    for ((moment, _), message) in &queue.scheduled {
        push(Written::Scheduled(*moment, message))?;
    }
    for message in queue.main.messages() {
        push(Written::Message(message))?;
    }
    for message in queue.dead.messages() {
        push(Written::DeadLetter(message))?;
    }
    Ok(buffer)
}
