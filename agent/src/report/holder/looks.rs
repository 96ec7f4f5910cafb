//! Two looks at each lock: whether it is handed on, and whether the queue stays as it is.

use std::collections::{HashMap, HashSet};

use holdup_abi::{census::Task, lock::LockKey};

use super::{
    history::History,
    parts::{Parts, Row},
};
use crate::{
    explain::graph::facts::Look,
    ingest::clock::monotonic_ns,
    model::Kind,
    report::{
        lock::Assembled,
        snapshot::{self, Seen},
        waiter,
    },
};

/// Two looks at each row, the earlier one first.
pub type Looks = HashMap<Row, (Look, Look)>;

/// Whether what is waited for is signalled, and held by nobody.
#[must_use]
pub const fn is_signalled(kind: Kind) -> bool {
    matches!(kind, Kind::Condvar | Kind::Semaphore)
}

/// Whether a lock of this kind can be handed round. The waiters of a semaphore may be workers that get things to do.
const fn can_be_handed_round(kind: Kind) -> bool {
    matches!(kind, Kind::Mutex | Kind::RwlockRead | Kind::RwlockWrite)
}

/// Rows that looks are worth for.
pub fn rows(assembled: &Assembled) -> impl Iterator<Item = (&Row, &Parts)> {
    assembled
        .parts
        .iter()
        .filter(|((_, kind), parts)| can_be_handed_round(*kind) && !parts.waiters.is_empty())
}

/// From what was recorded at two moments.
#[must_use]
pub fn recorded(assembled: &Assembled, first: &History, second: &History) -> Looks {
    let look = |parts: &Parts, history: &History| {
        let words = || parts.words.iter().filter_map(|key| history.words.get(key));
        Look {
            at_ns: history.at_ns,
            handoffs: words().map(|trace| trace.handoffs).sum(),
            waiters: words().map(|trace| trace.waiters).sum(),
        }
    };
    rows(assembled)
        .map(|(row, parts)| (*row, (look(parts, first), look(parts, second))))
        .collect()
}

/// From the threads at two moments: a waiter that has run was given the lock, or found it taken by another one.
#[must_use]
pub fn of_threads(assembled: &Assembled, first_ns: u64, first: &[Seen], second: &[Task]) -> Looks {
    let at_ns = monotonic_ns();
    let steady = snapshot::steady(first, second);
    let timed: HashSet<u32> = first
        .iter()
        .filter(|seen| is_timed(&seen.task))
        .map(|seen| seen.task.tid)
        .collect();
    let mut now: HashMap<LockKey, u64> = HashMap::new();
    for task in second {
        if let Some((address, ..)) = waiter::futex_wait(task) {
            let key = LockKey {
                address,
                tgid: task.tgid,
                generation: task.generation,
            };
            *now.entry(key).or_default() += 1;
        }
    }
    let looks = |parts: &Parts| {
        let moved = parts
            .waiters
            .iter()
            .filter(|waiter| !steady.contains(&waiter.tid) && !timed.contains(&waiter.tid));
        let before = Look {
            at_ns: first_ns,
            handoffs: 0,
            waiters: parts.waiters.len() as u64,
        };
        let after = Look {
            at_ns,
            handoffs: moved.count() as u64,
            waiters: parts.words.iter().filter_map(|key| now.get(key)).sum(),
        };
        (before, after)
    };
    rows(assembled)
        .map(|(row, parts)| (*row, looks(parts)))
        .collect()
}

/// Whether a thread may have woken because its time was up.
fn is_timed(task: &Task) -> bool {
    let [_, _, _, timeout, ..] = task.args;
    task.syscall == libc::SYS_futex && timeout != 0
}
