//! What the kernel side has on record of some words, and of the threads that it last saw there.

use std::collections::{BTreeMap, HashMap, HashSet};

use holdup_abi::{
    lock::{Lock, LockKey},
    thread::Thread,
};

use super::parts::{Parts, Row};
use crate::ingest::{clock::monotonic_ns, plane::Plane};

/// One word at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Waits that ended by a wake.
    pub handoffs: u64,
    /// Threads waiting.
    pub waiters: u64,
    /// Monotonic time at which a waiter was last released by a wake; 0 = never.
    pub last_handoff_ns: u64,
    /// Thread that was last released so and has not woken the word since; 0 = none.
    pub last_woken_tid: u32,
    /// Thread that last woke the word while somebody waited; 0 = none.
    pub last_waker_tid: u32,
}

impl From<&Lock> for Trace {
    fn from(lock: &Lock) -> Self {
        Self {
            handoffs: lock.woken,
            waiters: lock.waiters,
            last_handoff_ns: lock.last_handoff_ns,
            last_woken_tid: lock.last_woken_tid,
            last_waker_tid: lock.last_waker_tid,
        }
    }
}

/// Words and threads at one moment.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// When, on the monotonic clock.
    pub at_ns: u64,
    /// By word.
    pub words: HashMap<LockKey, Trace>,
    /// Words of the same processes that were ever handed on, listed or not.
    pub handed: HashMap<LockKey, Trace>,
    /// Threads that are named in `words` or `handed`: what each last waited for and woke.
    pub threads: BTreeMap<u32, Thread>,
}

impl History {
    /// Reads the words of these locks. Words are read before threads: who has waited anew since is found out.
    #[must_use]
    pub fn read(plane: &Plane, parts: &HashMap<Row, Parts>) -> Self {
        let wanted: HashSet<&LockKey> = parts.values().flat_map(|parts| &parts.words).collect();
        let at_ns = monotonic_ns();
        if wanted.is_empty() {
            return Self {
                at_ns,
                ..Self::default()
            };
        }
        let processes: HashSet<(u32, u32)> = wanted
            .iter()
            .map(|key| (key.tgid, key.generation))
            .collect();
        let mut words = HashMap::new();
        let mut handed = HashMap::new();
        for (_, lock) in plane.locks.iter() {
            let trace = Trace::from(&lock);
            if wanted.contains(&lock.key) {
                words.insert(lock.key, trace);
            }
            if trace.last_handoff_ns != 0
                && processes.contains(&(lock.key.tgid, lock.key.generation))
            {
                handed.insert(lock.key, trace);
            }
        }
        let named = words
            .values()
            .chain(handed.values())
            .flat_map(|word| [word.last_woken_tid, word.last_waker_tid])
            .filter(|&tid| tid != 0)
            .collect();
        let threads = plane.threads(&named).unwrap_or_default();
        Self {
            at_ns,
            words,
            handed,
            threads,
        }
    }

    /// Of these words, the one that was handed on last.
    #[must_use]
    pub fn latest<'k>(
        &self,
        words: impl Iterator<Item = &'k LockKey>,
    ) -> Option<(&'k LockKey, Trace)> {
        words
            .filter_map(|key| Some((key, *self.words.get(key)?)))
            .max_by_key(|(_, trace)| trace.last_handoff_ns)
    }
}
