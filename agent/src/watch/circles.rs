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
            goid: None,
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
            goroutines: false,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdup_abi::lock::LockKey;

    use super::*;
    use crate::{
        model::Kind,
        watch::table::{Answer, Held, Identity, NotCounted, Parked},
    };

    const PID: u32 = 1;

    const fn key(address: u64) -> LockKey {
        LockKey {
            address,
            tgid: PID,
            generation: 1,
        }
    }

    /// `tid` waits for the lock at `address` since 100, which `holder` has, read from 200 to 300.
    struct Scene {
        table: Table,
        waits: HashMap<u32, Waiting>,
    }

    impl Scene {
        fn new(
            waits: &[(u32, u64, u32)],
            kind: Kind,
            since_ns: u64,
            confidence: Confidence,
        ) -> Self {
            let mut scene = Self {
                table: Table::default(),
                waits: HashMap::new(),
            };
            scene.table.begin(1);
            for (place, &(tid, address, holder)) in (0..).zip(waits) {
                let key = key(address);
                scene.table.word(place, key, 0);
                let thread = Parked {
                    tid,
                    since_ns: Some(since_ns),
                    at_least: false,
                    op: 128,
                    value: 2,
                };
                scene.table.parked(place, &key, &thread);
                scene
                    .table
                    .told(answer(place, key, kind, holder, confidence), &NotCounted);
                let waiting = Waiting {
                    place,
                    since_ns,
                    at_least: false,
                };
                scene.waits.insert(tid, waiting);
            }
            scene
        }

        fn found(&self, at_ns: u64) -> (usize, bool) {
            let found = find(&self.table, &self.waits, at_ns);
            (found.deadlocks.len(), found.is_suspicious)
        }
    }

    fn answer(
        place: Place,
        key: LockKey,
        kind: Kind,
        holder: u32,
        confidence: Confidence,
    ) -> Answer {
        Answer {
            place,
            key,
            identity: Some(Identity {
                address: key.address,
                kind,
                id: Arc::from("id"),
                runtime: None,
                symbol: None,
                site: None,
            }),
            had_stack: true,
            held: Some(Held {
                holder: Some(Holder {
                    pid: Some(PID),
                    tid: holder,
                    goid: None,
                    comm: String::new(),
                    known_by: String::new(),
                    confidence,
                    since_ns: None,
                    since_is_at_least: false,
                }),
                abandoned: false,
                from_ns: 200,
                at_ns: 300,
            }),
        }
    }

    const TWO: [(u32, u64, u32); 2] = [(10, 0x1, 11), (11, 0x2, 10)];

    #[test]
    fn certain_only_after_a_look_on_either_side() {
        let scene = Scene::new(&TWO, Kind::Mutex, 100, Confidence::Exact);
        assert_eq!(scene.found(400), (1, false));
        assert_eq!(scene.found(250), (0, true), "read after the look");
        let later = Scene::new(&TWO, Kind::Mutex, 200, Confidence::Exact);
        assert_eq!(
            later.found(400),
            (0, true),
            "began to wait while it was read"
        );
        let alone = [(10, 0x1, 10)];
        let alone = Scene::new(&alone, Kind::Mutex, 100, Confidence::Exact);
        assert_eq!(alone.found(400), (1, false));
    }

    #[test]
    fn a_chain_is_no_circle_and_a_guess_no_owner() {
        let chain = [(10, 0x1, 11), (11, 0x2, 12)];
        let chain = Scene::new(&chain, Kind::Mutex, 100, Confidence::Exact);
        assert_eq!(chain.found(400), (0, false));
        let guess = Scene::new(&TWO, Kind::Mutex, 100, Confidence::Observed);
        assert_eq!(guess.found(400), (0, false));
        let news = Scene::new(&TWO, Kind::Condvar, 100, Confidence::Exact);
        assert_eq!(
            news.found(400),
            (0, false),
            "who waits for news waits for nobody"
        );
    }

    #[test]
    fn each_circle_once_whoever_waits_behind_it() {
        let waits = [
            (10, 0x1, 11),
            (11, 0x2, 12),
            (12, 0x3, 10),
            (9, 0x4, 10),
            (20, 0x5, 21),
            (21, 0x6, 20),
        ];
        let scene = Scene::new(&waits, Kind::RwlockWrite, 100, Confidence::Exact);
        let found = find(&scene.table, &scene.waits, 400);
        let threads: Vec<u64> = found
            .deadlocks
            .iter()
            .map(|circle| circle.threads)
            .collect();
        assert_eq!(threads, [3, 2]);
    }
}
