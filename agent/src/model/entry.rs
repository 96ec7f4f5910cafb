//! What probes on every lock and unlock tell of a process: holds, lock order, mistakes, and what the probes cost.

use serde::{Deserialize, Serialize};

use super::{
    Frame, hex,
    histogram::{self, Bucket},
};

/// What `--probe entry` saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReport {
    /// Locks that were taken, most time waited for first, then most time held.
    pub locks: Vec<EntryLock>,
    /// Locks beyond the bound.
    pub locks_left_out: u64,
    /// Circles in the order in which threads take locks: threads that meet in one wait for each other for ever, even if
    /// they never did so far. Each circle once, short ones first.
    pub potential_deadlocks: Vec<PotentialDeadlock>,
    /// Circles that were found to be harmless, and what was not looked at.
    pub order_check: OrderCheck,
    /// Which lock was taken while which was held, most often first: the graph that circles were looked for in.
    pub order: Vec<OrderEdge>,
    /// Edges beyond the bound; circles were looked for in all of them.
    pub order_left_out: u64,
    /// Calls that are wrong, or wrong in all likelihood.
    pub mistakes: Vec<Mistake>,
    /// Mistakes beyond the bound.
    pub mistakes_left_out: u64,
    /// What the probes cost the target; null when that is not known.
    pub price: Option<Price>,
}

/// What a lock is, by the functions that are called with it: exact.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// `pthread_mutex_t`, `mtx_t`.
    Mutex,
    /// `pthread_rwlock_t`.
    Rwlock,
    /// `pthread_spinlock_t`.
    Spin,
    /// `pthread_cond_t`, `cnd_t`: nobody holds it.
    Condvar,
    /// `sem_t`: nobody holds it.
    Semaphore,
    /// `pthread_barrier_t`: nobody holds it.
    Barrier,
    /// A lock of functions that the user named.
    #[default]
    Named,
}

impl EntryKind {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::Rwlock => "rwlock",
            Self::Spin => "spin",
            Self::Condvar => "condvar",
            Self::Semaphore => "semaphore",
            Self::Barrier => "barrier",
            Self::Named => "named",
        }
    }

    /// Whether somebody can hold it.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Mutex | Self::Rwlock | Self::Spin | Self::Named)
    }
}

/// One lock, with every call counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLock {
    /// Stable across restarts and machines: see [`crate::runtime::identity`].
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// Address that the program passes to its lock functions.
    #[serde(with = "hex")]
    pub address: u64,
    /// How many locks were seen at this address before: another number is another lock.
    pub generation: u32,
    /// What it is.
    pub kind: EntryKind,
    /// `name` or `name+0x10` for a lock in static storage.
    pub symbol: Option<String>,
    /// Innermost application frame of an acquisition, e.g. `refresh config.c:88`; null when none was sampled.
    pub site: Option<String>,
    /// Calls that returned with it, nested ones of a recursive lock included; waits on a condition variable, semaphore or
    /// barrier that were not in vain.
    pub acquisitions: u64,
    /// Those by readers.
    pub reads: u64,
    /// Those by a thread that held it already.
    pub repeated: u64,
    /// Those that found it taken, or slept.
    pub contended: u64,
    /// Returns from a wait on a condition variable, which take the mutex again; not in `acquisitions`.
    pub reacquired: u64,
    /// Tries that found it taken.
    pub failed_tries: u64,
    /// Calls that gave up after their time.
    pub timeouts: u64,
    /// Calls that failed otherwise.
    pub errors: u64,
    /// Calls that gave it up; posts, signals and broadcasts.
    pub releases: u64,
    /// Releases by a thread that was not seen to take it.
    pub unmatched: u64,
    /// Signals and broadcasts when nobody waited.
    pub unheard: u64,
    /// How long the contended acquisitions took from the call to its return.
    pub wait: Times,
    /// How long it was held each time, by those that let go.
    pub hold: Times,
    /// The longest of the finished holds that was looked at: some that were not may have been longer, by less than twice.
    /// Null when none was.
    pub longest_hold: Option<LongestHold>,
    /// Who holds it now; null when nobody does, when readers do, and when probes were taken off.
    pub holder: Option<EntryHolder>,
    /// Readers that hold it now, or threads that wait on it when it cannot be held.
    pub users: u64,
    /// It was destroyed.
    pub destroyed: bool,
}

/// Durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// Their sum in nanoseconds.
    pub total_ns: u64,
    /// The longest in nanoseconds.
    pub max_ns: u64,
    /// Non-empty buckets, ascending; their counts add up to `count`.
    pub histogram: Vec<Bucket>,
}

impl EntryLock {
    /// Adds the numbers of another lock; names stay, and so does the holder if there is one.
    pub fn add(&mut self, other: &Self) {
        let Self {
            id: _,
            pid: _,
            address: _,
            generation: _,
            kind: _,
            symbol: _,
            site: _,
            acquisitions,
            reads,
            repeated,
            contended,
            reacquired,
            failed_tries,
            timeouts,
            errors,
            releases,
            unmatched,
            unheard,
            wait,
            hold,
            longest_hold,
            holder,
            users,
            destroyed,
        } = self;
        for (sum, more) in [
            (acquisitions, other.acquisitions),
            (reads, other.reads),
            (repeated, other.repeated),
            (contended, other.contended),
            (reacquired, other.reacquired),
            (failed_tries, other.failed_tries),
            (timeouts, other.timeouts),
            (errors, other.errors),
            (releases, other.releases),
            (unmatched, other.unmatched),
            (unheard, other.unheard),
            (users, other.users),
        ] {
            *sum = sum.saturating_add(more);
        }
        wait.add(&other.wait);
        hold.add(&other.hold);
        let ns = |hold: &Option<LongestHold>| hold.as_ref().map_or(0, |hold| hold.held_ns);
        if ns(&other.longest_hold) > ns(longest_hold) {
            longest_hold.clone_from(&other.longest_hold);
        }
        if holder.is_none() {
            holder.clone_from(&other.holder);
        }
        *destroyed &= other.destroyed;
    }
}

impl Times {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.histogram = histogram::sum([&*self.histogram, &*other.histogram]);
    }
}

/// A hold that lasted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongestHold {
    /// How long in nanoseconds.
    pub held_ns: u64,
    /// The thread that held it.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// Where it took it, innermost first; empty when the stack could not be read.
    pub acquired_frames: Vec<Frame>,
    /// Where it let go.
    pub released_frames: Vec<Frame>,
}

/// Who holds a lock, from its own calls: exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHolder {
    /// Thread id.
    pub tid: u32,
    /// Its name; empty when it is gone.
    pub comm: String,
    /// For how long it has held it, in nanoseconds.
    pub since_ns: u64,
    /// Where it took it, innermost first; empty when the stack could not be read.
    pub frames: Vec<Frame>,
}

/// How a lock is held.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By nobody else.
    #[default]
    Exclusive,
    /// By other readers too.
    Shared,
}

/// A lock in the lock order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderLock {
    /// Process id.
    pub pid: u32,
    /// As in [`EntryLock::address`].
    #[serde(with = "hex")]
    pub address: u64,
    /// As in [`EntryLock::generation`].
    pub generation: u32,
    /// Its symbol, else its kind and address.
    pub name: String,
}

/// A lock that was taken while another one was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEdge {
    /// What was held.
    pub held: OrderLock,
    /// How.
    pub held_mode: Mode,
    /// What was taken.
    pub acquired: OrderLock,
    /// How.
    pub acquired_mode: Mode,
    /// It was taken by a call that never waits (`trylock`): such an edge is in no circle.
    pub trylock: bool,
    /// It was taken by a call that gives up after a time: a circle that it closes comes undone then.
    pub timed: bool,
    /// How often.
    pub count: u64,
    /// Threads that were seen doing so.
    pub threads: Vec<OrderThread>,
    /// There were more than those.
    pub more_threads: bool,
    /// Locks that were held besides, each time: a circle whose edges share one is harmless.
    pub gates: Vec<OrderLock>,
    /// Where `held` was taken, innermost first; empty when the stack could not be read, and beyond the first 500 edges of
    /// the graph.
    pub held_frames: Vec<Frame>,
    /// Where `acquired` was taken.
    pub acquired_frames: Vec<Frame>,
}

/// A thread that took locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderThread {
    /// Thread id.
    pub tid: u32,
    /// Its name; empty when it is gone.
    pub comm: String,
}

/// A circle in the lock order that different threads can close.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PotentialDeadlock {
    /// The circle: each edge takes what the next one holds, the last one what the first one holds.
    pub edges: Vec<OrderEdge>,
    /// How often the rarest of the edges was seen.
    pub count: u64,
    /// Threads that were seen on its edges, at least.
    pub threads: u64,
    /// Circles of other locks that are closed at the same places of the code.
    pub alike: u64,
    /// `a then b at x.c:10, b then a at y.c:20`.
    pub text: String,
}

/// What became of the circles that are not reported, and what the graph is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCheck {
    /// Locks in the graph.
    pub locks: u64,
    /// Edges in the graph.
    pub edges: u64,
    /// Pairs of locks in both orders that are harmless, since one more lock is held each time.
    pub gated: u64,
    /// Such pairs that are harmless, since one thread alone takes them in both orders.
    pub one_thread: u64,
    /// Such pairs that are harmless, since readers would wait for readers.
    pub readers: u64,
    /// Edges that were not looked at, since it is not known what else was held: their records were lost.
    pub unjudged: u64,
    /// Circles beyond the bound on reports.
    pub left_out: u64,
    /// Locks of tangles too large to search for longer circles within the bounds; circles of two were found.
    pub unsearched: u64,
}

/// What is wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MistakeKind {
    /// A thread waits on a condition variable and keeps a lock that is not the one it gave up.
    WaitWithLockHeld,
    /// A signal when nobody waited, and then a wait that nobody ended.
    LostWakeupSuspect,
    /// `fork` while another thread, or this one, holds a mutex: the child inherits it locked.
    HeldAcrossFork,
    /// A thread ended with a lock that it held.
    HeldAtThreadExit,
}

impl MistakeKind {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitWithLockHeld => "wait_with_lock_held",
            Self::LostWakeupSuspect => "lost_wakeup_suspect",
            Self::HeldAcrossFork => "held_across_fork",
            Self::HeldAtThreadExit => "held_at_thread_exit",
        }
    }
}

/// A call that is wrong, or wrong in all likelihood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// What is wrong.
    pub kind: MistakeKind,
    /// Process id.
    pub pid: u32,
    /// The thread that was first seen making it; the one that waits for a signal that was given too early.
    pub tid: u32,
    /// Its name; empty when it is gone.
    pub comm: String,
    /// The lock that is held, or the condition variable that is waited on in vain.
    pub lock: OrderLock,
    /// The condition variable that is waited on with `lock` held; null for other mistakes.
    pub condvar: Option<OrderLock>,
    /// How often it was seen at the same place, with the same locks.
    pub count: u64,
    /// Where, innermost first; empty when the stack could not be read, and for the end of a thread.
    pub frames: Vec<Frame>,
    /// Where `lock` was taken, or where the signal was given that nobody heard; empty when that was not sampled.
    pub cause_frames: Vec<Frame>,
    /// All of this in one sentence.
    pub text: String,
}

/// What the probes cost the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Measured cost of one hit on this machine, in nanoseconds.
    pub ns_per_hit: u64,
    /// Hits while recording.
    pub hits: u64,
    /// Time spent in probes, of the target's CPU time, in millionths.
    pub share_ppm: u64,
    /// The share was too high, so that the probes were taken off before the recording ended.
    pub detached_by_governor: bool,
    /// All of this in one sentence.
    pub text: String,
}
