//! Locks as their entry points are called: what `--probe entry` keeps per lock, per thread and per pair of locks.
//!
//! A *slot* stands for one life of one lock: a lock that is initialised anew at the address of a destroyed one gets another
//! slot. So do a lock of another process, and one of another program in the same process.

use crate::{
    lock::{BUCKETS, LockKey},
    record::Regs,
};

/// Locks that are followed at once in one thread: held, asked for or waited on. Calls beyond are not followed, and counted
/// in `entry_held_full`.
pub const MAX_HELD: usize = 8;
/// Bytes of the stack that are kept of each acquisition.
pub const PIECE_BYTES: usize = 512;
/// Most bytes of the stack of the call that an [`Event`] is about.
pub const STACK_BYTES: usize = 4096;

/// A `pthread_mutex_t`, `mtx_t`.
pub const KIND_MUTEX: u32 = 1;
/// A `pthread_rwlock_t`.
pub const KIND_RWLOCK: u32 = 2;
/// A `pthread_spinlock_t`.
pub const KIND_SPIN: u32 = 3;
/// A `pthread_cond_t`, `cnd_t`.
pub const KIND_CONDVAR: u32 = 4;
/// A `sem_t`: nobody holds it. An acquisition is a wait that got a unit, a release is a post.
pub const KIND_SEMAPHORE: u32 = 5;
/// A `pthread_barrier_t`: nobody holds it.
pub const KIND_BARRIER: u32 = 6;
/// A lock of functions that the user named.
pub const KIND_NAMED: u32 = 7;

/// Mode bit: held or asked for with others (reader).
pub const MODE_READ: u32 = 1;
/// Mode bit: asked for by a call that does not wait.
pub const MODE_TRY: u32 = 2;
/// Mode bit: asked for by a call that gives up after a time.
pub const MODE_TIMED: u32 = 4;
/// Mode bit: taken again by the return of a wait on a condition variable.
pub const MODE_AFTER_WAIT: u32 = 8;

/// Flag of [`Lock::flags`]: it was destroyed; its address may be another lock's by now.
pub const DESTROYED: u32 = 1;
/// Flag of [`Lock::flags`]: a thread that held it took it again.
pub const RECURSIVE: u32 = 2;

/// Statistics of one life of one lock. `wait_max_ns`, `hold_max_ns`, the time stamps and thread ids are plain stores: of two
/// processors that race within nanoseconds one wins. Everything else is exact.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Lock {
    /// Address, process and program; all zero while the slot is free.
    pub key: LockKey,
    /// `KIND_*`.
    pub kind: u32,
    /// [`DESTROYED`], [`RECURSIVE`].
    pub flags: u32,
    /// Calls that returned with the lock, repeated ones of a recursive lock included; waits on a condition variable,
    /// semaphore or barrier that were not in vain.
    pub acquisitions: u64,
    /// Those of them that only read.
    pub reads: u64,
    /// Those that took a lock again that the thread held.
    pub repeated: u64,
    /// Acquisitions by calls that found the lock held by another thread, by holdup's own account, or during which the thread
    /// went to sleep.
    pub contended: u64,
    /// Returns from a wait on a condition variable, which take the mutex again. Not in `acquisitions`.
    pub reacquired: u64,
    /// Tries that found it taken.
    pub try_failures: u64,
    /// Calls that gave up after their time.
    pub timeouts: u64,
    /// Calls that failed otherwise.
    pub errors: u64,
    /// Calls that gave it up; posts of a semaphore; signals and broadcasts of a condition variable.
    pub releases: u64,
    /// Releases by a thread that does not hold it, as far as was seen: it took it before holdup came, or another thread did.
    pub unmatched: u64,
    /// Signals and broadcasts with nobody waiting.
    pub unheard: u64,
    /// Threads that wait on it now (condition variables, semaphores, barriers) or hold it for reading now.
    pub users: u64,
    /// Thread that holds it for itself, 0 = none.
    pub holder_tid: u32,
    /// Thread that last signalled with nobody waiting.
    pub unheard_tid: u32,
    /// `CLOCK_MONOTONIC` time since which it is held by `holder_tid`.
    pub holder_since_ns: u64,
    /// `CLOCK_MONOTONIC` time of the last signal with nobody waiting, 0 = none.
    pub unheard_ns: u64,
    /// `CLOCK_MONOTONIC` time of the last signal or broadcast that somebody waited for, 0 = none.
    pub heard_ns: u64,
    /// `CLOCK_MONOTONIC` time at which it was first seen.
    pub born_ns: u64,
    /// `CLOCK_MONOTONIC` time at which it was destroyed, 0 = not.
    pub destroyed_ns: u64,
    /// Sum of the contended acquisitions' calls in nanoseconds.
    pub wait_total_ns: u64,
    /// Longest of them in nanoseconds.
    pub wait_max_ns: u64,
    /// Sum of all holds that ended in nanoseconds.
    pub hold_total_ns: u64,
    /// Longest of them in nanoseconds.
    pub hold_max_ns: u64,
    /// Holds from this length on are worth an [`Event`], in nanoseconds.
    pub report_hold_ns: u64,
    /// Bit `1 << EVENT_*`: such a mistake with this lock was told, or a pair that it is one of. The agent is told once.
    pub told: u32,
    /// 0.
    pub padding: u32,
    /// Contended acquisitions by duration of the call, in the buckets of [`crate::lock::bucket`]. Their number is
    /// `contended`.
    pub wait_histogram: [u64; BUCKETS],
    /// Holds that ended, by duration, in the same buckets.
    pub hold_histogram: [u64; BUCKETS],
}

impl Lock {
    /// A free slot.
    pub const EMPTY: Self = Self {
        key: LockKey {
            address: 0,
            tgid: 0,
            generation: 0,
        },
        kind: 0,
        flags: 0,
        acquisitions: 0,
        reads: 0,
        repeated: 0,
        contended: 0,
        reacquired: 0,
        try_failures: 0,
        timeouts: 0,
        errors: 0,
        releases: 0,
        unmatched: 0,
        unheard: 0,
        users: 0,
        holder_tid: 0,
        unheard_tid: 0,
        holder_since_ns: 0,
        unheard_ns: 0,
        heard_ns: 0,
        born_ns: 0,
        destroyed_ns: 0,
        wait_total_ns: 0,
        wait_max_ns: 0,
        hold_total_ns: 0,
        hold_max_ns: 0,
        report_hold_ns: 0,
        told: 0,
        padding: 0,
        wait_histogram: [0; BUCKETS],
        hold_histogram: [0; BUCKETS],
    };
}

/// State of a [`Place`]: not in use.
pub const FREE: u32 = 0;
/// State of a [`Place`]: the call has begun and has not returned.
pub const ASKED: u32 = 1;
/// State of a [`Place`]: the lock is held.
pub const HELD: u32 = 2;

/// A lock that a thread holds or has asked for, with where it did so.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Address of the lock.
    pub address: u64,
    /// Address of the mutex that a wait on a condition variable gave up, else 0.
    pub mutex: u64,
    /// `CLOCK_MONOTONIC` time at which the call began, or since which it is held.
    pub since_ns: u64,
    /// Stack pointer of the caller once the call has returned: tells which return belongs to which call.
    pub frame: u64,
    /// Registers of the caller as the call returns. `pc` is the return address minus 1, so that it lies in the calling line.
    pub regs: Regs,
    /// Slot of the lock.
    pub slot: u32,
    /// [`FREE`], [`ASKED`] or [`HELD`].
    pub state: u32,
    /// `MODE_*`.
    pub mode: u32,
    /// How often it was taken again.
    pub depth: u32,
    /// What the call does, see [`crate::entry::call`].
    pub call: u32,
    /// How often the thread had gone to sleep when the call began, low bits.
    pub sleeps: u32,
    /// 1: another thread held it when the call began. Of a wait on a condition variable: the thread held the mutex.
    pub taken: u32,
    /// Bytes of `stack` that could be read.
    pub stack_bytes: u32,
    /// Memory from `regs.sp` upwards.
    pub stack: [u8; PIECE_BYTES],
}

/// What a search among the places of a thread has found. It is kept in the map because the verifier knows nothing of what
/// lies there: on the stack it would follow each place that can be found by itself, and every set of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// 1: a call for the same lock has not returned.
    pub nested: u32,
    /// The place where the lock is held, [`MAX_HELD`] = none.
    pub held: u32,
    /// A free place, [`MAX_HELD`] = none.
    pub free: u32,
    /// Bits of the places whose lock the thread holds.
    pub valid: u32,
}

/// What is known of one thread. Only its own calls write it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Process id.
    pub tgid: u32,
    /// See [`LockKey::generation`].
    pub generation: u32,
    /// What the kernel side is looking at.
    pub look: Look,
    /// Its locks, in no order.
    pub places: [Place; MAX_HELD],
}

impl Thread {
    /// No locks.
    pub const EMPTY: Self = Self {
        tgid: 0,
        generation: 0,
        look: Look {
            nested: 0,
            held: 0,
            free: 0,
            valid: 0,
        },
        places: [Place::EMPTY; MAX_HELD],
    };
}

impl Place {
    /// Not in use.
    pub const EMPTY: Self = Self {
        address: 0,
        mutex: 0,
        since_ns: 0,
        frame: 0,
        regs: Regs {
            pc: 0,
            sp: 0,
            fp: 0,
            lr: 0,
        },
        slot: 0,
        state: FREE,
        mode: 0,
        depth: 0,
        call: 0,
        sleeps: 0,
        taken: 0,
        stack_bytes: 0,
        stack: [0; PIECE_BYTES],
    };
}

/// One lock asked for while another was held, with the same others held.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// Slot of the lock that was held.
    pub held: u32,
    /// Slot of the lock that was asked for.
    pub asked: u32,
    /// `MODE_*` in which it was held.
    pub held_mode: u32,
    /// `MODE_*` in which it was asked for. With [`MODE_TRY`] the edge stands for a try that succeeded: the thread cannot wait
    /// there.
    pub asked_mode: u32,
    /// Sum of [`in_set`] over all locks that the thread held, [`Event::set`] of the edge's event.
    pub set: u64,
}

/// What a lock adds to [`EdgeKey::set`]. Spreads the bits, so that sums of different sets differ.
#[inline(always)]
#[must_use]
pub const fn in_set(slot: u32, mode: u32) -> u64 {
    let word = ((mode as u64) << 32 | slot as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// Threads of an edge that are remembered, each at its id's place in as many.
pub const THREADS: usize = 8;

/// How often it happened, and to whom.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Calls.
    pub count: u64,
    /// `CLOCK_MONOTONIC` time of the first.
    pub first_ns: u64,
    /// Thread of the first.
    pub tid: u32,
    /// Bits in which the ids of other threads differed from that of the first: 0 when there was no other one.
    pub differs: u32,
    /// Threads by id modulo [`THREADS`], the last one of each, 0 = none.
    pub threads: [u32; THREADS],
}

/// Ring buffer record: something about entry points that has a stack, [`Event`].
pub const EVENT: u32 = 16;

/// A new [`EdgeKey`]: `other` is asked for while `held` is held. A mutex that a wait on a condition variable will take again
/// is asked for too.
pub const EVENT_EDGE: u32 = 1;
/// `held` was held longer than ever before: at least twice as long as the last one that was told.
pub const EVENT_LONG_HOLD: u32 = 2;
/// A wait on condition variable `other` began while `held`, which is not its mutex, is held.
pub const EVENT_WAIT_HOLDING: u32 = 3;
/// `other`, a condition variable, was signalled and nobody waited on it. Told once.
pub const EVENT_UNHEARD: u32 = 4;
/// A process forks while `held` is held.
pub const EVENT_FORK_HOLDING: u32 = 5;
/// A thread ended while it held `held`; not told when the whole process ends. The stack of the end is empty.
pub const EVENT_EXIT_HOLDING: u32 = 6;

/// A lock of a held set.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its slot.
    pub slot: u32,
    /// `MODE_*` in which it is held.
    pub mode: u32,
}

/// Something that is worth its stacks.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// [`EVENT`].
    pub kind: u32,
    /// `EVENT_*`.
    pub what: u32,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// See [`LockKey::generation`].
    pub generation: u32,
    /// Members of `set`.
    pub members: u32,
    /// Slot of the lock that is held, [`crate::lock::NO_SLOT`] = none.
    pub held: u32,
    /// Slot of the other lock, [`crate::lock::NO_SLOT`] = none.
    pub other: u32,
    /// Bytes of `held_stack`.
    pub held_bytes: u32,
    /// Bytes of `stack`.
    pub stack_bytes: u32,
    /// `CLOCK_MONOTONIC` time.
    pub at_ns: u64,
    /// How long `held` has been held, in nanoseconds.
    pub held_ns: u64,
    /// The edge, with [`EVENT_EDGE`]; zero else.
    pub edge: EdgeKey,
    /// All locks that the thread holds, `held` included.
    pub set: [Member; MAX_HELD],
    /// Where `held` was acquired, see [`Place::regs`].
    pub held_regs: Regs,
    /// Where the call is made, likewise.
    pub regs: Regs,
    /// The thread's name, NUL-padded.
    pub comm: [u8; 16],
    /// Stack memory from `held_regs.sp` upwards.
    pub held_stack: [u8; PIECE_BYTES],
    /// Stack memory from `regs.sp` upwards.
    pub stack: [u8; STACK_BYTES],
}

const _: () = assert!(size_of::<Place>() == 96 + PIECE_BYTES && size_of::<EdgeKey>() == 24);
const _: () =
    assert!(size_of::<Lock>() == 216 + 16 * BUCKETS && size_of::<Edge>() == 24 + 4 * THREADS);
const _: () = assert!(size_of::<Event>() == 224 + PIECE_BYTES + STACK_BYTES);

/// What a probed function does, packed into the owner's 32 bits of the attach cookie. 0 is no call.
pub mod call {
    /// Bits of the action.
    pub const ACTION: u32 = 0xf;
    /// Asks for the lock; the return tells whether it was got.
    pub const ACQUIRE: u32 = 1;
    /// Gives the lock up.
    pub const RELEASE: u32 = 2;
    /// The lock is no more.
    pub const DESTROY: u32 = 3;
    /// Waits on a condition variable; the second argument is the mutex.
    pub const WAIT: u32 = 4;
    /// Wakes waiters of a condition variable.
    pub const SIGNAL: u32 = 5;
    /// Gives a unit of a semaphore back.
    pub const POST: u32 = 6;
    /// Makes another process.
    pub const FORK: u32 = 7;

    /// Where the kind of the lock is (`KIND_*`), 4 bits.
    pub const KIND_SHIFT: u32 = 4;
    /// Where the mode is (`MODE_*`), 4 bits.
    pub const MODE_SHIFT: u32 = 8;
    /// Where the number of the argument is that points to the lock, 4 bits.
    pub const ARGUMENT_SHIFT: u32 = 12;

    /// Where it is told how the result says what happened, 4 bits.
    pub const RESULT_SHIFT: u32 = 16;
    /// 0, or an error number.
    pub const RESULT_ERRNO: u32 = 0;
    /// 0, or -1 and `errno`.
    pub const RESULT_MINUS_ONE: u32 = 1;
    /// A `thrd_*` constant.
    pub const RESULT_THRD: u32 = 2;
    /// Nothing: it was got.
    pub const RESULT_NONE: u32 = 3;
}
