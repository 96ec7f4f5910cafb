//! Owner words: what the lock itself says, which is the best evidence.

use crate::{
    model::{Holder, explanation::Confidence},
    report::{lock::Judged, process::Processes},
};

/// The evidence for an owner that has ended.
pub const ENDED: &str = "owner word; the thread has ended";

/// The owner that the words of one lock name: a live thread, or one that has ended with the lock. `pid` is
/// the process that waits, which others share the lock with if `is_shared`.
pub(in crate::report) fn holder(
    group: &[Judged],
    pid: u32,
    is_shared: bool,
    processes: &Processes,
) -> Option<Holder> {
    let owner = group.iter().find_map(|judged| judged.verdict.owner.clone());
    let owner = owner.filter(|owner| !moved_on(group, owner.tid));
    let dead = group.iter().find_map(|judged| judged.verdict.dead_owner);
    let written = |pid, tid, comm, known_by: &str| Holder {
        pid,
        tid,
        goid: None,
        comm,
        known_by: known_by.to_owned(),
        confidence: Confidence::Exact,
        since_ns: None,
        since_is_at_least: false,
    };
    owner
        .map(|owner| {
            let elsewhere = processes.of_thread(owner.tid).filter(|_| is_shared);
            let pid = elsewhere.unwrap_or(pid);
            let comm = processes.thread_comm(pid, owner.tid);
            written(Some(pid), owner.tid, comm, owner.known_by)
        })
        .or_else(|| {
            // Of which process it was, nobody knows any more.
            let pid = (!is_shared).then_some(pid);
            dead.map(|tid| written(pid, tid, String::new(), ENDED))
        })
}

/// Whether the owner was seen waiting for this very lock, and has run since: the lock went from hand to hand between the
/// two looks. One that has slept through both is in a deadlock with itself, and is reported.
fn moved_on(group: &[Judged], owner: u32) -> bool {
    let waiters = group.iter().flat_map(|judged| &judged.word.waiters);
    waiters
        .filter(|waiter| waiter.tid == owner)
        .any(|waiter| !waiter.steady)
}
