//! The memory for parameters and results: how many bytes of them this process holds at once. A
//! caller that needs memory waits until it is free. Knows neither tasks nor the database.
//!
//! There are two halves, taken in a fixed order: a task takes the share for its result before it
//! begins, and the share for its large inputs once their size is known; a task that holds inputs
//! waits for nothing any more. So tasks cannot deadlock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The size of a permit in bytes.
const UNIT: usize = 1024;

/// The assumed size of a result before one was seen, in bytes. Half of the largest: the first tasks
/// of a process all end before the actual size is known.
const UNKNOWN: usize = 512 * 1024;

/// After this many smaller results, half of the increase that a large one caused is forgotten.
const FORGETS: u32 = 64;

/// The memory that may be held.
#[derive(Debug)]
pub(super) struct Memory {
    results: Half,
    inputs: Half,
    /// The expected size of the next result by job type, once one was seen. Units.
    expected: Mutex<HashMap<String, u32>>,
    /// One permit, for the planner that gathers a batch of large definitions.
    large_batch: Semaphore,
}

#[derive(Debug)]
struct Half {
    free: Arc<Semaphore>,
    size: u32,
}

/// A share of the memory, held until it is dropped.
#[derive(Debug)]
pub(super) struct Share(OwnedSemaphorePermit);

/// Bytes that are held, and their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held for results that tasks have or may have.
    pub results: u64,
    /// Held for large parameters and results of predecessors.
    pub inputs: u64,
    /// The limit of each of the two.
    pub limit_of_each: u64,
}

impl Half {
    fn new(bytes: usize) -> Self {
        let size = units(bytes).max(1);
        Self { free: Arc::new(Semaphore::new(size as usize)), size }
    }

    /// Takes this many bytes, if they are free by `by`. A request for more than the half takes all
    /// of it.
    async fn take(&self, bytes: usize, by: Instant) -> Option<Share> {
        let wanted = units(bytes).min(self.size);
        let permit = Arc::clone(&self.free).acquire_many_owned(wanted);
        // The semaphore is never closed.
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
    /// A memory of this many bytes, half of them for results.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            results: Half::new(bytes / 2),
            inputs: Half::new(bytes / 2),
            expected: Mutex::default(),
            large_batch: Semaphore::new(1),
        }
    }

    /// A share for the result of a task that is about to begin, as large as earlier results of its
    /// job type were; `None` if none is free by `by`.
    pub(super) async fn for_result(&self, job_type: &str, by: Instant) -> Option<Share> {
        let expected = self.expected().get(job_type).copied();
        let bytes = expected.map_or(UNKNOWN, |units| units as usize * UNIT);
        self.results.take(bytes, by).await
    }

    /// The permit to gather a batch of large definitions, all of which must be in memory before one
    /// is written; `None` if it is not free by `by`. Other planners gather only as much as one
    /// statement takes.
    pub(super) async fn for_large_batch(&self, by: Instant) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout_at(by.into(), self.large_batch.acquire()).await.ok()?.ok()
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A share for inputs of this many bytes: twice as much, since they are received and then
    /// handed on in one piece. `None` if none is free by `by`.
    pub(super) async fn for_inputs(&self, bytes: usize, by: Instant) -> Option<Share> {
        self.inputs.take(bytes.saturating_mul(2), by).await
    }

    /// Adjusts a task's share to the size of its result, in bytes. It grows only if memory is free;
    /// the result is there in any case.
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

    /// The memory that is held.
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
    async fn result_shares_follow_the_actual_sizes() {
        let memory = Memory::new(8 * MIB);
        let mut shares = Vec::new();
        while let Some(share) = memory.for_result("tile", soon()).await {
            shares.push(share);
        }
        assert_eq!(shares.len(), 8, "4 MiB in shares of half a MiB");
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
        assert_eq!(memory.in_use().results, 1024, "all recent results were small");
        drop(share);
    }

    #[tokio::test]
    async fn a_large_result_makes_later_tasks_wait() {
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
    async fn oversized_inputs_take_the_whole_half() {
        let memory = Memory::new(2 * MIB);
        let large = memory.for_inputs(100 * MIB, soon()).await.unwrap();
        assert_eq!(memory.in_use().inputs, MIB as u64);
        assert!(memory.for_inputs(1, soon()).await.is_none());
        drop(large);
        assert!(memory.for_inputs(1, soon()).await.is_some());
    }
}
