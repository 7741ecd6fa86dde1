//! Storage Queues in a file, so that the local cloud's messages survive a restart.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    super::{SnapshotError, lines},
    engine::StorageQueues,
    queue::{Number, Queue, Stored},
};

/// One line of the file: a queue, or a message of the queue before it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record<M> {
    Queue {
        name: String,
        metadata: BTreeMap<String, String>,
        epoch: u64,
    },
    Message {
        number: Number,
        message: M,
    },
}

impl StorageQueues {
    /// Writes all queues and messages, so that [`StorageQueues::restore`] finds them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn snapshot(&self, path: &Path) -> Result<(), SnapshotError> {
        let parts = self.registry.all().into_iter().map(|(name, cell)| {
            cell.with(|queue| {
                let mut text = Vec::new();
                let metadata = queue.metadata.clone();
                lines::push_record(
                    &mut text,
                    &Record::<&Stored>::Queue {
                        name,
                        metadata,
                        epoch: queue.epoch,
                    },
                )?;
                for (number, message) in &queue.messages {
                    lines::push_record(
                        &mut text,
                        &Record::Message {
                            number: *number,
                            message,
                        },
                    )?;
                }
                Ok(text)
            })
        });
        lines::write(path, parts)
    }

    /// Takes in what a snapshot holds; a file that is not there holds nothing. Whoever had received a message is
    /// gone: it is visible again, unless it was put with a delay.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn restore(&self, path: &Path) -> Result<(), SnapshotError> {
        let now = self.clock.now();
        let mut current = None;
        lines::read(path, |record: Record<Stored>| match record {
            Record::Queue {
                name,
                metadata,
                epoch,
            } => {
                let (cell, _) = self.registry.get_or_create(&name, || Queue::with_epoch(epoch, 1));
                cell.with(|queue| queue.metadata = metadata);
                current = Some(cell);
            }
            Record::Message { number, mut message } => {
                if message.dequeue_count > 0 {
                    message.visible = message.visible.min(now);
                }
                if let Some(cell) = &current {
                    cell.with(|queue| queue.insert(number, message));
                }
            }
        })
    }
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
