//! The thread that was given a lock whose waiters sleep on words of their own (`parking_lot`), and has not passed it on.
//!
//! A thread's word stays when the thread has got on, and so does the name of the lock that it parked for last. Whoever was
//! woken last of those that parked for this lock has it, if it has not parked again, and has woken nobody since: while
//! somebody is parked, letting go wakes somebody.

use holdup_abi::{
    lock::{LockKey, NO_SLOT},
    thread::IDLE,
};

use super::{
    Found, Question, Tasks, handoff,
    history::{History, Trace},
    live,
};
use crate::{
    model::{Kind, explanation::Confidence},
    proc::memory::Process,
    runtime::parking_lot,
};

/// Words of one process that are looked at.
const MAX_WORDS: usize = 4096;

/// Who was last given the lock and has kept it.
#[must_use]
pub fn holder(
    question: &Question<'_>,
    history: &History,
    tasks: &Tasks<'_>,
    now_ns: u64,
) -> Option<Found> {
    let lock = question.lock;
    if lock.kind != Kind::Mutex || lock.runtime.as_deref() != Some(parking_lot::NAME) {
        return None;
    }
    let memory = Process { pid: lock.pid };
    // What is accounted under the lock's own address, because a probe told of it, is none of the threads' words.
    let words = question.parts.words.iter();
    let mut words = words.filter(|word| word.address != lock.address);
    let place = words.find_map(|word| parking_lot::place(&memory, word.address, lock.address))?;
    let space = question.parts.space;
    let own = history
        .handed
        .iter()
        .filter(|(word, _)| (word.tgid, word.generation) == (space.pid, space.generation));
    let (word, trace): (&LockKey, &Trace) = own
        .take(MAX_WORDS)
        .filter(|(word, _)| parking_lot::parked_for(&memory, word.address, place, lock.address))
        .max_by_key(|(_, trace)| trace.last_handoff_ns)?;
    let tid = trace.last_woken_tid;
    // It lost the lock to another thread, and parked again.
    if tid == 0 || question.is_waiter(tid) {
        return None;
    }
    // Somebody has waited ever since.
    let mut sinces = question.parts.waiters.iter().map(|waiter| waiter.since_ns);
    if !sinces.any(|since_ns| since_ns.is_some_and(|since_ns| since_ns <= trace.last_handoff_ns)) {
        return None;
    }
    let thread = history.threads.get(&tid)?;
    let is_at_ease = thread.state == IDLE && thread.address == word.address;
    // When it last woke somebody: not later than that one got on.
    let woke = LockKey {
        address: thread.wake_address,
        ..*word
    };
    let woke_before = thread.wake_slot == NO_SLOT
        || history
            .handed
            .get(&woke)
            .is_none_or(|woke| woke.last_handoff_ns <= trace.last_handoff_ns);
    (is_at_ease && woke_before && live(tasks, lock.pid, tid).is_some()).then(|| Found {
        tid,
        confidence: Confidence::Observed,
        known_by: handoff::KEPT.to_owned(),
        since_ns: Some(now_ns.saturating_sub(trace.last_handoff_ns)),
    })
}
