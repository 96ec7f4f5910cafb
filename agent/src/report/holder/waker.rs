//! Who signalled last, for what nobody holds: a condition variable, a semaphore that counts things to do. It is expected
//! to signal again, so that what it is blocked in explains why no signal comes.

use super::{Found, Question, Tasks, history::History, live};
use crate::model::{Kind, explanation::Confidence};

/// The evidence in words.
pub const KNOWN_BY: &str = "the last to signal it";

/// The thread that last signalled what is waited for.
#[must_use]
pub fn signaller(question: &Question<'_>, history: &History, tasks: &Tasks<'_>) -> Option<Found> {
    let lock = question.lock;
    if !matches!(lock.kind, Kind::Condvar | Kind::Semaphore) {
        return None;
    }
    let (_, trace) = history.latest(question.parts.words.iter())?;
    let tid = trace.last_waker_tid;
    if tid == 0 || question.is_waiter(tid) {
        return None;
    }
    live(tasks, lock.pid, tid)?;
    may_be_waited_for(question.waits_for(tid)).then(|| Found {
        tid,
        confidence: Confidence::Inferred,
        known_by: KNOWN_BY.to_owned(),
        since_ns: None,
    })
}

/// Threads that wait for each other's signals are what an idle program is made of, and no deadlock. A signaller that
/// waits for a lock is held up.
const fn may_be_waited_for(waits_for: Option<Kind>) -> bool {
    matches!(
        waits_for,
        None | Some(Kind::Mutex | Kind::RwlockRead | Kind::RwlockWrite | Kind::Once)
    )
}
