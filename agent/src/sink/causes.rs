//! What a document says about causes, looked up by lock.

use std::collections::HashMap;

use super::Report;
use crate::model::{
    Kind, Lock,
    explanation::{Deadlock, Explanation, LockRef, RootBlocker},
};

/// Explanations of a document.
#[derive(Clone, Debug, Default)]
pub struct Causes<'a> {
    /// By lock.
    pub locks: HashMap<(LockRef, Kind), &'a Explanation>,
    /// The roots, the one with most behind it first.
    pub root_blockers: &'a [RootBlocker],
    /// Threads that wait for each other.
    pub deadlocks: &'a [Deadlock],
}

impl<'a> Causes<'a> {
    /// What a document says.
    #[must_use]
    pub fn of_report(report: &'a Report) -> Self {
        let (locks, root_blockers, deadlocks) = match report {
            Report::Capture(it) => (&it.locks, &it.root_blockers, &it.deadlocks),
            Report::Snapshot(it) => (&it.locks, &it.root_blockers, &it.deadlocks),
        };
        let locks = locks
            .iter()
            .filter_map(|lock| Some((row(lock), lock.explanation.as_ref()?)));
        Self {
            locks: locks.collect(),
            root_blockers,
            deadlocks,
        }
    }

    /// The explanation of a lock.
    #[must_use]
    pub fn of(&self, lock: &Lock) -> Option<&'a Explanation> {
        self.locks.get(&row(lock)).copied()
    }
}

/// The readers and the writers of one lock have an explanation each.
const fn row(lock: &Lock) -> (LockRef, Kind) {
    let name = LockRef {
        pid: lock.pid,
        address: lock.address,
    };
    (name, lock.kind)
}
