//! How long a lock is held by a thread that had to wait for it: from its release from the wait to its own wake of the same
//! word, which is how a contended lock is given up.

use crate::lock::BUCKETS;

/// Holds that are followed at once in one thread, the newest ones.
pub const MAX_HELD: usize = 2;

/// A hold in progress.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// `CLOCK_MONOTONIC` time at which the wait ended; 0 = none.
    pub since_ns: u64,
    /// Slot of the lock.
    pub slot: u32,
    /// Low bits of how often the thread had gone to sleep by then (`task_struct.nvcsw`).
    pub sleeps: u32,
}

/// Holds that are measured in a window of time at most. Several in a row: if they were spaced out, those that always follow
/// another one closely would never be met.
pub const PER_WINDOW: u64 = 16;

/// Measured holds of one futex word, by slot of the lock array: the first [`PER_WINDOW`] in each window.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// Holds that were measured.
    pub measured: u64,
    /// Their sum in nanoseconds.
    pub total_ns: u64,
    /// The longest one in nanoseconds.
    pub max_ns: u64,
    /// Those during which the holder slept: it was not at work.
    pub slept: u64,
    /// Sum of those in nanoseconds.
    pub slept_ns: u64,
    /// `CLOCK_MONOTONIC` time until which `left` is all that may be measured.
    pub window_end_ns: u64,
    /// Holds that may still be measured in this window.
    pub left: u64,
    /// `CLOCK_MONOTONIC` time before which no further release is sampled.
    pub next_sample_ns: u64,
    /// `CLOCK_MONOTONIC` time at which somebody began to wait and nobody had waited before.
    pub contended_since_ns: u64,
    /// Tick of the kernel's clock at which a release was last looked at.
    pub looked_at_tick: u64,
    /// Measured holds by duration, in the buckets of [`crate::lock::bucket`].
    pub histogram: [u64; BUCKETS],
}

const _: () = assert!(size_of::<Held>() == 16 && size_of::<Holds>() == 352);
