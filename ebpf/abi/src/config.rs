//! Load-time configuration: read-only globals of the object, set by the agent before the programs are loaded, so that
//! the verifier drops the branches that are switched off.

/// Watch every process but the agent's own.
pub const TARGET_ALL: u32 = 0;
/// Watch the one process `TARGET_TGID`.
pub const TARGET_ONE: u32 = 1;
/// Watch the processes in the map `TARGETS`.
pub const TARGET_SET: u32 = 2;
/// Watch the processes below one cgroup (v2).
pub const TARGET_CGROUP: u32 = 3;

/// Most processes that [`TARGET_SET`] can hold.
pub const MAX_TARGETS: u32 = 16_384;

/// What the kernel side is told at load time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// One of the `TARGET_*` constants.
    pub target_mode: u32,
    /// With [`TARGET_ONE`].
    pub target_tgid: u32,
    /// The agent's own process, never watched.
    pub self_tgid: u32,
    /// 1: children of watched processes are watched too.
    pub follow_forks: u32,
    /// With [`TARGET_CGROUP`]: inode of the cgroup directory.
    pub cgroup_id: u64,
    /// With [`TARGET_CGROUP`]: depth below the root of the hierarchy.
    pub cgroup_level: u32,
    /// 1: `bpf_task_pt_regs` exists (Linux 5.15), samples carry stack memory.
    pub has_task_regs: u32,
    /// Least time between two samples of the same lock, in nanoseconds.
    pub sample_interval_ns: u64,
    /// 1: sample at all.
    pub sampling: u32,
    /// 1: a process that executes a program named `target_comm` becomes a target.
    pub match_comm: u32,
    /// Program name, NUL-padded, with `match_comm`.
    pub target_comm: [u8; 16],
    /// Offsets in `task_struct`, from the kernel's BTF; [`NO_OFFSET`] when a field is not known.
    pub task: TaskOffsets,
    /// Size of a kernel stack in bytes, for kernels without `bpf_task_pt_regs`.
    pub kernel_stack_bytes: u32,
    /// Elements of the `THREADS` array, a power of two, minus 1: which bits of a thread id are its index.
    pub thread_mask: u32,
    /// 1: measure how long locks are held, and who lets go of them.
    pub measure_holds: u32,
    /// Waiters of one lock from which on the agent is called at once; 0: never.
    pub waiters_threshold: u32,
    /// 1: probes on contended entry points say which lock a wait is for.
    pub slow: u32,
    /// 1: goroutines are watched.
    pub goroutines: u32,
}

/// Marks a field that the running kernel does not have.
pub const NO_OFFSET: u32 = u32::MAX;

/// Element of the `CONTROL` array: 1 while a run of the task iterator shall adopt parked threads.
pub const CONTROL_ADOPT: u32 = 0;
/// Element of the `CONTROL` array: what to add to a scheduler-clock time to get `CLOCK_MONOTONIC`, in nanoseconds,
/// wrapping; [`CLOCK_UNKNOWN`] when it was not measured.
pub const CONTROL_CLOCK: u32 = 1;
/// Element of the `CONTROL` array: what samples leave out, see [`LEAVE_OUT_STACKS`]. Looked at only when one is due.
pub const CONTROL_LEAVE_OUT: u32 = 2;
/// Element of the `CONTROL` array: 1 while a run of the task iterator shall list threads of all processes, watched or not.
pub const CONTROL_EVERYBODY: u32 = 3;
/// Number of elements of the `CONTROL` array.
pub const CONTROL_COUNT: u32 = 4;
/// Samples carry no stack.
pub const LEAVE_OUT_STACKS: u64 = 1;
/// No samples are taken.
pub const LEAVE_OUT_SAMPLES: u64 = 2;
/// No clock offset.
pub const CLOCK_UNKNOWN: u64 = u64::MAX;

/// Byte offsets of the fields of `task_struct` that the programs read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskOffsets {
    /// `pid`: the thread id.
    pub pid: u32,
    /// `tgid`: the process id.
    pub tgid: u32,
    /// `__state` (`state` before 5.14).
    pub state: u32,
    /// `group_leader`.
    pub group_leader: u32,
    /// `start_time`.
    pub start_time: u32,
    /// `self_exec_id`.
    pub self_exec_id: u32,
    /// `mm`: null for kernel threads.
    pub mm: u32,
    /// `comm`.
    pub comm: u32,
    /// `sched_info.last_arrival`.
    pub last_arrival: u32,
    /// `se.sum_exec_runtime`.
    pub run_total: u32,
    /// `se.prev_sum_exec_runtime`.
    pub run_before: u32,
    /// `stack`.
    pub stack: u32,
    /// `sched_info.run_delay`.
    pub run_delay: u32,
    /// `nvcsw`.
    pub sleeps: u32,
}
