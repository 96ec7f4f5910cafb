//! The thread that was given the lock by a wake, and has neither woken its word since nor begun another wait.
//!
//! This holds as long as whoever passes the lock on makes a wake call. That is so while somebody waits, and in some
//! runtimes always for a thread that has waited itself; in the others, a moment without waiters breaks the proof.

use holdup_abi::{
    lock::LockKey,
    thread::{IDLE, Thread},
};

use super::{
    Found, Question, Tasks,
    history::{History, Trace},
    live,
    parts::{self, Parts},
};
use crate::model::{Holder, Kind, explanation::Confidence};

/// The evidence in words.
pub(super) const KEPT: &str = "it was woken for it and has not passed it on";

/// Who was last given the lock and has kept it.
#[must_use]
pub fn holder(
    question: &Question<'_>,
    history: &History,
    tasks: &Tasks<'_>,
    now_ns: u64,
) -> Option<Found> {
    let lock = question.lock;
    let handed = matches!(
        lock.kind,
        Kind::Mutex | Kind::RwlockRead | Kind::RwlockWrite | Kind::Semaphore | Kind::Unknown
    );
    if !handed {
        return None;
    }
    let rows = || parts::siblings(&question.assembled.parts, question.name());
    let (word, trace) = history.latest(rows().flat_map(|parts| &parts.words))?;
    let tid = trace.last_woken_tid;
    if tid == 0 || question.is_waiter(tid) {
        return None;
    }
    let mut sinces = rows().flat_map(|parts| &parts.waiters);
    // Somebody has waited ever since: passing it on would have been seen.
    let unbroken = sinces.any(|waiter| {
        waiter
            .since_ns
            .is_some_and(|since_ns| since_ns <= trace.last_handoff_ns)
    });
    if !unbroken && !always_wakes(lock.kind, lock.runtime.as_deref()) {
        return None;
    }
    // The words of one lock are woken for each other: a writer leaves and wakes the readers' word.
    let woke_another = rows().flat_map(|parts| &parts.words).any(|other| {
        let trace = history.words.get(other);
        other != word && trace.is_some_and(|trace| trace.last_waker_tid == tid)
    });
    let by_turns = matches!(lock.kind, Kind::Semaphore | Kind::Unknown);
    if woke_another || (by_turns && !is_taken_in_turns(word, trace, history)) {
        return None;
    }
    let kept = match (live(tasks, lock.pid, tid), history.threads.get(&tid)) {
        (Some(_), Some(thread)) => is_at_ease(thread, word),
        // Its entry went with it.
        (None, None) => unbroken,
        _ => false,
    };
    kept.then(|| Found {
        tid,
        confidence: confidence(question, word),
        known_by: words(question, word, live(tasks, lock.pid, tid).is_some()).to_owned(),
        since_ns: Some(now_ns.saturating_sub(trace.last_handoff_ns)),
    })
}

/// Adds since when an owner that is known anyway has had the lock, if it was seen to get it; for locks that
/// [`always_wakes`].
pub fn date(holder: &mut Holder, parts: &Parts, history: &History, now_ns: u64) {
    let latest = history.latest(parts.words.iter());
    let given = latest.filter(|(_, trace)| trace.last_woken_tid == holder.tid);
    if let Some((_, trace)) = given {
        holder.since_ns = Some(now_ns.saturating_sub(trace.last_handoff_ns));
    }
}

/// Whether its last wait was the one for `word`, and is over.
fn is_at_ease(thread: &Thread, word: &LockKey) -> bool {
    thread.state == IDLE
        && thread.address == word.address
        && thread.tgid == word.tgid
        && thread.generation == word.generation
}

/// Whether a thread that got a lock of this kind by waiting always makes a wake call when it lets go.
#[must_use]
pub fn always_wakes(kind: Kind, runtime: Option<&str>) -> bool {
    kind == Kind::Mutex && matches!(runtime, Some("rust-std" | "glibc"))
}

/// Whether those who post are those who wait: else it is not held by anybody, but a count of things to do.
fn is_taken_in_turns(word: &LockKey, trace: Trace, history: &History) -> bool {
    let waker = history.threads.get(&trace.last_waker_tid);
    waker.is_some_and(|waker| waker.address == word.address && waker.tgid == word.tgid)
}

/// A reader that leaves while others still read wakes nobody, so that the last one let in may have left.
fn may_read(question: &Question<'_>, word: &LockKey) -> bool {
    matches!(question.lock.kind, Kind::RwlockRead | Kind::RwlockWrite)
        && (word.address == question.lock.address
            || question.lock.runtime.as_deref() == Some("glibc"))
}

fn confidence(question: &Question<'_>, word: &LockKey) -> Confidence {
    if may_read(question, word) {
        Confidence::Inferred
    } else {
        Confidence::Observed
    }
}

fn words(question: &Question<'_>, word: &LockKey, lives: bool) -> &'static str {
    match (lives, may_read(question, word)) {
        (true, true) => "the last one to be let in",
        (true, false) => KEPT,
        (false, _) => "it was woken for it and has ended without passing it on",
    }
}
