//! What probes on every lock and unlock saw becomes an [`EntryReport`]: names, times, and what may go wrong yet.

mod locks;
mod mistakes;
mod names;
mod order;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::names::Names;
use super::engine::Engine;
use crate::{
    ingest::entry::EntryData,
    model::{
        Capture, EntryReport,
        entry::{MistakeKind, Price},
    },
};

/// Locks described; more are counted.
const MAX_LOCKS: usize = 4_096;
/// Edges of the lock order shown; more are counted.
const MAX_EDGES: usize = 10_000;
/// Edges shown with their stacks; those of circles have them in any case.
const MAX_EDGE_STACKS: usize = 500;
/// Mistakes described; more are counted.
const MAX_MISTAKES: usize = 256;

/// Adds what entry points told to a recording, with the processes that it is about.
pub fn add(
    capture: &mut Capture,
    data: &EntryData,
    engine: &mut Engine,
    price: Option<Price>,
    now_ns: u64,
) {
    let entry = build(data, engine, price, now_ns);
    let mut known: HashSet<u32> = capture.processes.iter().map(|it| it.pid).collect();
    for pid in entry.locks.iter().map(|lock| lock.pid) {
        if known.insert(pid) {
            capture.processes.push(engine.processes.latest(pid));
        }
    }
    capture.processes.sort_by_key(|process| process.pid);
    capture.entry = Some(Box::new(entry));
}

/// Builds the report. `now_ns` is the `CLOCK_MONOTONIC` time at which `data` was read.
#[must_use]
pub fn build(
    data: &EntryData,
    engine: &mut Engine,
    price: Option<Price>,
    now_ns: u64,
) -> EntryReport {
    let names = &mut Names::new(data, engine);
    let (mut mistakes, mistakes_left_out) = mistakes::mistakes(data, names, now_ns);
    let order = order::order(data, names);
    let (mut locks, locks_left_out) = locks::locks(data, names, now_ns);
    if price
        .as_ref()
        .is_some_and(|price| price.detached_by_governor)
    {
        // What was held and waited for then need not be so any more: nobody has seen the end of it.
        mistakes.retain(|mistake| mistake.kind != MistakeKind::LostWakeupSuspect);
        for lock in &mut locks {
            (lock.holder, lock.users) = (None, 0);
        }
    }
    EntryReport {
        locks,
        locks_left_out: locks_left_out + data.forgotten,
        potential_deadlocks: order.potential_deadlocks,
        order_check: order.check,
        order: order.edges,
        order_left_out: order.edges_left_out,
        mistakes,
        mistakes_left_out,
        price,
    }
}
