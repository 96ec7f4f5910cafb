//! What moved between two views.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{LockRow, ProcessRow, Slot};
use crate::model::{
    Kind,
    bundle::Moved,
    watch::{Lock, ProcessKey, View},
};

/// Where a lock stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    process: ProcessKey,
    address: u64,
    kind: Kind,
    waits: u64,
    handoffs: u64,
    wait_ns: u64,
}

/// Where all locks stood, in order of process and address; as many as there is room for.
#[derive(Debug)]
pub(super) struct Totals {
    totals: Vec<Total>,
    /// Locks that there was no room for.
    left_out: bool,
}

/// What names a lock in a view.
type Key = (ProcessKey, u64, Kind);

impl Total {
    const fn key(&self) -> Key {
        (self.process, self.address, self.kind)
    }
}

/// Whether somebody must let go, or nobody can tell that nobody must.
fn is_held_up(kind: Kind) -> bool {
    kind.is_lock() || kind == Kind::Unknown
}

impl Totals {
    pub fn new(room: usize) -> Self {
        Self {
            totals: Vec::with_capacity(room),
            left_out: false,
        }
    }

    pub fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<Total>()
    }

    /// Remembers where the locks of a view stand.
    pub fn replace(&mut self, view: &View) {
        self.totals.clear();
        let room = self.totals.capacity();
        let counted = view.locks.iter().filter_map(|lock| {
            let counts = lock.counts.as_deref()?;
            Some(Total {
                process: lock.process,
                address: lock.address,
                kind: lock.kind,
                waits: counts.waits(),
                handoffs: counts.handoffs(),
                wait_ns: counts.wait_ns,
            })
        });
        let mut counted = counted.fuse();
        self.totals.extend(counted.by_ref().take(room));
        self.left_out = counted.next().is_some();
        self.totals.sort_unstable_by_key(Total::key);
    }

    fn of(&self, lock: &Lock) -> Option<&Total> {
        let key = (lock.process, lock.address, lock.kind);
        let found = self.totals.binary_search_by_key(&key, Total::key);
        self.totals.get(found.ok()?)
    }

    /// What moved since then; `None` for a lock that is not followed.
    fn moved(&self, lock: &Lock) -> Option<Moved> {
        let mut moved = Moved {
            waiters: lock.waiters,
            ..Moved::default()
        };
        let Some(counts) = lock.counts.as_deref() else {
            return Some(moved);
        };
        let (mut waits, mut handoffs, mut wait_ns) = (0, 0, 0);
        match self.of(lock) {
            // A lock that lost its place in the kernel's table and came back starts at 0.
            Some(total) if total.waits <= counts.waits() => {
                (waits, handoffs, wait_ns) = (total.waits, total.handoffs, total.wait_ns);
            }
            None if self.left_out => return None,
            _ => {}
        }
        moved.waits = counts.waits() - waits;
        moved.handoffs = counts.handoffs().saturating_sub(handoffs);
        moved.wait_ns = counts.wait_ns.saturating_sub(wait_ns);
        Some(moved)
    }

    /// Fills a slot with what moved, within its room.
    pub fn compare(&self, view: &View, slot: &mut Slot) {
        slot.locks.clear();
        slot.processes.clear();
        slot.is_partial = self.left_out;
        let mut best = Best::new(&mut slot.locks);
        let mut sums: BTreeMap<ProcessKey, Moved> = BTreeMap::new();
        for lock in &view.locks {
            let Some(moved) = self.moved(lock) else {
                continue;
            };
            if moved.waiters == 0 && moved.waits == 0 {
                continue;
            }
            best.offer(LockRow {
                process: lock.process,
                address: lock.address,
                kind: lock.kind,
                moved,
            });
            // Threads that wait for work are nobody's queue.
            if is_held_up(lock.kind) {
                sums.entry(lock.process).or_default().add(&moved);
            }
        }
        slot.is_partial |= best.finish();
        let mut sums: Vec<ProcessRow> = sums
            .into_iter()
            .map(|(process, moved)| ProcessRow { process, moved })
            .collect();
        sums.sort_unstable_by_key(|row| {
            let Moved {
                waiters, wait_ns, ..
            } = row.moved;
            (Reverse((waiters, wait_ns)), row.process)
        });
        let room = slot.processes.capacity();
        slot.is_partial |= sums.len() > room;
        slot.processes.extend(sums.into_iter().take(room));
    }
}

/// Keeps the rows that matter most, in the room that a vector has.
struct Best<'a> {
    rows: &'a mut Vec<LockRow>,
    room: usize,
    is_heap: bool,
    dropped: bool,
}

/// Locks before idle workers, those with most waiters first, then those that were waited for longest.
fn rank(row: &LockRow) -> (bool, u64, u64, u64) {
    let Moved {
        waiters,
        waits,
        handoffs: _,
        wait_ns,
    } = row.moved;
    (is_held_up(row.kind), waiters, wait_ns, waits)
}

impl<'a> Best<'a> {
    fn new(rows: &'a mut Vec<LockRow>) -> Self {
        Self {
            room: rows.capacity(),
            rows,
            is_heap: false,
            dropped: false,
        }
    }

    /// The least of the rows is at the front while it is full.
    fn offer(&mut self, row: LockRow) {
        if self.rows.len() < self.room {
            self.rows.push(row);
            return;
        }
        self.dropped = true;
        if !self.is_heap {
            self.rows.sort_unstable_by_key(rank);
            self.is_heap = true;
        }
        if let Some(least) = self.rows.first_mut()
            && rank(least) < rank(&row)
        {
            *least = row;
            self.sift();
        }
    }

    /// A sorted vector is a heap; after its front was replaced, it is made one again.
    fn sift(&mut self) {
        let mut at = 0;
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let least = children
                .into_iter()
                .filter(|&child| child < self.rows.len())
                .min_by_key(|&child| self.rows.get(child).map(rank));
            match least {
                Some(child) if self.rows.get(child).map(rank) < self.rows.get(at).map(rank) => {
                    self.rows.swap(child, at);
                    at = child;
                }
                _ => return,
            }
        }
    }

    /// Puts the rows in order; whether some were dropped.
    fn finish(self) -> bool {
        self.rows
            .sort_unstable_by_key(|row| (Reverse(rank(row)), row.process, row.address, row.kind));
        self.dropped
    }
}
