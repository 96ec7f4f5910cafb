//! Keeps of what lies beyond the watched processes only that which a watched lock's chain can lead to: what else goes on
//! there is nobody's question.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::explain::graph::facts::{Facts, Id, Lock};
use crate::model::explanation::{LockRef, RootBlocker};

/// Leaves out far facts that no watched lock leads to.
pub fn prune(facts: &mut Facts) {
    let names = names(&facts.locks);
    let name = |lock: LockRef| Id::Lock(names.get(&lock).copied().unwrap_or(lock));
    let same = |id: &Id| match id {
        Id::Lock(lock) => name(*lock),
        other => other.clone(),
    };
    let mut edges: HashMap<Id, Vec<Id>> = HashMap::new();
    let waits = facts
        .waits
        .iter()
        .map(|wait| (Id::Thread(wait.thread), name(wait.lock)));
    let holds = facts
        .holds
        .iter()
        .map(|hold| (name(hold.lock), Id::Thread(hold.thread)));
    let blocks = facts
        .blocks
        .iter()
        .map(|block| (same(&block.from), same(&block.to)));
    for (from, to) in waits.chain(holds).chain(blocks) {
        edges.entry(from).or_default().push(to);
    }
    let near = facts.locks.iter().filter(|lock| !lock.far);
    let mut left: Vec<Id> = near.map(|lock| name(lock.id)).collect();
    // Those that wait for no lock: only goroutines of watched processes are among the facts.
    let goroutines = facts.threads.iter().filter(|thread| thread.goid.is_some());
    left.extend(goroutines.map(|thread| Id::Thread(thread.id)));
    let mut seen: HashSet<Id> = HashSet::new();
    while let Some(id) = left.pop() {
        if seen.contains(&id) {
            continue;
        }
        left.extend(edges.get(&id).into_iter().flatten().cloned());
        seen.insert(id);
    }
    facts.locks.retain(|lock| seen.contains(&name(lock.id)));
    facts.waits.retain(|wait| seen.contains(&name(wait.lock)));
    facts.holds.retain(|hold| seen.contains(&name(hold.lock)));
    facts
        .blocks
        .retain(|block| seen.contains(&same(&block.from)));
}

/// One name for all addresses of a shared lock.
fn names(locks: &[Lock]) -> HashMap<LockRef, LockRef> {
    let mut first: HashMap<[u64; 3], LockRef> = HashMap::new();
    let shared = locks
        .iter()
        .filter_map(|lock| Some((lock.id, lock.shared?)));
    shared
        .map(|(id, shared)| (id, *first.entry(shared).or_insert(id)))
        .collect()
}

/// Leaves locks out of the roots' lists that the document does not have.
pub fn unlist(roots: &mut [RootBlocker], listed: &BTreeSet<LockRef>) {
    for root in roots {
        let before = root.locks.len();
        root.locks.retain(|lock| listed.contains(lock));
        root.locks_left_out += (before - root.locks.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        explain::graph::facts::{Hold, ThreadId, Wait},
        model::{Kind, explanation::Confidence},
    };

    fn at(pid: u32, address: u64) -> LockRef {
        LockRef { pid, address }
    }

    fn lock(id: LockRef, far: bool, shared: Option<[u64; 3]>) -> Lock {
        Lock {
            id,
            kind: Kind::Mutex,
            name: String::new(),
            site: None,
            waiters: 1,
            oldest_wait_ns: None,
            oldest_is_at_least: false,
            shared,
            far,
            abandoned: false,
            looks: None,
            goroutines: false,
        }
    }

    const fn thread(pid: u32) -> ThreadId {
        ThreadId { pid, tid: pid }
    }

    fn wait(pid: u32, lock: LockRef) -> Wait {
        Wait {
            thread: thread(pid),
            lock,
            since_ns: None,
            at_least: false,
            site: None,
            confidence: Confidence::Exact,
        }
    }

    fn hold(lock: LockRef, pid: u32) -> Hold {
        Hold {
            lock,
            thread: thread(pid),
            confidence: Confidence::Exact,
            known_by: String::new(),
            since_ns: None,
            at_least: false,
            site: None,
            any: false,
        }
    }

    #[test]
    fn far_locks_stay_where_a_watched_one_leads() {
        let shared = Some([1, 2, 3]);
        let mut facts = Facts {
            locks: vec![
                lock(at(1, 10), false, shared),
                // The same one, as another process has it; its holder waits for a third one.
                lock(at(2, 20), true, shared),
                lock(at(2, 21), true, None),
                // Nobody's question.
                lock(at(2, 22), true, None),
            ],
            waits: vec![
                wait(1, at(1, 10)),
                wait(9, at(2, 20)),
                wait(2, at(2, 21)),
                wait(8, at(2, 22)),
            ],
            holds: vec![hold(at(2, 20), 2), hold(at(2, 21), 3), hold(at(2, 22), 3)],
            ..Facts::default()
        };
        prune(&mut facts);
        let left: Vec<LockRef> = facts.locks.iter().map(|lock| lock.id).collect();
        assert_eq!(left, [at(1, 10), at(2, 20), at(2, 21)]);
        assert_eq!(facts.waits.len(), 3);
        assert_eq!(facts.holds.len(), 2);
        let before = facts.locks.len();
        prune(&mut facts);
        assert_eq!(facts.locks.len(), before);
    }
}
