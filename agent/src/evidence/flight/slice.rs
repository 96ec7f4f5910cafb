//! One process out of an interval of the whole node.

use super::{LockRow, Slot};
use crate::{
    model::{
        bundle::{Interval, LockMoved},
        watch::ProcessKey,
    },
    proc::time,
};

/// Locks of the process besides the one that matters.
const OTHERS: usize = 7;

pub(super) fn interval(slot: &Slot, process: ProcessKey, lock: Option<u64>) -> Interval {
    let own = slot.processes.iter().find(|row| row.process == process);
    let rows = slot.locks.iter().filter(|row| row.process == process);
    let (first, others): (Vec<&LockRow>, Vec<&LockRow>) =
        rows.partition(|row| Some(row.address) == lock);
    let rows = first.into_iter().chain(others.into_iter().take(OTHERS));
    Interval {
        at: time::rfc3339(slot.at),
        duration_ns: u64::try_from(slot.duration.as_nanos()).unwrap_or(u64::MAX),
        process: own.map(|row| row.moved),
        locks: rows
            .map(|row| LockMoved {
                address: row.address,
                kind: row.kind,
                moved: row.moved,
            })
            .collect(),
        is_partial: slot.is_partial,
    }
}
