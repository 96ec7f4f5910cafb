//! What the futex operation alone proves.

use holdup_abi::futex;

use super::{Verdict, Wait, glibc, musl};
use crate::model::Kind;

/// `FUTEX_TID_MASK` of `include/uapi/linux/futex.h`: the holder's thread id in a priority-inheritance or robust word.
pub(super) const TID_MASK: u32 = 0x3fff_ffff;

/// The kernel itself demands that a priority-inheritance word holds its owner's thread id, whatever the runtime.
pub(super) fn classify(wait: &Wait<'_>) -> Option<Verdict> {
    match wait.command() {
        futex::LOCK_PI | futex::LOCK_PI2 => Some(lock_pi(wait)),
        futex::WAIT_REQUEUE_PI => Some(Verdict {
            kind: Kind::Condvar,
            runtime: None,
            address: wait.address,
            owner: None,
            dead_owner: None,
            evidence: "FUTEX_WAIT_REQUEUE_PI: waits to be moved to a mutex".to_owned(),
        }),
        _ => None,
    }
}

fn lock_pi(wait: &Wait<'_>) -> Verdict {
    let tid = wait.word().map_or(0, |word| word & TID_MASK);
    let owner = wait.owner(tid, "priority-inheritance futex word");
    let evidence = match (&owner, tid) {
        (Some(_), _) => "priority-inheritance futex, holder in the word".to_owned(),
        (None, 0) => "priority-inheritance futex without a holder".to_owned(),
        (None, tid) => format!("priority-inheritance futex, holder {tid} is not alive here"),
    };
    let (runtime, address) = if glibc::mutex::is_priority_inheritance(wait, tid) {
        (Some(glibc::NAME), wait.address)
    } else if let Some(address) = musl::mutex::priority_inheritance(wait) {
        (Some(musl::NAME), address)
    } else {
        (None, wait.address)
    };
    let dead_owner = (owner.is_none() && tid != 0 && (wait.dead)(tid)).then_some(tid);
    Verdict {
        kind: Kind::Mutex,
        runtime,
        address,
        owner,
        dead_owner,
        evidence,
    }
}
