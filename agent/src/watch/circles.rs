//! Threads that wait for each other, by the owners that locks name.
//!
//! A circle is certain when each of its threads began its present wait before the owners were read, and is in that wait
//! still after they were: none of them can have let go of anything in between. That takes two looks at the waits, one before
//! and one after; a circle that has had only one is a suspicion, worth a look soon.

use std::collections::{HashMap, HashSet};

use super::table::{Place, Table, row::Row};
use crate::{
    explain::graph::{
        self, Facts,
        facts::{self, ThreadId},
    },
    model::{
        Holder,
        explanation::{Confidence, Deadlock, LockRef, Progress},
    },
};

/// Longest circle that is followed.
const MAX_LENGTH: usize = 256;

/// What a holder itself waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The word.
    pub place: Place,
    /// Since when, on the monotonic clock.
    pub since_ns: u64,
    /// For longer than that.
    pub at_least: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Certain ones.
    pub deadlocks: Vec<Deadlock>,
    /// There are others that may be.
    pub is_suspicious: bool,
}

/// One step: a thread waits for a lock that another one holds.
struct Step<'a> {
    tid: u32,
    waiting: Waiting,
    row: &'a Row,
    holder: &'a Holder,
}

/// Looks for circles among threads that hold something and wait, as seen at `at_ns`.
#[must_use]
pub fn find(table: &Table, waits: &HashMap<u32, Waiting>, at_ns: u64) -> Found {
    let mut found = Found::default();
    let mut done: HashSet<u32> = HashSet::new();
    let mut facts = Facts::default();
    let mut tids: Vec<u32> = waits.keys().copied().collect();
    tids.sort_unstable();
    for start in tids {
        let Some(circle) = circle(table, waits, start, &mut done) else {
            continue;
        };
        let since_ns = circle.iter().map(|step| step.waiting.since_ns).max();
        let from_ns = circle.iter().map(|step| step.row.held_ns.0).min();
        let read_ns = circle.iter().map(|step| step.row.held_ns.1).max();
        if since_ns < from_ns && read_ns.is_some_and(|read_ns| read_ns <= at_ns) {
            state(&circle, at_ns, &mut facts);
        } else {
            found.is_suspicious = true;
        }
    }
    if !facts.waits.is_empty() {
        found.deadlocks = graph::explain(&facts).deadlocks;
    }
    found
}

/// The circle that one comes to from `start`, unless it was found from another thread.
fn circle<'a>(
    table: &'a Table,
    waits: &HashMap<u32, Waiting>,
    start: u32,
    done: &mut HashSet<u32>,
) -> Option<Vec<Step<'a>>> {
    let mut path: Vec<Step<'_>> = Vec::new();
    let mut tid = start;
    while path.len() < MAX_LENGTH {
        if let Some(first) = path.iter().position(|step| step.tid == tid) {
            return Some(path.split_off(first));
        }
        if !done.insert(tid) {
            return None;
        }
        let waiting = *waits.get(&tid)?;
        let row = table.row_of(waiting.place)?;
        let holder = row.lock.holder.as_ref()?;
        let is_sure = holder.confidence == Confidence::Exact && !row.lock.abandoned;
        if !is_sure || !row.name.kind.is_lock() {
            return None;
        }
        path.push(Step {
            tid,
            waiting,
            row,
            holder,
        });
        tid = holder.tid;
    }
    None
}

/// The same as facts, for the sentence.
fn state(circle: &[Step<'_>], at_ns: u64, facts: &mut Facts) {
    let processes: HashMap<u32, u32> = circle
        .iter()
        .map(|step| (step.tid, step.row.name.process.pid))
        .collect();
    for step in circle {
        let lock = &step.row.lock;
        let pid = step.row.name.process.pid;
        let id = LockRef {
            pid,
            address: lock.address,
        };
        let age_ns = at_ns.saturating_sub(step.waiting.since_ns);
        let holder = ThreadId {
            pid: processes.get(&step.holder.tid).copied().unwrap_or(pid),
            tid: step.holder.tid,
        };
        facts.threads.push(facts::Thread {
            id: holder,
            comm: step.holder.comm.clone(),
            activity: facts::Activity::Blocked,
            text: String::new(),
            progress: Progress::Stuck,
        });
        facts.locks.push(facts::Lock {
            id,
            kind: lock.kind,
            name: lock
                .symbol
                .as_deref()
                .map_or_else(|| format!("{:#x}", lock.address), str::to_owned),
            site: lock.site.as_deref().map(str::to_owned),
            waiters: lock.waiters,
            oldest_wait_ns: lock.oldest_wait_ns(at_ns),
            oldest_is_at_least: lock.oldest_is_at_least,
            shared: None,
            far: false,
            abandoned: false,
            looks: None,
        });
        facts.waits.push(facts::Wait {
            thread: ThreadId { pid, tid: step.tid },
            lock: id,
            since_ns: Some(age_ns),
            at_least: step.waiting.at_least,
            site: lock.site.as_deref().map(str::to_owned),
            confidence: Confidence::Exact,
        });
        facts.holds.push(facts::Hold {
            lock: id,
            thread: holder,
            confidence: step.holder.confidence,
            known_by: step.holder.known_by.clone(),
            since_ns: step.holder.since_ns,
            at_least: step.holder.since_is_at_least,
            site: None,
            any: false,
        });
    }
}
