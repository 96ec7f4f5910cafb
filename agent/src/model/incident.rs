//! Incidents: something is held up, since when, and whether it still is.

use serde::{Deserialize, Serialize};

use super::{Kind, explanation::Explanation, hex, workload::Workload};

/// Version of the document.
pub const SCHEMA: &str = "holdup.incident/v1";

/// Which detector found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Many threads wait for one lock, or in one process.
    Parked,
    /// Threads wait and nothing is handed on.
    Stalled,
    /// Waiters rise and rise.
    Growing,
    /// One thread has waited for very long.
    LongWait,
    /// Owners wait for each other in a circle.
    Deadlock,
}

impl Reason {
    /// Name as in JSON, labels and rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Stalled => "stalled",
            Self::Growing => "growing",
            Self::LongWait => "long_wait",
            Self::Deadlock => "deadlock",
        }
    }
}

/// Where in its life an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It goes on.
    Open,
    /// It is over.
    Resolved,
}

/// Why no alert is due for an incident, though it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBackBy {
    /// An alert about it was resolved a moment ago: it would only flap.
    CoolDown,
    /// The agent has sent as many alerts as it may.
    RateLimit,
    /// A rule mutes it.
    Muted,
    /// Another open incident of the same lock has alerted; that one stays open as long as this one.
    SameLock,
}

impl HeldBackBy {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CoolDown => "cool_down",
            Self::RateLimit => "rate_limit",
            Self::Muted => "muted",
            Self::SameLock => "same_lock",
        }
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Threads.
    #[default]
    Threads,
    /// Goroutines of a program written in Go.
    Goroutines,
    /// Some of each.
    Both,
}

impl Who {
    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Threads, Self::Threads) => Self::Threads,
            (Self::Goroutines, Self::Goroutines) => Self::Goroutines,
            _ => Self::Both,
        }
    }

    /// What one of them is called, and what several are.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Threads => ("thread", "threads"),
            Self::Goroutines => ("goroutine", "goroutines"),
            Self::Both => ("thread or goroutine", "threads and goroutines"),
        }
    }
}

/// The lock that an incident is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRef {
    /// Stable id, see [`super::Lock::id`].
    pub id: String,
    /// Address in this process.
    #[serde(with = "hex")]
    pub address: u64,
    /// Kind.
    pub kind: Kind,
    /// Symbol, for a static lock.
    pub symbol: Option<String>,
    /// Where it is waited for.
    pub site: Option<String>,
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// [`SCHEMA`].
    pub schema: String,
    /// Same for the same workload, lock id and reason, also after a restart of the agent or of the process: what
    /// alerts are grouped by.
    pub key: String,
    /// Which detector.
    pub reason: Reason,
    /// Open or resolved.
    pub status: Status,
    /// When it was opened, RFC 3339.
    pub opened_at: String,
    /// When it was last seen to be true, RFC 3339.
    pub refreshed_at: String,
    /// When it was over, RFC 3339.
    pub resolved_at: Option<String>,
    /// Process id.
    pub pid: u32,
    /// Process name.
    pub comm: String,
    /// Where the process runs.
    pub workload: Workload,
    /// Which lock; null when it is about a process as a whole.
    pub lock: Option<LockRef>,
    /// Who waits: a word for sentences.
    #[serde(default)]
    pub who: Who,
    /// How many wait now.
    pub waiters: u64,
    /// Most that were seen while it was open.
    pub waiters_peak: u64,
    /// Age of the longest wait in nanoseconds.
    pub oldest_wait_ns: Option<u64>,
    /// `oldest_wait_ns` is a lower bound.
    pub oldest_is_at_least: bool,
    /// What is held up, by whom, since when: one sentence.
    pub text: String,
    /// The chain to the root, once a snapshot has explained it.
    pub explanation: Option<Explanation>,
    /// File names of the snapshot bundles in the store.
    pub snapshots: Vec<String>,
    /// Why no alert may be sent about it, whatever happens to it; null when alerts are due.
    #[serde(default)]
    pub held_back: Option<HeldBackBy>,
}

/// What happened to an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new, or was found again after a restart (then no alert is due). Sent once more with `again: false` when
    /// what held its alert back is over and it goes on: then the alert is due.
    Opened {
        /// It was open before the agent was started.
        again: bool,
    },
    /// It goes on: the heartbeat.
    Refreshed,
    /// A snapshot has explained it: who holds it up, down to the root.
    Explained,
    /// Its waiters have doubled since the last snapshot: another one is due.
    Doubled,
    /// It is over.
    Resolved,
}

/// A change with the incident as it is after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// To what.
    pub incident: Incident,
}
