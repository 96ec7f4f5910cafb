//! `pthread_barrier_t` (`sysdeps/nptl/internaltypes.h`): arrived 0, round 4, count 8, shared 12, left 16.

use crate::runtime::Wait;

const ROUND: u64 = 4;

/// The barrier that a thread known to wait for one waits for: its futex is the round.
pub(in crate::runtime) fn locate(wait: &Wait<'_>) -> Option<u64> {
    wait.address.checked_sub(ROUND)
}
