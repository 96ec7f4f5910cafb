//! How long a lock is held by a thread that had to wait for it: from its release from the wait to its own wake of the same
//! word, which is how a contended lock is given up, or of the second word of a lock that has two.

use crate::lock::{BUCKETS, LockKey};

/// Holds that are followed at once in one thread, the newest ones.
pub const MAX_HELD: usize = 2;

/// Bit of [`crate::thread::Thread::holding`], shifted by the index of a hold: it is in progress.
pub const IN_PROGRESS: u32 = 1;
/// Bit likewise: the wait was of the operation that locks with two words use, so the word beside it may belong to the lock.
pub const TWO_WORDS: u32 = IN_PROGRESS << MAX_HELD;
/// Bit likewise: its thread has woken the word beside it meanwhile.
pub const PASSED_ON: u32 = TWO_WORDS << MAX_HELD;

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

/// Holds that ended one way. Their number is the sum of the histogram.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// Their sum in nanoseconds.
    pub total_ns: u64,
    /// The longest one in nanoseconds.
    pub max_ns: u64,
    /// Those during which the holder slept: it was not at work.
    pub slept: u64,
    /// Sum of those in nanoseconds.
    pub slept_ns: u64,
    /// Holds by duration, in the buckets of [`crate::lock::bucket`].
    pub histogram: [u64; BUCKETS],
}

impl Tally {
    /// No holds.
    pub const EMPTY: Self = Self {
        total_ns: 0,
        max_ns: 0,
        slept: 0,
        slept_ns: 0,
        histogram: [0; BUCKETS],
    };
}

/// Holds of one futex word, by slot of the lock array.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// Those that ended with the thread's wake of the same word, and of no other one of the lock before.
    pub ended: Tally,
    /// `CLOCK_MONOTONIC` time before which no further release is sampled.
    pub next_sample_ns: u64,
    /// `CLOCK_MONOTONIC` time at which somebody began to wait and nobody had waited before.
    pub contended_since_ns: u64,
    /// Tick of the kernel's clock at which a release was last looked at.
    pub looked_at_tick: u64,
}

/// Holds whose thread woke the word beside first, 4 bytes away. Whether that ended them depends on what the word is: a
/// reader-writer lock waits on two words and wakes either, a condition variable beside a mutex is another thing. So both
/// accounts are kept, and the agent, which knows the kind, takes one.
pub const BESIDE: u32 = 0;
/// The same holds up to the thread's wake of their own word, if that came.
pub const AFTER_BESIDE: u32 = 1;

/// Key of a [`Tally`] of such holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BesideKey {
    /// The word that the holder had waited on.
    pub lock: LockKey,
    /// [`BESIDE`] or [`AFTER_BESIDE`].
    pub ending: u32,
    /// 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Held>() == 16 && size_of::<BesideKey>() == 24);
const _: () = assert!(size_of::<Tally>() == 304 && size_of::<Holds>() == 328);
