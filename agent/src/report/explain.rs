//! Following holders to the root: what do those do who hold what others wait for?

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Instant,
};

use super::{
    engine::Engine,
    goroutines,
    holder::{
        looks::{self, Looks},
        parts::Row,
        stack::taken,
        waker,
    },
    lock::Assembled,
    reach::{self, BETWEEN, Reached, place::Place, prune},
};
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
        self, Kind,
        explanation::{Confidence, LinkKind, LockRef, Progress},
    },
};

/// Holders that are looked at: those of the locks with most waiters.
const MAX_HOLDERS: usize = 256;
/// Explains every lock that somebody waits for, those of goroutines among them, and ranks the roots. `asleep` tells ages of waits in processes that are not
/// watched; `look` looks at the locks for the second time, and
/// tells what has changed since the first.
#[must_use]
pub fn explain(
    assembled: &mut Assembled,
    goroutines: &mut goroutines::Found,
    engine: &mut Engine,
    asleep: &mut reach::Asleep<'_>,
    look: impl FnOnce(&Assembled) -> Looks,
) -> Explained {
    let began = Instant::now();
    let mut threads = holders(assembled);
    threads.extend(&goroutines.threads);
    let reached = reach::reach(assembled, threads, asleep, engine);
    let looks = match looks::rows(assembled).next() {
        Some(_) => {
            std::thread::sleep(BETWEEN.saturating_sub(began.elapsed()));
            look(assembled)
        }
        None => Looks::new(),
    };
    forget(&mut assembled.locks, &looks);
    let taken = taken::sites(assembled, &mut engine.symbols);
    let mut facts = facts(assembled, &looks, &reached, &taken);
    lead_to_goroutines(&mut facts, &goroutines.facts);
    facts.append(std::mem::take(&mut goroutines.facts));
    prune::prune(&mut facts);
    let mut explained = graph::explain(&facts);
    let locks = assembled.locks.iter_mut().chain(&mut goroutines.locks);
    for lock in locks.filter(|lock| lock.waiters > 0) {
        // The readers and the writers of one lock have a row each.
        lock.explanation = explained.locks.remove(&row_of(lock));
    }
    let locks = assembled.locks.iter().chain(&goroutines.locks);
    let listed = locks.map(model::Lock::name).collect();
    prune::unlist(&mut explained.root_blockers, &listed);
    explained
}

/// A thread that waits for a goroutine to go on sleeps in a futex of the runtime: what it waits for is the goroutine.
fn lead_to_goroutines(facts: &mut Facts, goroutines: &Facts) {
    let leading: HashSet<&Id> = goroutines.blocks.iter().map(|block| &block.from).collect();
    let waits = |id: ThreadId| !leading.contains(&Id::Thread(id));
    facts.waits.retain(|wait| waits(wait.thread));
    facts.blocks.retain(|block| !leading.contains(&block.from));
}

/// Of a lock that was handed on meanwhile, only its own record says who has it.
fn forget(locks: &mut [model::Lock], looks: &Looks) {
    for lock in locks {
        let moved = looks
            .get(&row_of(lock))
            .is_some_and(|(first, second)| second.handoffs > first.handoffs);
        let written = |holder: &model::Holder| holder.confidence == Confidence::Exact;
        if moved && !lock.holder.as_ref().is_some_and(written) {
            lock.holder = None;
        }
    }
}

const fn row_of(lock: &model::Lock) -> Row {
    (lock.name(), lock.kind)
}

/// Holders of the locks that most threads wait for.
fn holders(assembled: &Assembled) -> BTreeSet<(u32, u32)> {
    let mut held: Vec<(&model::Lock, ThreadId)> = assembled
        .locks
        .iter()
        .filter(|lock| lock.waiters > 0 && !assembled.abandoned.contains(&lock.name()))
        .filter_map(|lock| Some((lock, holder(lock)?)))
        .collect();
    held.sort_by_key(|(lock, _)| std::cmp::Reverse(lock.waiters));
    held.truncate(MAX_HOLDERS);
    held.iter().map(|(_, id)| (id.pid, id.tid)).collect()
}

/// The thread that holds a lock. One that is gone is looked for where it was waited for.
fn holder(lock: &model::Lock) -> Option<ThreadId> {
    let holder = lock.holder.as_ref()?;
    Some(ThreadId {
        pid: holder.pid.unwrap_or(lock.pid),
        tid: holder.tid,
    })
}

fn facts(
    near: &Assembled,
    looks: &Looks,
    reached: &Reached,
    taken: &HashMap<LockRef, String>,
) -> Facts {
    let mut facts = Facts::default();
    let cut = reached.cut.iter();
    facts
        .processes
        .extend(cut.map(|(&pid, comm)| not_looked_at(pid, comm)));
    // What the first thread of a process at the other end does stands for the process.
    let firsts = reached.doings.iter().filter(|doing| doing.pid == doing.tid);
    facts.processes.extend(firsts.map(process_fact));
    locks(&mut facts, near, looks, reached, false);
    locks(&mut facts, &reached.far, &Looks::new(), reached, true);
    for hold in &mut facts.holds {
        hold.site = taken.get(&hold.lock).cloned();
    }
    for doing in &reached.doings {
        let waits = reached.wait(near, doing.tid).is_some();
        let now_in_futex = doing.call.as_ref().is_some_and(|call| call.futex.is_some());
        if now_in_futex && !waits {
            facts.threads.push(moved_on(doing));
            continue;
        }
        facts.threads.push(thread_fact(doing));
        // What a thread that waits for a lock sleeps in is that lock.
        if !waits {
            blocks(doing, reached, &mut facts);
        }
    }
    facts
}

/// Locks with their waits and holds.
fn locks(facts: &mut Facts, assembled: &Assembled, looks: &Looks, reached: &Reached, far: bool) {
    let sites: HashMap<LockRef, Option<String>> = assembled
        .locks
        .iter()
        .map(|lock| (lock.name(), lock.site.clone()))
        .collect();
    for lock in assembled.locks.iter().filter(|lock| lock.waiters > 0) {
        let abandoned = assembled.abandoned.contains(&lock.name());
        let place = assembled.places.get(&lock.name());
        facts.locks.push(facts::Lock {
            looks: looks.get(&row_of(lock)).copied(),
            abandoned,
            shared: place.map(Place::key),
            far,
            ..lock_fact(lock)
        });
        let is_stale = reached.stale.holds.contains(&lock.name());
        if let (Some(by), Some(thread), false, false) =
            (&lock.holder, holder(lock), abandoned, is_stale)
        {
            held(lock, by, thread, facts);
        }
    }
    // A thread that ran between the looks waits for something else by now, perhaps for what it was seen to hold.
    for (&tid, wait) in assembled.threads.iter().filter(|(_, wait)| wait.steady) {
        if reached.stale.waits.contains(&tid) {
            continue;
        }
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
}

/// Who has the lock; or who is to signal it, where that is what its waiters wait for.
fn held(lock: &model::Lock, holder: &model::Holder, thread: ThreadId, facts: &mut Facts) {
    if holder.known_by == waker::KNOWN_BY {
        facts.blocks.push(Block {
            from: Id::Lock(lock.name()),
            to: Id::Thread(thread),
            kind: LinkKind::ProducedBy,
            confidence: holder.confidence,
            text: "expected to be signalled by".to_owned(),
            since_ns: None,
            site: None,
            any: true,
        });
        return;
    }
    facts.holds.push(Hold {
        lock: lock.name(),
        thread,
        confidence: holder.confidence,
        known_by: holder.known_by.clone(),
        since_ns: holder.since_ns,
        at_least: holder.since_is_at_least,
        site: None,
        any: lock.kind == Kind::Semaphore,
    });
}

/// A lock that threads wait for, as explanations see it.
pub fn lock_fact(lock: &model::Lock) -> facts::Lock {
    facts::Lock {
        id: lock.name(),
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
        far: false,
        abandoned: false,
        looks: None,
        goroutines: false,
    }
}

fn thread_fact(doing: &Doing) -> facts::Thread {
    facts::Thread {
        id: ThreadId {
            pid: doing.pid,
            tid: doing.tid,
        },
        goid: None,
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

fn not_looked_at(pid: u32, comm: &str) -> facts::Process {
    facts::Process {
        pid,
        comm: comm.to_owned(),
        activity: facts::Activity::Unknown,
        text: "was not looked at".to_owned(),
        progress: Progress::Unknown,
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
fn blocks(doing: &Doing, reached: &Reached, facts: &mut Facts) {
    let from = Id::Thread(ThreadId {
        pid: doing.pid,
        tid: doing.tid,
    });
    let ends = reached.ends(doing);
    let is_ours = Reached::leads_to_us(doing);
    if is_ours {
        facts.open.push(from.clone());
    }
    // Any one of several descriptors will do, and of several processes at the other end of one.
    let several = reached.endpoints(doing).count() > 1 || ends.len() > 1 || is_ours;
    for end in ends {
        let (kind, words) = match end.relation {
            Relation::OtherEnd => (LinkKind::PeerOf, ""),
            Relation::Server => (LinkKind::PeerOf, "which is served by"),
            Relation::LockHolder => (LinkKind::ProducedBy, "whose file lock is held by"),
            Relation::Child => (LinkKind::ProducedBy, "whose child is"),
            Relation::Awaited => (LinkKind::ProducedBy, "which waits for the end of"),
            Relation::Tracer => (LinkKind::ProducedBy, "whose tracer is"),
        };
        facts.blocks.push(Block {
            from: from.clone(),
            to: end.to,
            kind,
            confidence: end.confidence,
            text: words.to_owned(),
            since_ns: None,
            site: None,
            any: several,
        });
    }
    // Who was not looked for is not known to be elsewhere.
    let endpoints = reached.endpoints(doing).filter(|_| !doing.is_partial);
    for name in endpoints.filter_map(outside) {
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

/// Whether a thread waits for something outside this machine.
pub(super) fn leads_outside(reached: &Reached, doing: &Doing) -> bool {
    !doing.is_partial
        && reached
            .endpoints(doing)
            .any(|endpoint| outside(endpoint).is_some())
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
