//! `pthread_join`: waits on `detach_state` of `struct pthread`, two `int`s after `tid`.

use crate::runtime::{Owner, Wait};

const TID_BEFORE_STATE: u64 = 8;

/// The thread that a thread known to join waits for.
pub(in crate::runtime) fn owner(wait: &Wait<'_>) -> Option<Owner> {
    let tid = wait
        .memory
        .u32(wait.address.checked_sub(TID_BEFORE_STATE)?)?;
    wait.owner(tid, "id word of the joined thread")
}
