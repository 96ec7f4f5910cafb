//! musl: layouts for 64-bit little-endian machines.
//!
//! Measured on 1.2.3 (x86-64, static). Source: `src/internal/pthread_impl.h`, unchanged since 1.1.16.

pub(super) mod cond;
pub(super) mod join;
pub(super) mod mutex;

/// Name in reports.
pub(super) const NAME: &str = "musl";

/// Words of a waiter's stack in which a pointer to its lock is looked for. The lock functions' own frames are small.
pub(super) const STACK_WORDS: u64 = 96;
