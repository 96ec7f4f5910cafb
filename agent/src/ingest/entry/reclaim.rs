//! Room for new locks: slots of destroyed ones of which nothing is worth keeping.

use std::io;

use aya::{Ebpf, maps::Map};
use holdup_abi::entry::{DESTROYED, Lock};

use crate::ingest::{
    clock::monotonic_ns,
    mapped::Mapped,
    plane::{Plane, PlaneError},
};

/// How long ago a lock must have been destroyed: calls that were under way then have ended.
const AGE_NS: u64 = 1_000_000_000;

/// Takes slots back when they run short.
#[derive(Debug)]
pub struct Reclaim {
    table: Mapped<Lock>,
    /// Locks whose slots were taken back.
    forgotten: u64,
}

impl Reclaim {
    /// For a table of `slots`.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn new(ebpf: &Ebpf, slots: usize) -> Result<Self, PlaneError> {
        let name = "ENTRY_LOCKS";
        let failed = |source| PlaneError::Map { name, source };
        let Some(Map::Array(data)) = ebpf.map(name) else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        Ok(Self {
            table: Mapped::writable(data.fd(), slots).map_err(failed)?,
            forgotten: 0,
        })
    }

    /// Locks in use, and destroyed ones that are still known.
    #[must_use]
    pub fn locks(&self) -> Vec<(u32, Lock)> {
        let used = self.table.iter();
        used.filter(|(_, lock)| lock.key.address != 0).collect()
    }

    /// How many those are, without reading them all.
    fn used(&self) -> usize {
        let slots = 0..u32::try_from(self.table.count()).unwrap_or(u32::MAX);
        slots
            .filter_map(|slot| self.table.at(slot))
            // SAFETY: a field of a mapped element.
            .filter(|&lock| unsafe { (&raw const (*lock).key.address).read_volatile() } != 0)
            .count()
    }

    /// Destroyed locks that are not known any more: nobody had waited for them, no other lock was held with them, and they
    /// had no part in a mistake.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Takes slots back if more than three quarters are in use.
    ///
    /// # Errors
    /// The queue of free slots cannot be written.
    pub fn look(&mut self, plane: &mut Plane) -> Result<(), PlaneError> {
        if self.used() <= self.table.count() / 4 * 3 {
            return Ok(());
        }
        let before_ns = monotonic_ns().saturating_sub(AGE_NS);
        let dispensable = |lock: &Lock| {
            let gone = lock.flags & DESTROYED != 0 && lock.destroyed_ns < before_ns;
            let idle = lock.holder_tid == 0 && lock.users == 0;
            gone && idle && lock.contended == 0 && lock.told == 0
        };
        let mut free = Vec::new();
        for (slot, _) in self
            .locks()
            .into_iter()
            .filter(|(_, lock)| dispensable(lock))
        {
            if let Some(element) = self.table.at(slot) {
                // SAFETY: an element of the mapping, which is writable. No program finds the slot any more: its address was
                // taken off the table when it was destroyed.
                unsafe { element.write_volatile(Lock::EMPTY) };
                free.push(slot);
            }
        }
        self.forgotten += free.len() as u64;
        plane.free_entry(&free)
    }
}
