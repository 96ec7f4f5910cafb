//! What a lock's row in the report was made from, kept for those who look for its holder.

use std::{collections::HashMap, rc::Rc};

use holdup_abi::lock::LockKey;

use crate::{
    model::{Kind, explanation::LockRef},
    report::{lock::Groups, stacks::RawStack},
    symbol::Space,
};

/// Names a row: the readers and the writers of one lock have one each.
pub type Row = (LockRef, Kind);

/// Words and waiters of one row.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Address space.
    pub space: Space,
    /// Futex words.
    pub words: Vec<LockKey>,
    /// Threads that wait on them.
    pub waiters: Vec<Sleeper>,
}

/// A waiter.
#[derive(Clone, Debug)]
pub struct Sleeper {
    /// Thread id.
    pub tid: u32,
    /// Monotonic time since which it has waited at least; `None` when not known.
    pub since_ns: Option<u64>,
    /// Its stack; empty when it was not unwound.
    pub stack: RawStack,
}

/// Parts of all rows that somebody waits in, and of reader-writer locks, whose two rows speak for each other.
#[must_use]
pub(in crate::report) fn of(groups: &Groups) -> HashMap<Row, Parts> {
    let mut all = HashMap::new();
    for (&(pid, generation, address, kind), group) in groups {
        let waiters = group.iter().flat_map(|judged| &judged.word.waiters);
        let waiters: Vec<Sleeper> = waiters
            .map(|waiter| Sleeper {
                tid: waiter.tid,
                since_ns: waiter.since_ns,
                stack: Rc::clone(&waiter.stack),
            })
            .collect();
        let is_rwlock = matches!(kind, Kind::RwlockRead | Kind::RwlockWrite);
        let row = (LockRef { pid, address }, kind);
        // An earlier program of the process has no waiters any more.
        if !waiters.is_empty() || (is_rwlock && !all.contains_key(&row)) {
            let parts = Parts {
                space: Space { pid, generation },
                words: group.iter().map(|judged| judged.word.key).collect(),
                waiters,
            };
            all.insert(row, parts);
        }
    }
    all
}

/// Rows of one lock.
pub fn siblings(all: &HashMap<Row, Parts>, lock: LockRef) -> impl Iterator<Item = &Parts> {
    KINDS
        .into_iter()
        .filter_map(move |kind| all.get(&(lock, kind)))
}

const KINDS: [Kind; 11] = [
    Kind::Mutex,
    Kind::RwlockRead,
    Kind::RwlockWrite,
    Kind::Semaphore,
    Kind::Condvar,
    Kind::Once,
    Kind::Barrier,
    Kind::Join,
    Kind::Idle,
    Kind::Runtime,
    Kind::Unknown,
];
