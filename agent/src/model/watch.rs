//! What one tick of the agent's watch saw: the whole node, as plain values that detectors, metrics and the flight
//! recorder read.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use holdup_abi::lock::BUCKETS;

use super::{
    Holder, Kind, Outcomes, explanation::Deadlock, go::Goroutines, plan::PlanEntry,
    workload::Workload,
};

/// Names a process for as long as it runs: ids are used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// See [`holdup_abi::lock::LockKey::generation`].
    pub generation: u32,
}

/// What a lock's `runtime` is if goroutines wait for it.
pub const GO: &str = "go";

/// A process that has a lock in the view, or is written in Go.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Which.
    pub key: ProcessKey,
    /// Name.
    pub comm: String,
    /// Path of the executable in its own mount namespace.
    pub exe: Option<String>,
    /// Where it runs.
    pub workload: Arc<Workload>,
    /// Threads parked in a futex wait now, by kind.
    pub parked: BTreeMap<Kind, u64>,
    /// Its goroutines, if it is written in Go.
    pub go: Option<Arc<Go>>,
}

/// Goroutines of a process, as they are counted from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Go {
    /// The release that built it, e.g. `go1.22.10`.
    pub version: String,
    /// Why they cannot be counted.
    pub error: Option<String>,
    /// Those that wait for a `Mutex`, an `RWMutex`, a `WaitGroup` or the like now, by kind.
    pub parked: BTreeMap<Kind, u64>,
    /// Most that there ever were at once, a few of the runtime's own among them.
    pub peak: u64,
    /// What all of them do, as of some seconds ago; `None` until they are counted.
    pub all: Option<Goroutines>,
}

/// What the kernel side has counted of a lock since its row came up. All but `last_handoff_ns` only grow from view to view
/// while the row is there. A row that is gone has shown its last counts in the last view that had it: a lock that comes
/// back after losing its place in the kernel's table, or that turns out to be of another kind, is another row, which
/// starts at 0. Whoever adds up the growth of each row counts every wait once.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Finished waits by outcome.
    pub outcomes: Outcomes,
    /// Calls that never slept because the word had changed: no waits.
    pub value_changed: u64,
    /// Wakes while somebody waited.
    pub wakes: u64,
    /// Sum of finished waits in nanoseconds.
    pub wait_ns: u64,
    /// Longest finished wait in nanoseconds.
    pub wait_max_ns: u64,
    /// Monotonic time of the last hand-off in nanoseconds; `None` when there was none.
    pub last_handoff_ns: Option<u64>,
    /// Finished waits by duration, see [`holdup_abi::lock::bucket_le_ns`]. Those that ended while the lock was counted
    /// without detail ([`super::health::Level::NoDetail`]) are in no bucket.
    pub histogram: [u64; BUCKETS],
}

impl Counts {
    /// Finished waits.
    #[must_use]
    pub const fn waits(&self) -> u64 {
        let Outcomes {
            woken,
            timed_out,
            interrupted,
            error,
        } = self.outcomes;
        woken + timed_out + interrupted + error
    }

    /// Waits that ended by a wake.
    #[must_use]
    pub const fn handoffs(&self) -> u64 {
        self.outcomes.woken
    }
}

/// A lock that somebody waits for, or has waited for.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its process.
    pub process: ProcessKey,
    /// Address of the lock object, else of the futex word. With `process` it names the lock within this run.
    pub address: u64,
    /// Stable across restarts and machines, see [`super::Lock::id`].
    pub id: Arc<str>,
    /// What is waited for.
    pub kind: Kind,
    /// Runtime that the lock belongs to.
    pub runtime: Option<Arc<str>>,
    /// `name` or `name+0x10` for a lock in static storage.
    pub symbol: Option<Arc<str>>,
    /// Innermost application frame of the wait site that was seen first, e.g. `refresh config.c:88`: it stays the same.
    pub site: Option<Arc<str>>,
    /// Threads, or goroutines, that wait now.
    pub waiters: u64,
    /// Most threads that waited at once.
    pub waiters_peak: u64,
    /// Monotonic time since which the longest waiter waits, in nanoseconds.
    pub oldest_since_ns: Option<u64>,
    /// The longest waiter may have waited for longer than that.
    pub oldest_is_at_least: bool,
    /// When its waiters were looked at, on the monotonic clock in nanoseconds; `None`: for this view.
    pub seen_ns: Option<u64>,
    /// Who holds it, as far as memory tells.
    pub holder: Option<Holder>,
    /// The holder has ended without letting go.
    pub abandoned: bool,
    /// What was counted; `None` when no probe is attached.
    pub counts: Option<Box<Counts>>,
}

impl Lock {
    /// Goroutines wait for it, not threads: those of the Go runtime wait for work and for the runtime itself only.
    #[must_use]
    pub fn is_of_goroutines(&self) -> bool {
        self.runtime.as_deref() == Some(GO) && !matches!(self.kind, Kind::Idle | Kind::Runtime)
    }

    /// Age of the longest wait at `at_ns` in nanoseconds, or when it was last looked at.
    #[must_use]
    pub fn oldest_wait_ns(&self, at_ns: u64) -> Option<u64> {
        let at_ns = self.seen_ns.map_or(at_ns, |seen_ns| seen_ns.min(at_ns));
        self.oldest_since_ns
            .map(|since_ns| at_ns.saturating_sub(since_ns))
    }

    /// What people call it: its symbol, else where it is waited for, else its id.
    #[must_use]
    pub fn name(&self) -> &str {
        let names = [&self.symbol, &self.site];
        names
            .into_iter()
            .find_map(|name| name.as_deref())
            .unwrap_or(&self.id)
    }
}

/// The node at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at_ns: u64,
    /// The same moment on the wall clock.
    pub at: SystemTime,
    /// Processes that have a lock below, and those that are written in Go, by key.
    pub processes: BTreeMap<ProcessKey, Process>,
    /// Locks with waiters, and those that had some since they got their place in the kernel's table. `process`, `address`
    /// and `kind` together name a row: no two are the same, and the counts of one that comes up anew start at 0. What has
    /// not changed is shared with the view before.
    pub locks: Vec<Arc<Lock>>,
    /// Circles of owners that were seen twice with nobody moving between.
    pub deadlocks: Vec<Deadlock>,
    /// What is attached, and why what is not is not.
    pub plan: Arc<[PlanEntry]>,
    /// What was lost, by name.
    pub loss: BTreeMap<String, u64>,
}
