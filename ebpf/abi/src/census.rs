//! What the task iterator writes for each thread.

use crate::record::Regs;

/// One thread of the machine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub tgid: u32,
    /// See [`crate::lock::LockKey::generation`].
    pub generation: u32,
    /// Scheduler state bits (`task_struct.__state`): 0 is runnable, 1 interruptible, 2 uninterruptible sleep.
    pub state: u32,
    /// System call number, or -1 outside one. Meaningful only when `state` is not 0.
    pub syscall: i64,
    /// The system call's six arguments.
    pub args: [u64; 6],
    /// User registers; of a thread that runs, those of its last entry into the kernel, by a clock tick at the latest.
    pub regs: Regs,
    /// Scheduler-clock time at which the thread last stopped running; 0 = not known. A parked thread has been asleep at
    /// least since then.
    pub last_ran_ns: u64,
    /// `since_ns` of the wait the programs track for this thread; 0 = none.
    pub since_ns: u64,
    /// [`crate::thread`] state of the tracked wait.
    pub wait_state: u32,
    /// [`crate::thread`] flags of the tracked wait.
    pub wait_flags: u32,
    /// The thread's name, NUL-padded.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Task>() == 144);
