//! The GNU C library: layouts for 64-bit little-endian machines.
//!
//! Measured on 2.31, 2.36 and 2.41 (x86-64). Sources: `sysdeps/nptl/bits/struct_mutex.h`, `struct_rwlock.h`,
//! `thread-shared-types.h`, `nptl/descr.h`, `nptl/pthread_barrier_wait.c`, `nptl/semaphoreP.h`, which agree over these
//! versions, and between x86-64 and aarch64, but for condition variables.

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
/// Semaphores, barriers and once controls are too plain (a zero word and a small counter) to be told this way. What a
/// runtime above uses a primitive for is not seen either: CPython's interpreter lock and a Java monitor are condition
/// variables here.
pub(super) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    mutex::by_memory(wait)
        .or_else(|| rwlock::by_memory(wait))
        .or_else(|| cond::by_memory(wait))
        .or_else(|| join::by_memory(wait))
}
