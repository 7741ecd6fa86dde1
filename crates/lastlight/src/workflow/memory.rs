//! The memory for parameters and results: how many bytes of them this process holds at once. Who
//! needs some waits until it is free. Knows neither tasks nor the database.
//!
//! There are two halves, and one order in which they are taken: a task takes its share for its
//! result before it begins, and the share for its large inputs once they are known; who holds
//! inputs waits for nothing any more. So nobody waits for somebody who waits for him.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// What a permit stands for. Bytes.
const UNIT: usize = 1024;

/// What a result is taken to have before any was seen. Half of the largest: the first tasks of a
/// process all end before one knows. Bytes.
const UNKNOWN: usize = 512 * 1024;

/// After so many smaller results half of what a large one taught is forgotten.
const FORGETS: u32 = 64;

/// The bytes that may be held.
#[derive(Debug)]
pub(super) struct Memory {
    results: Half,
    inputs: Half,
    /// What the next result of a job type is taken to have, once one was seen. Units.
    expected: Mutex<HashMap<String, u32>>,
    /// For the one planner that gathers a batch of large definitions.
    large_batch: Semaphore,
}

#[derive(Debug)]
struct Half {
    free: Arc<Semaphore>,
    size: u32,
}

/// A share of the memory, until it is dropped.
#[derive(Debug)]
pub(super) struct Share(OwnedSemaphorePermit);

/// Bytes held, and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Shares for results that tasks have or may have.
    pub results: u64,
    /// Shares for large parameters and results of predecessors.
    pub inputs: u64,
    /// Of either, as much as there may be.
    pub limit_of_each: u64,
}

impl Half {
    fn new(bytes: usize) -> Self {
        let size = units(bytes).max(1);
        Self { free: Arc::new(Semaphore::new(size as usize)), size }
    }

    /// So much of it, if it is free by then. One that needs more than there is takes all of it.
    async fn take(&self, bytes: usize, by: Instant) -> Option<Share> {
        let wanted = units(bytes).min(self.size);
        let permit = Arc::clone(&self.free).acquire_many_owned(wanted);
        // It is never closed.
        let permit = tokio::time::timeout_at(by.into(), permit).await.ok()?;
        permit.ok().map(Share)
    }

    fn held(&self) -> u64 {
        let free = self.free.available_permits() as u64;
        u64::from(self.size).saturating_sub(free) * UNIT as u64
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Memory {
    /// So many bytes, half of them for results.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            results: Half::new(bytes / 2),
            inputs: Half::new(bytes / 2),
            expected: Mutex::default(),
            large_batch: Semaphore::new(1),
        }
    }

    /// A share for the result of a task that is to begin, as large as results of its job type are
    /// by experience; `None` where there is none by then.
    pub(super) async fn for_result(&self, job_type: &str, by: Instant) -> Option<Share> {
        let expected = self.expected().get(job_type).copied();
        let bytes = expected.map_or(UNKNOWN, |units| units as usize * UNIT);
        self.results.take(bytes, by).await
    }

    /// The turn to gather a batch of large definitions, of which all must be there before one is
    /// written; `None` where it does not come by then. Others gather as much as one statement
    /// takes.
    pub(super) async fn for_large_batch(&self, by: Instant) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout_at(by.into(), self.large_batch.acquire()).await.ok()?.ok()
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A share for inputs of so many bytes: they are received, and handed on in one piece, so it is
    /// twice as much. `None` where there is none by then.
    pub(super) async fn for_inputs(&self, bytes: usize, by: Instant) -> Option<Share> {
        self.inputs.take(bytes.saturating_mul(2), by).await
    }

    /// A task's result has so many bytes: its share is as large from now on, as far as there is
    /// more, since the result is there already.
    pub(super) fn has_result(&self, job_type: &str, share: &mut Share, bytes: usize) {
        let has = units(bytes).max(1);
        let held = u32::try_from(share.0.num_permits()).unwrap_or(u32::MAX);
        if has < held {
            drop(share.0.split((held - has) as usize));
        } else if let Ok(more) = Arc::clone(&self.results.free).try_acquire_many_owned(has - held) {
            share.0.merge(more);
        }
        let mut expected = self.expected();
        match expected.get_mut(job_type) {
            Some(expected) if has < *expected => *expected -= (*expected - has).div_ceil(FORGETS),
            Some(expected) => *expected = has,
            None => {
                expected.insert(job_type.to_owned(), has.max(units(UNKNOWN)));
            }
        }
    }

    /// How much is held.
    pub(super) fn in_use(&self) -> MemoryUse {
        MemoryUse {
            results: self.results.held(),
            inputs: self.inputs.held(),
            limit_of_each: u64::from(self.results.size) * UNIT as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn shares_of_results_are_as_large_as_results_turn_out() {
        let memory = Memory::new(8 * MIB);
        let mut shares = Vec::new();
        while let Some(share) = memory.for_result("tile", soon()).await {
            shares.push(share);
        }
        assert_eq!(shares.len(), 8, "4 MiB of half a MiB each");
        for share in &mut shares {
            memory.has_result("tile", share, 100);
        }
        assert_eq!(memory.in_use().results, 8 * 1024);
        drop(shares);
        assert_eq!(memory.in_use().results, 0);
        for _ in 0..2000 {
            let mut share = memory.for_result("tile", soon()).await.unwrap();
            memory.has_result("tile", &mut share, 100);
        }
        let share = memory.for_result("tile", soon()).await.unwrap();
        assert_eq!(memory.in_use().results, 1024, "small ones are all it saw for long");
        drop(share);
    }

    #[tokio::test]
    async fn a_large_result_makes_the_next_ones_wait_and_never_exceeds_what_there_is() {
        let memory = Memory::new(4 * MIB);
        let mut first = memory.for_result("tile", soon()).await.unwrap();
        memory.has_result("tile", &mut first, MIB);
        assert_eq!(memory.in_use().results, MIB as u64);
        let second = memory.for_result("tile", soon()).await.unwrap();
        assert_eq!(memory.in_use().results, 2 * MIB as u64);
        assert!(memory.for_result("tile", soon()).await.is_none());
        drop(first);
        assert!(memory.for_result("tile", soon()).await.is_some());
        drop(second);
    }

    #[tokio::test]
    async fn inputs_that_are_larger_than_all_there_is_go_alone() {
        let memory = Memory::new(2 * MIB);
        let large = memory.for_inputs(100 * MIB, soon()).await.unwrap();
        assert_eq!(memory.in_use().inputs, MIB as u64);
        assert!(memory.for_inputs(1, soon()).await.is_none());
        drop(large);
        assert!(memory.for_inputs(1, soon()).await.is_some());
    }
}
