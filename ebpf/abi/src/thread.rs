//! What the kernel side remembers of a thread that waited or woke.

use crate::hold::{Held, MAX_HELD};

/// The thread is in no futex wait.
pub const IDLE: u32 = 0;
/// The thread entered a wait and has not come back.
pub const WAITING: u32 = 1;
/// A signal broke the wait off in a way that the kernel restarts unless a handler prevents it (`ERESTARTSYS`,
/// `ERESTART_RESTARTBLOCK`). The thread still counts as a waiter: a stopped one waits on when it is continued.
pub const RESTARTING: u32 = 2;

/// Flag: the wait began before the programs were attached; `since_ns` is the latest it can have begun.
pub const PREEXISTING: u32 = 1;
/// Flag: the wait's stack was sampled; its end is reported too.
pub const SAMPLED: u32 = 2;
/// Flag: only `restart_syscall` continues the wait; any signal handler ends it (`ERESTART_RESTARTBLOCK`).
pub const RESTART_BLOCK: u32 = 4;
/// Flag: the kernel restarts the wait whatever handler runs (`ERESTARTNOINTR`, from `FUTEX_LOCK_PI`).
pub const RESTART_ALWAYS: u32 = 8;

/// State of one thread. Never evicted: the thread that has waited longest is the one that matters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    /// User address of the futex word of the current or last wait, or of the lock with [`crate::slow::OWN_WORD`].
    pub address: u64,
    /// `CLOCK_MONOTONIC` time at which the current wait began.
    pub since_ns: u64,
    /// User address this thread last woke.
    pub wake_address: u64,
    /// Thread id; 0 while the place is free.
    pub tid: u32,
    /// Process id.
    pub tgid: u32,
    /// See [`crate::lock::LockKey::generation`].
    pub generation: u32,
    /// Slot of `address` in the lock array.
    pub slot: u32,
    /// Slot of `wake_address` in the lock array, or [`crate::lock::NO_SLOT`].
    pub wake_slot: u32,
    /// [`IDLE`], [`WAITING`] or [`RESTARTING`].
    pub state: u32,
    /// [`PREEXISTING`], [`SAMPLED`] and the like, and [`crate::slow::OWN_WORD`].
    pub flags: u32,
    /// Operation and flags of the wait, see [`crate::futex`].
    pub op: u32,
    /// Value that the caller expected in the futex word.
    pub value: u32,
    /// Bits of `held[i]`, see [`crate::hold::IN_PROGRESS`].
    pub holding: u32,
    /// Time that the thread had spent ready to run, without a processor, when the wait began
    /// (`task_struct.sched_info.run_delay`), in nanoseconds; `u64::MAX` when it is not known.
    pub run_delay_ns: u64,
    /// Locks that it had to wait for and holds.
    pub held: [Held; MAX_HELD],
}

const _: () = assert!(size_of::<Thread>() == 104 && align_of::<Thread>() == 8);
