//! A futex word that somebody waited on: key and accumulated statistics.

/// Number of histogram buckets, the last of which has no upper bound.
pub const BUCKETS: usize = 34;
/// `log2` of the first bucket's upper bound in nanoseconds: 2^10 ns, since no futex sleep is shorter.
pub const FIRST_BUCKET_LOG2: u32 = 10;
/// Slot number that stands for "none".
pub const NO_SLOT: u32 = u32::MAX;

/// Bit of [`LockKey::tgid`] in the lock array: the slot is being taken back, and nobody may begin to use it. No process id
/// is that large (`PID_MAX_LIMIT` is 2^22).
pub const RETIRED: u32 = 1 << 31;

/// Flag of [`Lock::flags`]: count waits, but not how long each took.
pub const WITHOUT_DETAIL: u32 = 1;

/// Identity of a futex word while its process lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockKey {
    /// User address of the futex word; of the lock itself where each thread waits on a word of its own and a probe told
    /// for which lock ([`crate::slow`]).
    pub address: u64,
    /// Process (thread group) id in the initial pid namespace.
    pub tgid: u32,
    /// Tells two programs apart that ran under the same id: folded start time and exec count.
    pub generation: u32,
}

/// Statistics of one futex word, written by the kernel side. The agent writes [`RETIRED`], `flags`, a `next_sample_ns`
/// that never comes, 0 to `called`, and zeros everywhere when nobody uses the slot.
///
/// Counters only grow, except `waiters`. `peak_waiters`, `max_ns` and the two time stamps are plain stores: when two
/// processors race within a few nanoseconds, the lesser value may win. Everything else is exact.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Lock {
    /// Whose statistics these are; all zero while the slot is free.
    pub key: LockKey,
    /// Threads waiting now, counted at entry.
    pub waiters: u64,
    /// Most threads that waited at once.
    pub peak_waiters: u64,
    /// Waits that ended by a wake (return value 0 or more).
    pub woken: u64,
    /// Waits that ended with `ETIMEDOUT`.
    pub timed_out: u64,
    /// Waits that ended by a signal (`EINTR` and the kernel's restart codes that were not restarted).
    pub interrupted: u64,
    /// Calls that failed otherwise (`EFAULT`, `EINVAL`, `EDEADLK`, ...).
    pub error: u64,
    /// Calls that never slept because the word had changed (`EAGAIN`): not waits.
    pub value_changed: u64,
    /// Sum of all finished waits in nanoseconds.
    pub total_ns: u64,
    /// Longest finished wait in nanoseconds.
    pub max_ns: u64,
    /// Wake and unlock calls on this word while somebody waited.
    pub wakes: u64,
    /// Requeue calls on this word while somebody waited; counted in `wakes` too.
    pub requeues: u64,
    /// `CLOCK_MONOTONIC` time at which a waiter was last released by a wake; 0 = never.
    pub last_handoff_ns: u64,
    /// `CLOCK_MONOTONIC` time before which no further wait on this word is sampled.
    pub next_sample_ns: u64,
    /// Waits that were chosen for sampling.
    pub samples: u64,
    /// Thread that last woke this word, 0 = none seen.
    pub last_waker_tid: u32,
    /// Operation and flags of the last wait, see [`crate::futex`].
    pub op: u32,
    /// Expected value of the last wait.
    pub value: u32,
    /// Thread that was last released by a wake and has not woken this word since, 0 = none: the holder, as far as
    /// hand-offs tell.
    pub last_woken_tid: u32,
    /// [`WITHOUT_DETAIL`], set by the agent.
    pub flags: u32,
    /// 1: the agent was called because of the waiters ([`crate::record::Crossing`]); it sets 0 when they are gone.
    pub called: u32,
    /// `CLOCK_MONOTONIC` time since which the slot belongs to this word.
    pub born_ns: u64,
    /// Finished waits by duration: bucket `i` holds durations up to `2^(FIRST_BUCKET_LOG2 + i)` ns inclusive.
    pub histogram: [u64; BUCKETS],
    /// How much of `total_ns` and of the other finished waits the waiters were ready to run and had no processor, in
    /// nanoseconds (`task_struct.sched_info.run_delay`); 0 where the kernel does not tell.
    pub ready_ns: u64,
    /// What a probe on a contended entry point told of the last wait: number of the row in the agent's table, plus 1; 0:
    /// nothing.
    pub row: u32,
    /// With `row`, how far `key.address` lies into the lock object, in bytes.
    pub inside: u32,
}

impl Lock {
    /// A free slot.
    pub const EMPTY: Self = Self {
        key: LockKey {
            address: 0,
            tgid: 0,
            generation: 0,
        },
        waiters: 0,
        peak_waiters: 0,
        woken: 0,
        timed_out: 0,
        interrupted: 0,
        error: 0,
        value_changed: 0,
        total_ns: 0,
        max_ns: 0,
        wakes: 0,
        requeues: 0,
        last_handoff_ns: 0,
        next_sample_ns: 0,
        samples: 0,
        last_waker_tid: 0,
        op: 0,
        value: 0,
        last_woken_tid: 0,
        flags: 0,
        called: 0,
        born_ns: 0,
        histogram: [0; BUCKETS],
        ready_ns: 0,
        row: 0,
        inside: 0,
    };
}

const _: () = assert!(size_of::<LockKey>() == 16);
const _: () = assert!(size_of::<Lock>() == 448 && align_of::<Lock>() == 64);

/// Bucket of a wait that lasted `duration_ns`.
#[must_use]
#[inline(always)]
pub const fn bucket(duration_ns: u64) -> usize {
    // Upper bounds are inclusive, so an exact power of two belongs to the bucket it bounds.
    let log2_ceiling = 64 - duration_ns.saturating_sub(1).leading_zeros();
    let index = log2_ceiling.saturating_sub(FIRST_BUCKET_LOG2) as usize;
    if index >= BUCKETS { BUCKETS - 1 } else { index }
}

/// Inclusive upper bound of bucket `index` in nanoseconds; `None` for the last one, which has none.
#[must_use]
pub const fn bucket_le_ns(index: usize) -> Option<u64> {
    if index + 1 < BUCKETS {
        Some(1 << (FIRST_BUCKET_LOG2 + index as u32))
    } else {
        None
    }
}
