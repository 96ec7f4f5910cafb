//! The GNU C library: layouts for 64-bit little-endian machines.
//!
//! Measured on 2.36 (x86-64). Sources: `sysdeps/nptl/bits/struct_mutex.h`, `struct_rwlock.h`, `thread-shared-types.h`,
//! `nptl/descr.h`, `nptl/pthread_barrier_wait.c`, `nptl/semaphoreP.h`, which agree from 2.31 to 2.40 on x86-64 and aarch64.

pub(super) mod barrier;
pub(super) mod cond;
pub(super) mod join;
pub(super) mod mutex;
pub(super) mod rwlock;

use super::{Verdict, Wait};

/// Name in reports.
pub(super) const NAME: &str = "glibc";

/// What the memory around the futex word says without any other evidence.
///
/// Semaphores, barriers and once controls are too plain (a zero word and a small counter) to be told this way.
pub(super) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    mutex::by_memory(wait)
        .or_else(|| rwlock::by_memory(wait))
        .or_else(|| cond::by_memory(wait))
        .or_else(|| join::by_memory(wait))
}
