//! The tables of lock functions' calls, as they are at one moment.

use std::{collections::BTreeMap, io};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData},
};
use holdup_abi::entry::{
    ASKED, Edge as Count, EdgeKey, FREE, HELD, KIND_CONDVAR, Lock, Thread, in_set,
};

use super::{
    Edge, EntryData, Held, LongHold, Mistake, Mode, Now, Reclaim, What,
    gather::{Gather, Unwind, unwound},
};
use crate::{ingest::plane::PlaneError, symbol::Space};

/// Everything, with what was told before.
///
/// # Errors
/// A table cannot be read.
pub fn read(
    ebpf: &Ebpf,
    table: &Reclaim,
    gather: &Gather,
    unwind: Unwind<'_>,
) -> Result<EntryData, PlaneError> {
    let threads: Vec<(u32, Thread)> = entries(ebpf, "ENTRY_THREADS")?;
    let locks: BTreeMap<u32, Lock> = table.locks().into_iter().collect();
    let now: Vec<Now> = threads
        .iter()
        .flat_map(|(tid, thread)| now(*tid, thread, &locks, unwind))
        .collect();
    let edges: Vec<(EdgeKey, Count)> = entries(ebpf, "ENTRY_EDGES")?;
    let mut mistakes = gather.mistakes.clone();
    mistakes.extend(
        now.iter()
            .filter_map(|now| lost_wakeup(now, &locks, gather)),
    );
    mistakes.sort_by_key(|mistake| mistake.at_ns);
    // The slot may be another lock's by now.
    let is_its = |hold: &&LongHold| {
        let lock = locks.get(&hold.slot);
        lock.is_some_and(|lock| hold.at_ns >= lock.born_ns)
    };
    let long_holds = gather.long_holds.values().filter(is_its);
    let mut long_holds: Vec<_> = long_holds.cloned().collect();
    long_holds.sort_by_key(|hold| hold.slot);
    let mut edges: Vec<_> = edges
        .iter()
        .map(|(key, count)| edge(key, count, gather))
        .collect();
    edges.sort_by_key(|edge| (edge.held, edge.asked, edge.first_ns));
    Ok(EntryData {
        forgotten: table.forgotten(),
        locks,
        edges,
        long_holds,
        now,
        mistakes,
        dropped: gather.dropped,
    })
}

fn edge(key: &EdgeKey, count: &Count, gather: &Gather) -> Edge {
    let told = gather.edges.get(key);
    let others = count.threads.into_iter();
    let others: Vec<u32> = others.filter(|&tid| tid != 0 && tid != count.tid).collect();
    let held = |slot, mode| Held {
        slot,
        mode: Mode(mode),
    };
    Edge {
        held: held(key.held, key.held_mode),
        asked: held(key.asked, key.asked_mode),
        count: count.count,
        first_ns: count.first_ns,
        tid: count.tid,
        more: count.differs != 0 && others.is_empty(),
        others,
        set: told.map(|told| told.set.clone()).or_else(|| alone(key)),
        comm: told.map(|told| told.comm.clone()).unwrap_or_default(),
        held_stack: told.map(|told| told.held_stack.clone()).unwrap_or_default(),
        asked_stack: told.map(|told| told.stack.clone()).unwrap_or_default(),
    }
}

/// The set of an edge whose record was lost, if nothing but the edge's own lock is in it.
fn alone(key: &EdgeKey) -> Option<Vec<Held>> {
    let held = Held {
        slot: key.held,
        mode: Mode(key.held_mode),
    };
    (in_set(key.held, key.held_mode) == key.set).then(|| vec![held])
}

/// What a thread holds and asks for. Locks that another thread has released for it are left out.
fn now(tid: u32, thread: &Thread, locks: &BTreeMap<u32, Lock>, unwind: Unwind<'_>) -> Vec<Now> {
    let space = Space {
        pid: thread.tgid,
        generation: thread.generation,
    };
    let mut all = Vec::new();
    for place in thread.places.iter().filter(|place| place.state != FREE) {
        let lock = Held {
            slot: place.slot,
            mode: Mode(place.mode),
        };
        let holder = locks.get(&place.slot).map(|lock| lock.holder_tid);
        let stale = place.state == HELD && !lock.mode.reads() && holder != Some(tid);
        if stale || !matches!(place.state, ASKED | HELD) {
            continue;
        }
        let length = (place.stack_bytes as usize).min(place.stack.len());
        let bytes = place.stack.get(..length).unwrap_or_default();
        all.push(Now {
            tid,
            space,
            lock,
            is_held: place.state == HELD,
            since_ns: place.since_ns,
            depth: place.depth,
            stack: unwound(space, place.regs, bytes, unwind),
        });
    }
    all
}

/// A wait on a condition variable that was last signalled before it began, when nobody waited.
fn lost_wakeup(now: &Now, locks: &BTreeMap<u32, Lock>, gather: &Gather) -> Option<Mistake> {
    let lock = locks.get(&now.lock.slot)?;
    let lost = lock.kind == KIND_CONDVAR
        && !now.is_held
        && !now.lock.mode.is_timed()
        && lock.unheard_ns != 0
        && lock.unheard_ns < now.since_ns
        && lock.heard_ns < lock.unheard_ns;
    let (comm, stack) = gather
        .unheard
        .get(&now.lock.slot)
        .cloned()
        .unwrap_or_default();
    lost.then(|| Mistake {
        what: What::LostWakeup {
            condvar: now.lock.slot,
            waiter_tid: now.tid,
            waits_since_ns: now.since_ns,
            waits: now.stack.clone(),
        },
        tid: lock.unheard_tid,
        comm,
        space: now.space,
        at_ns: lock.unheard_ns,
        set: Vec::new(),
        acquired: Default::default(),
        stack,
    })
}

fn entries<K: Pod, V: Pod>(ebpf: &Ebpf, name: &'static str) -> Result<Vec<(K, V)>, PlaneError> {
    let read = || {
        let map = ebpf.map(name).ok_or(io::ErrorKind::NotFound)?;
        let map = HashMap::<&MapData, K, V>::try_from(map).map_err(io::Error::other)?;
        let found: Result<Vec<_>, _> = map.iter().collect();
        found.map_err(io::Error::other)
    };
    read().map_err(|source| PlaneError::Map { name, source })
}
