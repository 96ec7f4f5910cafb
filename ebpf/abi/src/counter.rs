//! Counters of what the kernel side lost or set aside. Every early return that loses something has one.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Index into the per-CPU counter array.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        /// Names as users see them, in index order.
        pub const NAMES: &[&str] = &[$($name,)+];
        /// What each counter means, in index order.
        pub const DESCRIPTIONS: &[&str] = &[$(concat!($($doc),+),)+];
    };
}

counters! {
    /// Waits not accounted because the thread table was full.
    ThreadsFull = "threads_full",
    /// Waits not accounted because the lock table was full.
    LocksFull = "locks_full",
    /// Samples dropped because the ring buffer was full.
    RingFull = "ring_full",
    /// Ends of sampled waits dropped because the ring buffer was full.
    EndRingFull = "end_ring_full",
    /// Samples not taken because the thread had interrupted another one's.
    SamplesPreempted = "samples_preempted",
    /// Samples whose stack memory could not be read at all.
    StackUnreadable = "stack_unreadable",
    /// Waits whose end was never seen; found stale at the thread's next wait and taken back.
    ExitMissed = "exit_missed",
    /// `futex_waitv` calls whose vector could not be read.
    WaitvUnreadable = "waitv_unreadable",
    /// Processes not watched because the target table was full.
    TargetsFull = "targets_full",
    /// Wakes not accounted because the thread table was full.
    WakesLost = "wakes_lost",
    /// Threads that were parked before attach and could not be adopted because a table was full.
    AdoptFull = "adopt_full",
    /// Holds not accounted because the table of locks with two words was full.
    HoldsFull = "holds_full",
    /// Calls for the agent because many wait for one lock, dropped because the ring buffer was full: its timer finds it.
    CrossingsDropped = "crossings_dropped",
    /// Calls of lock functions not accounted because the table of such locks was full.
    EntryLocksFull = "entry_locks_full",
    /// Calls of lock functions not accounted because the table of threads that make them was full.
    EntryThreadsFull = "entry_threads_full",
    /// Calls of lock functions not accounted because their thread already had eight locks.
    EntryHeldFull = "entry_held_full",
    /// Pairs of locks not told apart because the table of them was full.
    EntryEdgesFull = "entry_edges_full",
    /// Calls of lock functions whose return was never seen.
    EntryReturnsMissed = "entry_returns_missed",
    /// Stacks of lock functions and mistakes dropped because the ring buffer was full.
    EntryRingFull = "entry_ring_full",
    /// Stacks of lock functions' callers that could not be read.
    EntryStackUnreadable = "entry_stack_unreadable",
    /// Accesses to a map element that must exist and did not: a bug in holdup.
    Internal = "internal",
    /// Contended calls whose lock was not noted because the thread has no place in the thread table: what is waited for is
    /// guessed, as without `--probe slow`.
    NotesLost = "notes_lost",
    /// Waits of goroutines not accounted because the table of goroutines was full.
    GoWaitsFull = "go_waits_full",
    /// Waits of goroutines whose end was never seen; found stale at the goroutine's next wait and taken back.
    GoEndMissed = "go_end_missed",
    /// Goroutines that were made ready whose record could not be read: their wait goes on for us.
    GoUnreadable = "go_unreadable",
}

/// Number of counters.
pub const COUNT: usize = NAMES.len();
