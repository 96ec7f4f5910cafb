//! Following holders to the root: what do those do who hold what others wait for?

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::lock::Assembled;
use crate::{
    explain::{
        doing::{self, Activity, Doing, Object, Relation},
        graph::{
            self, Explained, Facts,
            facts::{self, Block, Hold, Id, ThreadId},
        },
        net::Address,
    },
    model::{
        self,
        explanation::{Confidence, LinkKind, LockRef, Progress},
    },
};

/// Holders that are looked at: those of the locks with most waiters.
const MAX_HOLDERS: usize = 256;
/// Time between the two looks: what did not move in it is called stuck.
const BETWEEN: Duration = Duration::from_millis(50);
/// Time for each look; what is not looked at by then is left out. Some milliseconds are usual: this is for machines on
/// which we hardly get a CPU, for a root that is not found is an answer missed.
const LOOK: Duration = Duration::from_secs(1);

/// Explains every lock that somebody waits for, and ranks the roots.
#[must_use]
pub fn explain(assembled: &mut Assembled) -> Explained {
    let doings = look_at(&holders(&assembled.locks));
    // One step further: what the first thread of each process at the other end does stands for the process.
    let ends: BTreeSet<(u32, u32)> = doings
        .iter()
        .flat_map(Doing::leads)
        .map(|lead| (lead.peer.pid, lead.peer.pid))
        .take(MAX_HOLDERS)
        .collect();
    let ends = look_at(&ends);
    let explained = graph::explain(&facts(assembled, &doings, &ends));
    for lock in assembled.locks.iter_mut().filter(|lock| lock.waiters > 0) {
        // Not taken out: the readers and the writers of one lock have a row each.
        lock.explanation = explained.locks.get(&name_of(lock)).cloned();
    }
    explained
}

const fn name_of(lock: &model::Lock) -> LockRef {
    LockRef {
        pid: lock.pid,
        address: lock.address,
    }
}

/// Holders of the locks that most threads wait for.
fn holders(locks: &[model::Lock]) -> BTreeSet<(u32, u32)> {
    let mut held: Vec<(&model::Lock, u32)> = locks
        .iter()
        .filter(|lock| lock.waiters > 0)
        .filter_map(|lock| Some((lock, lock.holder.as_ref()?.tid)))
        .collect();
    held.sort_by_key(|(lock, _)| std::cmp::Reverse(lock.waiters));
    held.truncate(MAX_HOLDERS);
    held.iter().map(|(lock, tid)| (lock.pid, *tid)).collect()
}

/// Two looks at each thread, nobody stopped.
fn look_at(threads: &BTreeSet<(u32, u32)>) -> Vec<Doing> {
    if threads.is_empty() {
        return Vec::new();
    }
    let threads: Vec<(u32, u32)> = threads.iter().copied().collect();
    let first = doing::observe(&threads, Instant::now() + LOOK);
    std::thread::sleep(BETWEEN);
    let second = doing::observe(&threads, Instant::now() + LOOK);
    first
        .iter()
        .zip(&second)
        .map(|(first, second)| doing::conclude(first, second))
        .collect()
}

fn facts(assembled: &Assembled, doings: &[Doing], ends: &[Doing]) -> Facts {
    let mut facts = Facts {
        processes: ends.iter().map(process_fact).collect(),
        ..Default::default()
    };
    let sites: HashMap<LockRef, Option<String>> = assembled
        .locks
        .iter()
        .map(|lock| (name_of(lock), lock.site.clone()))
        .collect();
    for lock in assembled.locks.iter().filter(|lock| lock.waiters > 0) {
        facts.locks.push(lock_fact(lock));
        if let Some(holder) = &lock.holder {
            facts.holds.push(Hold {
                lock: name_of(lock),
                thread: ThreadId {
                    pid: lock.pid,
                    tid: holder.tid,
                },
                // Owner words are written by the lock itself.
                confidence: Confidence::Exact,
                known_by: holder.known_by.clone(),
                since_ns: None,
                at_least: false,
                site: None,
                any: false,
            });
        }
    }
    // A thread that ran between the looks waits for something else by now, perhaps for what it was seen to hold.
    for (&tid, wait) in assembled.threads.iter().filter(|(_, wait)| wait.steady) {
        let lock = LockRef {
            pid: wait.pid,
            address: wait.address,
        };
        facts.waits.push(facts::Wait {
            thread: ThreadId { pid: wait.pid, tid },
            lock,
            since_ns: wait.age_ns,
            at_least: wait.at_least,
            site: sites.get(&lock).cloned().flatten(),
            confidence: Confidence::Exact,
        });
    }
    for doing in doings {
        let waits = assembled.threads.contains_key(&doing.tid);
        let now_in_futex = doing.call.as_ref().is_some_and(|call| call.futex.is_some());
        if now_in_futex && !waits {
            facts.threads.push(moved_on(doing));
            continue;
        }
        facts.threads.push(thread_fact(doing));
        // What a thread that waits for a lock sleeps in is that lock.
        if !waits {
            blocks(doing, &mut facts);
        }
    }
    facts
}

fn lock_fact(lock: &model::Lock) -> facts::Lock {
    facts::Lock {
        id: name_of(lock),
        kind: lock.kind,
        name: lock
            .symbol
            .clone()
            .unwrap_or_else(|| format!("{:#x}", lock.address)),
        site: lock.site.clone(),
        waiters: lock.waiters,
        oldest_wait_ns: lock.oldest_wait_ns,
        oldest_is_at_least: lock.oldest_is_at_least,
        shared: None,
        abandoned: false,
        looks: None,
    }
}

fn thread_fact(doing: &Doing) -> facts::Thread {
    facts::Thread {
        id: ThreadId {
            pid: doing.pid,
            tid: doing.tid,
        },
        comm: doing.comm.clone(),
        activity: activity(doing),
        text: doing.text.clone(),
        progress: progress(doing),
    }
}

/// A holder that waited for nothing when the locks were looked at, and now waits for a lock: things move.
fn moved_on(doing: &Doing) -> facts::Thread {
    facts::Thread {
        activity: facts::Activity::Runs,
        text: "has gone on since".into(),
        progress: Progress::Progressing,
        ..thread_fact(doing)
    }
}

fn process_fact(doing: &Doing) -> facts::Process {
    facts::Process {
        pid: doing.pid,
        comm: doing.comm.clone(),
        activity: activity(doing),
        text: doing.text.clone(),
        progress: progress(doing),
    }
}

const fn activity(doing: &Doing) -> facts::Activity {
    match &doing.activity {
        Activity::Running { .. } | Activity::Runnable => facts::Activity::Runs,
        Activity::Starved { .. } => facts::Activity::Starved,
        Activity::Sleeping | Activity::Faulting { .. } | Activity::Uninterruptible { .. } => {
            facts::Activity::Blocked
        }
        Activity::Stopped | Activity::Traced { .. } | Activity::Frozen => facts::Activity::Stopped,
        Activity::Zombie | Activity::Dead | Activity::Reused => facts::Activity::Dead,
        Activity::Unknown => facts::Activity::Unknown,
    }
}

const fn progress(doing: &Doing) -> Progress {
    match doing.progress {
        doing::Progress::Progressing => Progress::Progressing,
        doing::Progress::Stuck => Progress::Stuck,
        doing::Progress::Unknown => Progress::Unknown,
    }
}

/// Leads on to the processes at the other ends, and to what lies outside this machine.
fn blocks(doing: &Doing, facts: &mut Facts) {
    let from = Id::Thread(ThreadId {
        pid: doing.pid,
        tid: doing.tid,
    });
    let several = doing.endpoints.len() > 1;
    for lead in doing.leads() {
        let (kind, words) = match lead.relation {
            Relation::OtherEnd => (LinkKind::PeerOf, ""),
            Relation::Server => (LinkKind::PeerOf, "which is served by"),
            Relation::LockHolder => (LinkKind::ProducedBy, "whose file lock is held by"),
            Relation::Child => (LinkKind::ProducedBy, "whose child is"),
            Relation::Awaited => (LinkKind::ProducedBy, "which waits for the end of"),
            Relation::Tracer => (LinkKind::ProducedBy, "whose tracer is"),
        };
        facts.blocks.push(Block {
            from: from.clone(),
            to: Id::Process(lead.peer.pid),
            kind,
            // Seen in the tables of the kernel, but that the process will answer is a guess.
            confidence: Confidence::Observed,
            text: words.to_owned(),
            since_ns: None,
            site: None,
            any: several,
        });
    }
    // Who was not looked for is not known to be elsewhere.
    let endpoints = doing.endpoints.iter().filter(|_| !doing.is_partial);
    for endpoint in endpoints {
        if let Some(name) = outside(endpoint) {
            facts.blocks.push(Block {
                from: from.clone(),
                to: Id::Endpoint(name),
                kind: LinkKind::BlockedIn,
                confidence: Confidence::Exact,
                text: String::new(),
                since_ns: None,
                site: None,
                any: several,
            });
        }
    }
}

/// What to call the other end of a connection that no process here has; `None` when it is no such connection.
fn outside(endpoint: &doing::Endpoint) -> Option<String> {
    let Object::Socket {
        socket: Some(socket),
        peers,
        ..
    } = &endpoint.object
    else {
        return None;
    };
    let peer @ Address::Inet(_) = socket.peer.as_ref()? else {
        return None;
    };
    peers
        .is_empty()
        .then(|| format!("{} to {peer}", socket.protocol))
}
