//! Ring buffer records. The first word tells the kind.

/// A wait began and was chosen for sampling: [`WaitSample`], then `stack_bytes` bytes.
pub const WAIT_SAMPLE: u32 = 1;
/// A sampled wait ended: [`WaitEnd`].
pub const WAIT_END: u32 = 2;

/// A thread let go of a word that others wait for, and was chosen for sampling: [`WaitSample`], then `stack_bytes` bytes.
pub const HOLD_SAMPLE: u32 = 3;

/// As many threads wait for a lock as the agent wants to be called for: [`Crossing`].
pub const CROSSING: u32 = 4;

/// The bytes after [`WaitSample`] are user stack memory, lowest address (`regs.sp`) first.
pub const STACK_MEMORY: u32 = 0;
/// The bytes after [`WaitSample`] are return addresses found by frame pointers, innermost first, 8 bytes each.
pub const STACK_ADDRESSES: u32 = 1;

/// Most stack bytes a sample carries.
pub const STACK_BYTES: usize = 8192;

/// User registers that an unwinder starts from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regs {
    /// Program counter: the instruction after the system call.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register (rbp, x29).
    pub fp: u64,
    /// Link register on aarch64, 0 elsewhere.
    pub lr: u64,
}

/// Head of a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WaitSample {
    /// [`WAIT_SAMPLE`] or [`HOLD_SAMPLE`].
    pub kind: u32,
    /// Bytes that follow this structure, at most [`STACK_BYTES`].
    pub stack_bytes: u32,
    /// [`STACK_MEMORY`] or [`STACK_ADDRESSES`].
    pub stack_kind: u32,
    /// Slot of the lock in the lock array.
    pub slot: u32,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// See [`crate::lock::LockKey::generation`].
    pub generation: u32,
    /// Operation and flags, see [`crate::futex`].
    pub op: u32,
    /// Value that the caller expected in the futex word.
    pub value: u32,
    /// With [`HOLD_SAMPLE`], 1: the holder was off its processor meanwhile.
    pub off_cpu: u32,
    /// User address of the futex word.
    pub address: u64,
    /// `CLOCK_MONOTONIC` time at which the wait or the hold began; with `tid` it names the wait.
    pub since_ns: u64,
    /// With [`HOLD_SAMPLE`], how long it kept others waiting in nanoseconds: since it was given the lock, or since somebody
    /// began to wait for it.
    pub held_ns: u64,
    /// Registers at the system call; all zero with [`STACK_ADDRESSES`].
    pub regs: Regs,
    /// The thread's name, NUL-padded.
    pub comm: [u8; 16],
}

/// End of a sampled wait.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WaitEnd {
    /// [`WAIT_END`].
    pub kind: u32,
    /// Thread id.
    pub tid: u32,
    /// `since_ns` of the [`WaitSample`].
    pub since_ns: u64,
    /// How long it lasted in nanoseconds.
    pub duration_ns: u64,
    /// Return value of the system call.
    pub result: i64,
}

/// The waiters of a lock have reached [`crate::config::Config::waiters_threshold`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// [`CROSSING`].
    pub kind: u32,
    /// Slot of the lock in the lock array.
    pub slot: u32,
    /// Threads that wait for it.
    pub waiters: u64,
    /// `CLOCK_MONOTONIC` time at which the last of them began to wait.
    pub at_ns: u64,
}

const _: () = assert!(size_of::<Crossing>() == 24);
const _: () = assert!(size_of::<WaitSample>() == 112);
const _: () = assert!(size_of::<WaitEnd>() == 32);
