//! What an attempt says about itself while it runs, and the checkpoint of its task. Knows neither
//! where they are stored nor when.

use std::{
    collections::VecDeque,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::value::RawValue;

/// Size of a log's tail, in bytes.
pub(crate) const LARGEST_LOG: usize = 64 * 1024;

/// Maximum size of a checkpoint, in bytes.
pub(crate) const LARGEST_CHECKPOINT: usize = 64 * 1024;

/// A message is cut at this number of characters.
pub(crate) const LONGEST_MESSAGE: usize = 500;

/// What an attempt says at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Note {
    /// The share of the work that is done, 0 to 1.
    pub progress: Option<f32>,
    /// What it does.
    pub message: Option<String>,
    /// The end of its log.
    pub log_tail: Option<String>,
}

/// What an attempt says, until it is stored.
#[derive(Debug, Default)]
pub struct Notes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    progress: Option<f32>,
    message: Option<String>,
    log: VecDeque<u8>,
    has_changed: bool,
}

impl Notes {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.has_changed = true;
    }

    pub(super) fn progress(&self, fraction: f64, message: &str) {
        self.change(|state| {
            if fraction.is_finite() {
                state.progress = Some(fraction.clamp(0.0, 1.0) as f32);
            }
            state.message = Some(message.chars().take(LONGEST_MESSAGE).collect());
        });
    }

    pub(super) fn log(&self, line: &str) {
        self.change(|state| {
            state.log.extend(line.as_bytes());
            state.log.push_back(b'\n');
            let over = state.log.len().saturating_sub(LARGEST_LOG);
            state.log.drain(..over);
        });
    }

    /// What it says now, if that has changed since the last call.
    pub fn take_changed(&self) -> Option<Note> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut state.has_changed) {
            return None;
        }
        let log = state.log.make_contiguous();
        // The first character may have been cut.
        let begin = log.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[begin..]).into_owned();
        Some(Note {
            progress: state.progress,
            message: state.message.clone(),
            log_tail: (!log.is_empty()).then_some(log),
        })
    }
}

/// Where the checkpoint of an attempt's task is kept.
#[async_trait]
pub trait Checkpoints: Debug + Send + Sync {
    /// The checkpoint that an earlier attempt saved, if any.
    ///
    /// # Errors
    /// It cannot be read now.
    async fn load(&self) -> Result<Option<Box<RawValue>>, String>;

    /// Saves a checkpoint.
    ///
    /// # Errors
    /// It cannot be saved now, or the attempt no longer holds its task.
    async fn save(&self, checkpoint: &RawValue) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_once_after_each_change() {
        let notes = Notes::default();
        assert_eq!(notes.take_changed(), None);
        notes.progress(1.5, &"é".repeat(600));
        notes.log("read 1 of 2");
        let note = notes.take_changed().unwrap();
        assert_eq!(note.progress, Some(1.0));
        assert_eq!(note.message.map(|message| message.chars().count()), Some(LONGEST_MESSAGE));
        assert_eq!(note.log_tail.as_deref(), Some("read 1 of 2\n"));
        assert_eq!(notes.take_changed(), None);
        notes.progress(f64::NAN, "still there");
        assert_eq!(notes.take_changed().unwrap().progress, Some(1.0));
    }

    #[test]
    fn a_log_keeps_its_end() {
        let notes = Notes::default();
        for _ in 0..3 {
            notes.log(&"é".repeat(LARGEST_LOG / 4));
        }
        notes.log("the last line");
        let log = notes.take_changed().unwrap().log_tail.unwrap();
        assert!(log.len() <= LARGEST_LOG && log.len() > LARGEST_LOG - 4, "{}", log.len());
        assert!(log.starts_with('é') && log.ends_with("\nthe last line\n"));
    }
}
