//! Statistics of locks.

use std::{cmp::Reverse, collections::HashMap};

use holdup_abi::{
    entry::{DESTROYED, Lock},
    lock::BUCKETS,
};

use super::{MAX_LOCKS, names::Names};
use crate::{
    ingest::entry::{EntryData, LongHold, Now},
    model::entry::{EntryHolder, EntryLock, LongestHold, Times},
    report::lock::buckets,
};

/// Locks that are worth a row, and how many more there are.
pub fn locks(data: &EntryData, names: &mut Names<'_>, now_ns: u64) -> (Vec<EntryLock>, u64) {
    let mut slots: Vec<(u32, &Lock)> = data.locks.iter().map(|(&slot, it)| (slot, it)).collect();
    slots.sort_by_key(|(slot, lock)| {
        let held_now_ns = match lock.holder_tid {
            0 => 0,
            _ => now_ns.saturating_sub(lock.holder_since_ns),
        };
        let hold_ns = lock.hold_total_ns.saturating_add(held_now_ns);
        let rank = (lock.wait_total_ns, hold_ns, lock.acquisitions);
        (Reverse(rank), *slot)
    });
    let left_out = slots.len().saturating_sub(MAX_LOCKS);
    let mut longest: HashMap<u32, &LongHold> = HashMap::new();
    for hold in &data.long_holds {
        let known = longest.entry(hold.slot).or_insert(hold);
        if hold.held_ns > known.held_ns {
            *known = hold;
        }
    }
    let held = data.now.iter().filter(|now| now.is_held);
    let held: HashMap<(u32, u32), &Now> = held.map(|now| ((now.lock.slot, now.tid), now)).collect();
    let rows = slots.into_iter().take(MAX_LOCKS);
    let rows = rows.filter_map(|(slot, lock)| {
        let holder = (lock.holder_tid != 0).then(|| EntryHolder {
            tid: lock.holder_tid,
            comm: names.comm(lock.key.tgid, lock.holder_tid),
            since_ns: now_ns.saturating_sub(lock.holder_since_ns),
            frames: held
                .get(&(slot, lock.holder_tid))
                .map(|now| names.frames_at(slot, &now.stack))
                .unwrap_or_default(),
        });
        let longest_hold = longest.get(&slot).map(|hold| LongestHold {
            held_ns: hold.held_ns,
            tid: hold.tid,
            comm: hold.comm.clone(),
            acquired_frames: names.frames_at(slot, &hold.acquired),
            released_frames: names.frames_at(slot, &hold.released),
        });
        let named = names.lock(slot)?;
        Some(EntryLock {
            id: named.id.clone(),
            generation: named.lock.generation,
            kind: named.kind,
            symbol: named.symbol.clone(),
            site: named.site.clone(),
            longest_hold,
            holder,
            ..numbers(lock)
        })
    });
    (rows.collect(), left_out as u64)
}

/// What the kernel side has counted.
fn numbers(lock: &Lock) -> EntryLock {
    EntryLock {
        pid: lock.key.tgid,
        address: lock.key.address,
        acquisitions: lock.acquisitions,
        reads: lock.reads,
        repeated: lock.repeated,
        contended: lock.contended,
        reacquired: lock.reacquired,
        failed_tries: lock.try_failures,
        timeouts: lock.timeouts,
        errors: lock.errors,
        releases: lock.releases,
        unmatched: lock.unmatched,
        unheard: lock.unheard,
        users: lock.users,
        destroyed: lock.flags & DESTROYED != 0,
        wait: times(lock.wait_total_ns, lock.wait_max_ns, &lock.wait_histogram),
        hold: times(lock.hold_total_ns, lock.hold_max_ns, &lock.hold_histogram),
        ..EntryLock::default()
    }
}

fn times(total_ns: u64, max_ns: u64, histogram: &[u64; BUCKETS]) -> Times {
    Times {
        count: histogram.iter().sum(),
        total_ns,
        max_ns,
        histogram: buckets(histogram),
    }
}
