//! What a document says about causes, looked up by lock.

use std::collections::HashMap;

use crate::model::{
    Lock,
    explanation::{Deadlock, Explanation, LockRef, RootBlocker},
};

/// Explanations of a document.
#[derive(Clone, Debug, Default)]
pub struct Causes<'a> {
    /// By lock.
    pub locks: HashMap<LockRef, &'a Explanation>,
    /// The roots, the one with most behind it first.
    pub root_blockers: &'a [RootBlocker],
    /// Threads that wait for each other.
    pub deadlocks: &'a [Deadlock],
}

impl<'a> Causes<'a> {
    /// The explanation of a lock.
    #[must_use]
    pub fn of(&self, lock: &Lock) -> Option<&'a Explanation> {
        self.locks
            .get(&LockRef {
                pid: lock.pid,
                address: lock.address,
            })
            .copied()
    }
}
