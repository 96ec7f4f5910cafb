//! The flight recorder: what moved in the last minutes, kept in a fixed amount of memory.
//!
//! At the end of each interval the counts of every lock are compared with those of the interval before; what moved, or is
//! waited for, is kept: the locks with most waiters and most waiting first, as many as there is room for. Sums by process
//! are exact for all locks that are followed. All room is taken at the start, so that an incident, when everything moves,
//! does not cost more than a quiet night.

mod delta;
mod settings;
mod slice;

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use self::delta::Totals;
pub use self::settings::Settings;
use crate::model::{
    Kind,
    bundle::{Flight, Moved},
    watch::{ProcessKey, View},
};

/// What happened to one lock in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LockRow {
    process: ProcessKey,
    address: u64,
    kind: Kind,
    moved: Moved,
}

/// What happened in one process in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessRow {
    process: ProcessKey,
    moved: Moved,
}

/// One interval of the whole node.
#[derive(Debug)]
struct Slot {
    at: SystemTime,
    duration: Duration,
    locks: Vec<LockRow>,
    processes: Vec<ProcessRow>,
    is_partial: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    settings: Settings,
    /// Oldest first.
    slots: VecDeque<Slot>,
    /// Where every lock stood at the end of the last interval.
    totals: Totals,
    last_ns: Option<u64>,
}

impl Recorder {
    /// An empty one, with all the room it will ever take.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let room = settings.room();
        let slot = || Slot {
            at: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            locks: Vec::with_capacity(room.locks),
            processes: Vec::with_capacity(room.processes),
            is_partial: false,
        };
        let mut slots = VecDeque::with_capacity(room.intervals);
        slots.extend((0..room.intervals).map(|_| slot()));
        Self {
            settings: settings.clone(),
            slots,
            totals: Totals::new(room.totals),
            last_ns: None,
        }
    }

    /// Takes a view in. Those within an interval cost nothing; the one that ends it is compared with the last.
    pub fn record(&mut self, view: &View) {
        let Some(last_ns) = self.last_ns else {
            // What was counted before is of no interval.
            self.totals.replace(view);
            self.last_ns = Some(view.at_ns);
            return;
        };
        let duration = Duration::from_nanos(view.at_ns.saturating_sub(last_ns));
        // Ticks are never quite on time; an interval is the nearest number of them.
        if duration + duration / 16 < self.settings.interval {
            return;
        }
        // The oldest one's room is used again.
        let Some(mut slot) = self.slots.pop_front() else {
            return;
        };
        slot.at = view.at;
        slot.duration = duration;
        self.totals.compare(view, &mut slot);
        self.totals.replace(view);
        self.slots.push_back(slot);
        self.last_ns = Some(view.at_ns);
    }

    /// What there is of a process, with its locks; `lock` is the one that matters most, by its address.
    #[must_use]
    pub fn slice(&self, process: ProcessKey, lock: Option<u64>) -> Flight {
        let intervals = self.slots.iter();
        Flight {
            intervals: intervals
                .filter(|slot| !slot.duration.is_zero())
                .map(|slot| slice::interval(slot, process, lock))
                .collect(),
        }
    }

    /// Memory that it takes, in bytes: the same from beginning to end, and at most what the settings allow.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let slots = self.slots.iter().map(|slot| {
            slot.locks.capacity() * size_of::<LockRow>()
                + slot.processes.capacity() * size_of::<ProcessRow>()
        });
        self.slots.capacity() * size_of::<Slot>() + slots.sum::<usize>() + self.totals.bytes()
    }
}

#[cfg(test)]
mod tests;
