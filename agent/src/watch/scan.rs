//! From what the kernel side has, to the table: the only reading that every tick does in full. It costs one cache line for
//! each slot in use, and a copy for each thread that waits.

use std::collections::{HashMap, HashSet};

use holdup_abi::{lock::LockKey, thread::PREEXISTING};

use super::{
    circles::Waiting,
    table::{NotCounted, Parked, Place, Table},
};
use crate::{
    ingest::plane::{Plane, PlaneError},
    report::waiter,
};

/// Slots looked at beyond the last that was in use: they are handed out in order the first time, but by several
/// processors at once.
const AHEAD: u32 = 4096;

/// What holders wait for, by thread.
pub(super) type Waits = HashMap<u32, Waiting>;

/// The kernel's tables.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// First slot that was never seen in use.
    end: u32,
}

impl Slots {
    /// Reads locks, then threads. `news` is told each word with finished waits that are new, and how many.
    pub(super) fn scan(
        &mut self,
        plane: &Plane,
        table: &mut Table,
        owners: &HashSet<u32>,
        mut news: impl FnMut(Place, u64),
    ) -> Result<Waits, PlaneError> {
        let slots = u32::try_from(plane.locks.slots()).unwrap_or(u32::MAX);
        let mut place = 0;
        while place < slots.min(self.end.saturating_add(AHEAD)) {
            if let Some(head) = plane.locks.head(place) {
                let count = table.word(place, head.key, head.waits);
                if count != 0 {
                    news(place, count);
                }
                self.end = self.end.max(place + 1);
            } else if table.words().get(place).is_some() {
                // The kernel side has taken back a slot that it did not need after all.
                table.finish(place, &NotCounted);
            }
            place += 1;
        }
        let mut waits = Waits::new();
        plane.each_parked(|thread| {
            let key = LockKey {
                address: thread.address,
                tgid: thread.tgid,
                generation: thread.generation,
            };
            let at_least = thread.flags & PREEXISTING != 0;
            let parked = Parked {
                tid: thread.tid,
                since_ns: Some(thread.since_ns),
                at_least,
                op: thread.op,
                value: thread.value,
            };
            // A lock that came up since the scan of the locks.
            if table
                .words()
                .get(thread.slot)
                .is_none_or(|word| word.key != key)
                && let Some(head) = plane.locks.head(thread.slot)
                && head.key == key
            {
                table.word(thread.slot, key, head.waits);
            }
            table.parked(thread.slot, &key, &parked);
            if owners.contains(&thread.tid) {
                let waiting = Waiting {
                    place: thread.slot,
                    since_ns: thread.since_ns,
                    at_least,
                };
                waits.insert(thread.tid, waiting);
            }
        })?;
        Ok(waits)
    }
}

/// Places of words when there are no slots.
#[derive(Debug, Default)]
pub(super) struct Census {
    places: HashMap<LockKey, Place>,
    free: Vec<Place>,
}

impl Census {
    /// Reads all threads of the machine.
    pub(super) fn scan(
        &mut self,
        plane: &mut Plane,
        table: &mut Table,
        owners: &HashSet<u32>,
    ) -> Result<Waits, PlaneError> {
        let tasks = plane.census().map_err(|source| PlaneError::Map {
            name: "task iterator",
            source,
        })?;
        let mut waits = Waits::new();
        for task in tasks.iter().filter(|task| task.tgid != std::process::id()) {
            let Some((address, op, value)) = waiter::futex_call(task) else {
                continue;
            };
            let key = LockKey {
                address,
                tgid: task.tgid,
                generation: task.generation,
            };
            let place = self.place(key);
            table.word(place, key, 0);
            let since_ns = plane.asleep_since_ns(task);
            let parked = Parked {
                tid: task.tid,
                since_ns,
                at_least: true,
                op,
                value,
            };
            table.parked(place, &key, &parked);
            if let (true, Some(since_ns)) = (owners.contains(&task.tid), since_ns) {
                let waiting = Waiting {
                    place,
                    since_ns,
                    at_least: true,
                };
                waits.insert(task.tid, waiting);
            }
        }
        Ok(waits)
    }

    fn place(&mut self, key: LockKey) -> Place {
        let next = Place::try_from(self.places.len() + self.free.len()).unwrap_or(Place::MAX);
        let free = &mut self.free;
        *self
            .places
            .entry(key)
            .or_insert_with(|| free.pop().unwrap_or(next))
    }

    /// The word is gone.
    pub(super) fn forget(&mut self, key: &LockKey) {
        if let Some(place) = self.places.remove(key) {
            self.free.push(place);
        }
    }
}
