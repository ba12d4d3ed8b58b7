//! A store that is only memory, and survives the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faults::{Fault, Step, Times};
use super::kernel::Errno;
use crate::store::{Durability, Key, Record, Store, StoreError, Write};

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<Key, Record>,
    fault: Fault,
    written: Vec<Durability>,
}

/// A store that is only memory. A clone is the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that plays a crash unwinds; what is behind the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is stored, for comparison.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<Key, Record> {
        self.lock().records.clone()
    }

    /// The `n`-th write from now is refused; 1 is the next.
    pub fn fail_at(&self, n: usize, times: Times) {
        self.lock().fault.fail_at(n, times);
    }

    /// The daemon dies when `n` more transactions have been written.
    pub fn crash_after(&self, n: usize) {
        self.lock().fault.crash_after(n);
    }

    /// Nothing fails any more. Whether a fault was still waiting for its step.
    pub fn clear_faults(&self) -> bool {
        let mut inner = self.lock();
        let waited = inner.fault.waits();
        inner.fault.clear();
        waited
    }

    /// How sure each transaction since the last call was.
    pub fn take_written(&self) -> Vec<Durability> {
        std::mem::take(&mut self.lock().written)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<Record>, StoreError> {
        Ok(self.lock().records.values().cloned().collect())
    }

    fn write(&mut self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        match inner.fault.step() {
            Step::Go => {}
            Step::Refuse => {
                let what = format!("write {} objects", writes.len());
                return Err(StoreError { what, source: Box::new(Errno::Busy) });
            }
            Step::Crash => {
                drop(inner);
                Fault::die()
            }
        }
        for (key, record) in writes {
            match record {
                Some(record) => inner.records.insert(*key, record.clone()),
                None => inner.records.remove(key),
            };
        }
        inner.written.push(durability);
        Ok(())
    }
}
