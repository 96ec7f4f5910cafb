//! What two looks at a lock tell: whether it is handed round, and which evidence about its holder has gone stale.

use std::collections::HashMap;

use super::facts::{Facts, Lock, Look, ThreadId};
use crate::model::{
    Kind,
    explanation::{Convoy, LockRef},
};

/// Fewest hand-offs that make a convoy: one could be chance.
const FEWEST_HANDOFFS: u64 = 2;
/// Fewest waiters: a single one is a queue that two threads make by taking turns.
const FEWEST_WAITERS: u64 = 2;

/// Whether the lock was handed on between two looks.
pub fn moved(lock: &Lock) -> bool {
    lock.looks
        .is_some_and(|(first, second)| second.handoffs > first.handoffs)
}

/// A convoy: hand-offs move, the queue stays as long as it was, give or take a quarter.
pub fn convoy((first, second): (Look, Look)) -> Option<Convoy> {
    let handoffs = second.handoffs.checked_sub(first.handoffs)?;
    let interval_ns = second.at_ns.checked_sub(first.at_ns)?;
    let waiters = first.waiters.min(second.waiters);
    let is_constant =
        first.waiters.abs_diff(second.waiters) <= (first.waiters.max(second.waiters) / 4).max(1);
    (handoffs >= FEWEST_HANDOFFS && waiters >= FEWEST_WAITERS && is_constant && interval_ns > 0)
        .then_some(Convoy {
            handoffs,
            interval_ns,
            waiters,
        })
}

/// For each hold, whether it cannot be true: the lock was handed on between the looks while its supposed holder was
/// waiting for something else all the time. Such evidence would close circles that do not exist.
pub fn contradicted(facts: &Facts) -> Vec<bool> {
    let intervals: HashMap<LockRef, u64> = facts
        .locks
        .iter()
        // Locks with several holders are handed on while one of them keeps it.
        .filter(|lock| lock.kind == Kind::Mutex && moved(lock))
        .filter_map(|lock| {
            let (first, second) = lock.looks?;
            Some((lock.id, second.at_ns.saturating_sub(first.at_ns)))
        })
        .collect();
    if intervals.is_empty() {
        return vec![false; facts.holds.len()];
    }
    let waiting: HashMap<ThreadId, u64> = facts
        .waits
        .iter()
        .filter_map(|wait| Some((wait.thread, wait.since_ns?)))
        .collect();
    facts
        .holds
        .iter()
        .map(|hold| {
            matches!(
                (intervals.get(&hold.lock), waiting.get(&hold.thread)),
                (Some(interval), Some(age)) if age >= interval
            )
        })
        .collect()
}
