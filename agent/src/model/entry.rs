//! What probes on every lock and unlock tell of a process: holds, lock order, mistakes, and what the probes cost.

use serde::{Deserialize, Serialize};

use super::{Frame, Kind, hex, histogram::Bucket};

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
    /// What the probes cost the target; null when that is not known.
    pub price: Option<Price>,
}

/// One lock, with every acquisition counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLock {
    /// Stable across restarts and machines: see [`crate::runtime::identity`].
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// Address that the program passes to its lock functions.
    #[serde(with = "hex")]
    pub address: u64,
    /// How many locks at this address were destroyed before: another number is another lock.
    pub generation: u32,
    /// What the functions that are called with it take: exact.
    pub kind: Kind,
    /// `name` or `name+0x10` for a lock in static storage.
    pub symbol: Option<String>,
    /// Innermost application frame of an acquisition, e.g. `refresh config.c:88`; null when none was sampled.
    pub site: Option<String>,
    /// Times that it was taken, by readers too; nested ones of a recursive lock are not counted.
    pub acquisitions: u64,
    /// How many of them had to wait.
    pub contended: u64,
    /// Tries that did not get it: `trylock` of a lock that is taken, timeouts.
    pub failed_tries: u64,
    /// Time that acquisitions took from the call to its return.
    pub wait: Times,
    /// Time from an acquisition to its release.
    pub hold: Times,
    /// The longest of the finished holds; null when none was sampled.
    pub longest_hold: Option<LongestHold>,
    /// Who holds it now; null when nobody does, or readers do.
    pub holder: Option<EntryHolder>,
    /// Readers that hold it now.
    pub readers: u64,
}

/// Durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Their sum in nanoseconds.
    pub total_ns: u64,
    /// The longest in nanoseconds.
    pub max_ns: u64,
    /// Non-empty buckets, ascending; their counts add up to all that were measured.
    pub histogram: Vec<Bucket>,
}

/// A hold that lasted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongestHold {
    /// How long in nanoseconds.
    pub held_ns: u64,
    /// The thread that held it.
    pub tid: u32,
    /// Its name; empty when it is gone.
    pub comm: String,
    /// Where it let go, innermost first; empty when the stack could not be read.
    pub frames: Vec<Frame>,
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
    /// How often.
    pub count: u64,
    /// Threads that were seen doing so, at most 8.
    pub threads: Vec<OrderThread>,
    /// Locks that were held besides, each time: a circle whose edges share one is harmless.
    pub gates: Vec<OrderLock>,
    /// Where `held` was taken, innermost first; empty when the stack could not be read.
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
    /// Threads that were seen on its edges.
    pub threads: u64,
    /// Circles of other locks that are closed at the same places of the code.
    pub alike: u64,
    /// `a then b at x.c:10, b then a at y.c:20`.
    pub text: String,
}

/// What became of the circles that are not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCheck {
    /// Locks in the graph.
    pub locks: u64,
    /// Edges in the graph.
    pub edges: u64,
    /// Circles that cannot close since all their edges are made under one more lock.
    pub gated: u64,
    /// Circles that cannot close since one thread made two of their edges, and no other one did.
    pub one_thread: u64,
    /// Circles that cannot close since a reader would only wait for readers.
    pub readers: u64,
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
    /// A thread let go of a lock that another one holds.
    ReleasedByOther,
    /// A lock was destroyed while it was held.
    DestroyedWhileHeld,
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
            Self::ReleasedByOther => "released_by_other",
            Self::DestroyedWhileHeld => "destroyed_while_held",
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
    /// The thread that was first seen making it.
    pub tid: u32,
    /// Its name; empty when it is gone.
    pub comm: String,
    /// The lock that it is about; a condition variable's own for waits and signals.
    pub lock: OrderLock,
    /// The lock that is held meanwhile; null where there is no second one.
    pub held: Option<OrderLock>,
    /// How often it was seen.
    pub count: u64,
    /// Where, innermost first; empty when the stack could not be read.
    pub frames: Vec<Frame>,
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
