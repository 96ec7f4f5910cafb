//! All maps and the load-time configuration. The agent sets the capacities; the numbers here are the defaults.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf},
};
use holdup_abi::{
    config::{CONTROL_COUNT, Config, MAX_TARGETS},
    counter, entry,
    golang::{Goroutine, Wait},
    hold::{BesideKey, Holds, Tally},
    lock::{Lock, LockKey},
    record::WaitSample,
    slow::Note,
    thread::Thread,
};

/// `BPF_F_MMAPABLE`: the agent reads the array as memory, without a system call per element.
const MMAPABLE: u32 = 1 << 10;

/// Room for a sample while it is put together: three pages of stack may be copied, of which
/// [`holdup_abi::record::STACK_BYTES`] are kept. See [`crate::sample`].
#[repr(C)]
pub struct Scratch {
    pub head: WaitSample,
    pub stack: [u8; 3 * 4096],
    /// 1 while somebody uses it: a program may be preempted by another thread's on the same processor.
    pub is_taken: u64,
}

/// Read-only after load: the verifier knows its values and removes what they switch off.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    target_mode: 0,
    target_tgid: 0,
    self_tgid: 0,
    follow_forks: 0,
    cgroup_id: 0,
    cgroup_level: 0,
    has_task_regs: 0,
    sample_interval_ns: 0,
    sampling: 0,
    match_comm: 0,
    target_comm: [0; 16],
    task: holdup_abi::config::TaskOffsets {
        pid: 0,
        tgid: 0,
        state: 0,
        group_leader: 0,
        start_time: 0,
        self_exec_id: 0,
        mm: 0,
        comm: 0,
        last_arrival: 0,
        run_total: 0,
        run_before: 0,
        stack: 0,
        run_delay: 0,
        sleeps: 0,
    },
    kernel_stack_bytes: 0,
    thread_mask: 0,
    measure_holds: 0,
    waiters_threshold: 0,
    slow: 0,
    goroutines: 0,
};

/// Reads one field of [`CONFIG`].
macro_rules! config {
    ($($field:ident).+) => { $crate::maps::read(&$crate::maps::CONFIG.$($field).+) };
}
pub(crate) use config;

/// A volatile read, or the compiler would use the zeros above.
#[inline(always)]
pub fn read<T: Copy>(field: &T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(field) }
}

/// Low bits of a thread id -> its current or last wait. 65,536 x 104 B, mapped into the agent. Entries live from a
/// thread's first futex call to its exit. An array, because three look-ups of a hash would make up a third of what a
/// hand-over costs. Never LRU: that would evict the thread that has waited longest. Taken by another thread with the
/// same low bits: see [`MORE_THREADS`].
#[map]
pub static THREADS: Array<Thread> = Array::with_max_entries(65_536, MMAPABLE);

/// Index in [`THREADS`] -> thread that it belongs to: the hash decides who is first. 65,536 x 8 B (+ about 48 B of hash
/// overhead). Full: see [`MORE_THREADS`].
#[map]
pub static THREAD_OWNERS: HashMap<u32, u32> = HashMap::with_max_entries(65_536, 0);

/// Thread id -> its current or last wait, for threads that have no place in [`THREADS`], and for those that were parked
/// before we came until they wake. 65,536 x 104 B (+ about 48 B of hash overhead). Full: the wait is not accounted,
/// `threads_full` or `adopt_full` grows.
#[map]
pub static MORE_THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(65_536, 0);

/// Futex word -> slot in [`LOCKS`]. 32,768 x 24 B (+ overhead). A little larger than `LOCKS`, so that `FREE_SLOTS`
/// alone says when the table is full. Full: the wait is not accounted, `locks_full` grows.
#[map]
pub static LOCK_SLOTS: HashMap<LockKey, u32> = HashMap::with_max_entries(32_768, 0);

/// Statistics by slot. 32,768 x 448 B, mapped into the agent. An array look-up is a few inlined instructions, and a
/// thread that comes back to the same lock finds its slot in [`THREADS`]: no hash of the lock on the hot path.
#[map]
pub static LOCKS: Array<Lock> = Array::with_max_entries(32_768, MMAPABLE);

/// How long locks are held, by slot. 32,768 x 328 B, mapped into the agent.
#[map]
pub static HOLDS: Array<Holds> = Array::with_max_entries(32_768, MMAPABLE);

/// Holds of words that may be one of two of their lock. 2,048 x 328 B (+ about 48 B of hash overhead). Full: the hold is
/// not accounted, `holds_full` grows.
#[map]
pub static HOLDS_BESIDE: HashMap<BesideKey, Tally> = HashMap::with_max_entries(2_048, 0);

/// Slots nobody uses, filled by the agent. 32,768 x 4 B. Empty: see [`LOCK_SLOTS`].
#[map]
pub static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(32_768, 0);

/// What was lost, by [`counter::Counter`]. 8 B per counter and processor.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT as u32, 0);

/// Samples for the agent. 8 MiB. Full: the sample is dropped, `ring_full` grows; counts are not affected.
#[map]
pub static SAMPLES: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// One sample in the making per processor, 12.4 KiB each.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Watched processes with [`holdup_abi::config::TARGET_SET`], and in cgroup mode those that existed at the start (for
/// the task iterator, which cannot ask for another task's cgroup). 16,384 x 8 B. Full: `targets_full` grows.
#[map]
pub static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_TARGETS, 0);

/// What the agent tells the task iterator before a run: see [`holdup_abi::config::CONTROL_ADOPT`] and the following.
#[map]
pub static CONTROL: Array<u64> = Array::with_max_entries(CONTROL_COUNT, 0);

/// Lock of `--probe entry` -> slot in [`ENTRY_LOCKS`]. 16,384 x 24 B (+ overhead) if asked for. Full: the call is not
/// accounted, `entry_locks_full` grows.
#[map]
pub static ENTRY_SLOTS: HashMap<LockKey, u32> = HashMap::with_max_entries(16_384, 0);

/// Statistics by slot. 16,384 x 760 B if asked for, mapped into the agent.
#[map]
pub static ENTRY_LOCKS: Array<entry::Lock> = Array::with_max_entries(16_384, MMAPABLE);

/// Slots nobody uses, filled by the agent. Empty: see [`ENTRY_SLOTS`].
#[map]
pub static ENTRY_FREE: Queue<u32> = Queue::with_max_entries(16_384, 0);

/// Thread id -> locks that it holds or asks for, each with a piece of stack. 4,096 x 4.8 KiB if asked for. Full: the call
/// is not accounted, `entry_threads_full` grows.
#[map]
pub static ENTRY_THREADS: HashMap<u32, entry::Thread> = HashMap::with_max_entries(4_096, 0);

/// Pairs of locks, with the set of locks held. 32,768 x 48 B (+ overhead) if asked for. Full: the pair is not noted,
/// `entry_edges_full` grows.
#[map]
pub static ENTRY_EDGES: HashMap<entry::EdgeKey, entry::Edge> = HashMap::with_max_entries(32_768, 0);

/// What threads are about to wait for, by the index of their place in [`THREADS`]. 65,536 x 64 B with `--probe slow`, else
/// one element.
#[map]
pub static NOTES: Array<Note> = Array::with_max_entries(65_536, 0);

/// Futex word of a thread that sleeps on a word of its own -> address that its lock's statistics are kept under. 65,536 x
/// 24 B (+ about 48 B of hash overhead) with `--probe slow`, else one element. Full: wakes of that thread are not
/// accounted, `wakes_lost` grows.
#[map]
pub static OWN_WORDS: HashMap<LockKey, u64> = HashMap::with_max_entries(65_536, 0);

/// Parked goroutine -> its wait. 262,144 x 56 B (+ about 48 B of hash overhead). Full: the wait is not accounted,
/// `go_waits_full` grows.
#[map]
pub static GO_WAITS: HashMap<Goroutine, Wait> = HashMap::with_max_entries(262_144, 0);

/// Process id -> when its last thread ended, or when it executed another program: the agent settles the waits of its
/// goroutines. 1,024 x 16 B. Full: the oldest one goes, and those waits count as ended when the agent looks.
#[map]
pub static GO_ENDED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1_024, 0);

/// Hits of uprobes by what they cost: see [`holdup_abi::uprobe::PRICES`]. 8 B per price and processor.
#[map]
pub static HITS: PerCpuArray<u64> = PerCpuArray::with_max_entries(holdup_abi::uprobe::PRICES, 0);
