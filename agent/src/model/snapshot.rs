//! `holdup.snapshot/v1`: what is blocked right now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Frame, GoProcess, Kind, Lock,
    explanation::{Deadlock, RootBlocker},
    hex,
    plan::PlanEntry,
    process::Process,
};

/// Value of `schema`.
pub const SCHEMA: &str = "holdup.snapshot/v1";

/// State of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// `running`, `sleeping`, `disk`, `stopped`, `traced`, `zombie` or `dead`.
    pub state: String,
    /// Name of the system call it is in (`futex`, `recvfrom`, ...); null outside one.
    pub syscall: Option<String>,
    /// The lock it waits for, equal to that lock's `address`.
    #[serde(with = "hex::option")]
    pub lock: Option<u64>,
    /// What kind of wait; null when it is not in a futex wait.
    pub kind: Option<Kind>,
    /// How long it has been asleep, in nanoseconds; null when not known.
    pub since_ns: Option<u64>,
    /// Innermost first; empty for a running thread or when the stack could not be read.
    pub frames: Vec<Frame>,
    /// Others in the same state at the same place that are not listed; absent where all threads are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alike: Option<Alike>,
}

/// Threads that another one stands for, in documents that would be too long with all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    /// How many, without the one that stands for them.
    pub threads: u64,
    /// Sum of their known `since_ns`, none of which is longer than that of the one listed.
    pub since_ns: u64,
}

impl Thread {
    /// Threads that it stands for: itself, and those that are not listed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.alike
            .map_or(0, |alike| alike.threads)
            .saturating_add(1)
    }

    /// Sum of their known ages in nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        let others = self.alike.map_or(0, |alike| alike.since_ns);
        self.since_ns.unwrap_or(0).saturating_add(others)
    }
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: String,
    /// When, RFC 3339 in UTC.
    pub taken_at: String,
    /// How long it took in nanoseconds.
    pub duration_ns: u64,
    /// The probe table with each row's fate.
    pub plan: Vec<PlanEntry>,
    /// Everything lost, by reason.
    pub loss: BTreeMap<String, u64>,
    /// Processes looked at.
    pub processes: Vec<Process>,
    /// Locks somebody waits for: those behind the root that holds most threads up first. Counts of finished waits are 0: nothing was recorded.
    pub locks: Vec<Lock>,
    /// Roots that somebody waits behind: those that hold most threads up first.
    #[serde(default)]
    pub root_blockers: Vec<RootBlocker>,
    /// Threads that wait for each other.
    #[serde(default)]
    pub deadlocks: Vec<Deadlock>,
    /// All threads looked at.
    pub threads: Vec<Thread>,
    /// Processes written in Go that were looked at, with their goroutines.
    #[serde(default)]
    pub go: Vec<GoProcess>,
}

impl Snapshot {
    /// Threads looked at, those not listed included.
    #[must_use]
    pub fn thread_count(&self) -> u64 {
        self.threads
            .iter()
            .fold(0, |sum: u64, thread| sum.saturating_add(thread.count()))
    }
}
