//! Who holds a lock that keeps no record of it, and since when. One file for each kind of evidence, best first:
//!
//! 1. [`owner`]: the lock's own word names its owner; [`reuse`] and [`died`] tell when that owner is dead
//! 2. [`handoff`]: the thread was seen to be given the lock and not to pass it on (recordings only); [`parker`]: the same
//!    where waiters sleep on words of their own
//! 3. [`waker`]: for what is signalled and not held, the thread that signalled last (recordings only)
//! 4. [`stack`]: a thread's stack shows that it is past the call that takes the lock
//!
//! [`since`] adds for how long at least, [`looks`] whether the lock is handed round. Who is found by 2 to 4 is never a
//! waiter of the same lock, nor an idle worker; where several are as likely, nobody is named.

pub mod died;
pub mod handoff;
pub mod history;
pub mod looks;
pub mod owner;
pub mod parker;
pub mod parts;
pub mod reuse;
pub mod since;
pub mod stack;
pub mod waker;

use std::collections::{HashMap, HashSet};

use holdup_abi::census::Task;

use self::{history::History, parts::Parts};
use super::{lock::Assembled, snapshot::Seen};
use crate::{
    ingest::decode,
    model::{
        self, Holder, Kind,
        explanation::{Confidence, LockRef},
    },
    symbol::Symbols,
};

/// What is known beyond the locks themselves.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of references for one call"
)]
pub struct Around<'a> {
    /// Threads of the watched processes, after the waiters were listed.
    pub seen: &'a [Seen],
    /// Threads at a later moment: what has run in between is not where it was.
    pub again: &'a mut dyn FnMut() -> Vec<Task>,
    /// What was recorded; `None` in a snapshot.
    pub history: Option<&'a History>,
    /// Unwinds; `None` when stacks are not wanted.
    pub symbols: Option<&'a mut Symbols>,
    /// Now on the monotonic clock, in nanoseconds.
    pub now_ns: u64,
}

/// A lock whose holder is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The lock.
    pub lock: &'a model::Lock,
    /// Its words and waiters.
    pub parts: &'a Parts,
    /// All that are assembled.
    pub assembled: &'a Assembled,
}

impl Question<'_> {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> LockRef {
        LockRef {
            pid: self.lock.pid,
            address: self.lock.address,
        }
    }

    /// Whether a thread waits for this lock, as a reader or as a writer.
    #[must_use]
    pub fn is_waiter(&self, tid: u32) -> bool {
        let wait = self.assembled.threads.get(&tid);
        wait.is_some_and(|wait| wait.pid == self.lock.pid && wait.address == self.lock.address)
    }

    /// What a thread waits for, if it is a futex.
    #[must_use]
    pub fn waits_for(&self, tid: u32) -> Option<Kind> {
        self.assembled.threads.get(&tid).map(|wait| wait.kind)
    }
}

/// A holder that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Thread id.
    pub tid: u32,
    /// How well it is known.
    pub confidence: Confidence,
    /// The evidence in words.
    pub known_by: String,
    /// For how long, in nanoseconds.
    pub since_ns: Option<u64>,
}

/// Names the holders of locks that have none yet, and adds to the others what can be told.
pub fn find(assembled: &mut Assembled, around: &mut Around<'_>) {
    let tasks: HashMap<u32, &Seen> = around
        .seen
        .iter()
        .map(|seen| (seen.task.tid, seen))
        .collect();
    let mut locks = std::mem::take(&mut assembled.locks);
    let mut unknown = Vec::new();
    let mut abandoned = HashSet::new();
    for (index, lock) in locks.iter_mut().enumerate() {
        let name = LockRef {
            pid: lock.pid,
            address: lock.address,
        };
        let Some(parts) = assembled.parts.get(&(name, lock.kind)) else {
            continue;
        };
        if lock.waiters == 0 {
            continue;
        }
        if let Some(holder) = &mut lock.holder {
            if reuse::has_owner(lock.kind) && reuse::is_younger(holder, parts) {
                reuse::mark(holder);
                // The other one's process is not where its owner was.
                holder.pid = holder.pid.filter(|&pid| pid == lock.pid);
                abandoned.insert(name);
            } else if let Some(history) = around.history
                && handoff::always_wakes(lock.kind, lock.runtime.as_deref())
            {
                handoff::date(holder, parts, history, around.now_ns);
            }
            continue;
        }
        if died::is_left(lock) {
            abandoned.insert(name);
            continue;
        }
        let question = Question {
            lock,
            parts,
            assembled,
        };
        let found = around.history.and_then(|history| {
            parker::holder(&question, history, &tasks, around.now_ns)
                .or_else(|| handoff::holder(&question, history, &tasks, around.now_ns))
                .or_else(|| waker::signaller(&question, history, &tasks))
        });
        match found {
            Some(found) => lock.holder = Some(holder(found, lock.pid, &tasks)),
            // Who has a lock that processes share may be in one that was not looked at.
            None if assembled.places.contains_key(&name) => {}
            None => unknown.push(index),
        }
    }
    assembled.abandoned.extend(abandoned);
    for (index, found) in stack::holders(&locks, &unknown, assembled, around) {
        if let Some(lock) = locks.get_mut(index) {
            lock.holder = Some(holder(found, lock.pid, &tasks));
        }
    }
    for lock in locks.iter_mut().filter(|lock| lock.waiters > 0) {
        if let Some(holder) = &mut lock.holder {
            since::add(holder, lock.kind, &tasks, around.now_ns);
        }
    }
    assembled.locks = locks;
}

/// Threads by id.
pub type Tasks<'a> = HashMap<u32, &'a Seen>;

/// The thread of this process with this id, if it lives.
#[must_use]
pub fn live<'a>(tasks: &Tasks<'a>, pid: u32, tid: u32) -> Option<&'a Seen> {
    /// `EXIT_DEAD`, `EXIT_ZOMBIE`, `TASK_DEAD`.
    const DEAD: u32 = 0x10 | 0x20 | 0x80;
    let seen = tasks.get(&tid)?;
    (seen.task.tgid == pid && seen.task.state & DEAD == 0).then_some(seen)
}

fn holder(found: Found, pid: u32, tasks: &Tasks<'_>) -> Holder {
    let task = live(tasks, pid, found.tid);
    Holder {
        pid: Some(pid),
        tid: found.tid,
        goid: None,
        comm: task.map_or_else(String::new, |seen| decode::comm(&seen.task.comm)),
        known_by: found.known_by,
        confidence: found.confidence,
        since_ns: found.since_ns,
        since_is_at_least: false,
    }
}

#[cfg(test)]
mod tests;
