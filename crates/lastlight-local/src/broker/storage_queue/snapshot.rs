//! Storage Queues in a file, so that the local cloud's messages survive a restart.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    super::{SnapshotError, lines},
    engine::StorageQueues,
    queue::{Number, Queue, Stored},
};

/// One line of the file: a queue, then its messages.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Written<'a> {
    StorageQueue {
        name: &'a str,
        metadata: &'a BTreeMap<String, String>,
        epoch: u64,
        next_number: Number,
    },
    Message(Number, &'a Stored),
}

/// A [`Written`] line, read back.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    StorageQueue {
        name: String,
        metadata: BTreeMap<String, String>,
        epoch: u64,
        next_number: Number,
    },
    Message(Number, Stored),
}

impl StorageQueues {
    /// Writes all queues into one file, which is replaced in one step. Each queue is held for as
    /// long as its own messages take (about a second a million).
    ///
    /// # Errors
    /// The file system refused; the old file is as it was.
    pub fn snapshot(&self, path: &Path) -> Result<(), SnapshotError> {
        let queues = self.registry.all();
        lines::write(
            path,
            queues.iter().map(|(name, cell)| cell.with(|queue| queue_lines(name, queue))),
        )
    }

    /// Takes in what [`StorageQueues::snapshot`] wrote, in place of queues of the same names.
    /// Messages that somebody had received are visible again; those that were put with a delay keep
    /// it. Without a file, nothing happens.
    ///
    /// # Errors
    /// The file cannot be read or is not such a snapshot; nothing was restored.
    pub fn restore(&self, path: &Path) -> Result<(), SnapshotError> {
        let mut queues: Vec<(String, Queue)> = Vec::new();
        lines::read(path, |record| match record {
            Read::StorageQueue { name, metadata, epoch, next_number } => {
                let mut queue = Queue::with_epoch(epoch, next_number);
                queue.metadata = metadata;
                queues.push((name, queue));
            }
            Read::Message(number, mut stored) => {
                if stored.dequeue_count > 0 {
                    stored.visible = stored.inserted;
                }
                if let Some((_, queue)) = queues.last_mut() {
                    queue.insert(number, stored);
                }
            }
        })?;
        for (name, queue) in queues {
            self.registry.put(&name, queue);
        }
        Ok(())
    }
}

fn queue_lines(name: &str, queue: &Queue) -> Result<Vec<u8>, serde_json::Error> {
    let mut buffer = Vec::new();
    lines::push_record(
        &mut buffer,
        &Written::StorageQueue {
            name,
            metadata: &queue.metadata,
            epoch: queue.epoch,
            next_number: queue.next_number,
        },
    )?;
    for (number, stored) in &queue.messages {
        lines::push_record(&mut buffer, &Written::Message(*number, stored))?;
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_survive_a_restart_and_received_ones_are_visible_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queues");
        let before = StorageQueues::new();
        before.create_queue("jobs");
        for body in ["a", "b"] {
            before.put("jobs", body.to_owned(), Duration::ZERO, None).unwrap();
        }
        before.receive("jobs", 1, Duration::from_secs(600)).unwrap();
        before.snapshot(&path).unwrap();
        let after = StorageQueues::new();
        after.restore(&path).unwrap();
        let mut received: Vec<_> = after
            .receive("jobs", 10, Duration::from_secs(1))
            .unwrap()
            .into_iter()
            .map(|message| (message.body, message.dequeue_count))
            .collect();
        received.sort();
        assert_eq!(received, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }
}
