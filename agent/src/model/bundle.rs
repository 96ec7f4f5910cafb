//! `holdup.bundle/v1`: all that is known of an incident at one moment, kept because nobody may be there to look.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Kind, Outcomes, Snapshot, health::Health, hex, histogram::Bucket, incident::Incident,
    lock::WaitNs,
};

/// Value of `schema`.
pub const SCHEMA: &str = "holdup.bundle/v1";

/// What a bundle was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The incident was opened.
    Opened,
    /// Its waiters have doubled since the last bundle.
    Doubled,
}

impl Why {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Doubled => "doubled",
        }
    }
}

/// The evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the work for it began, RFC 3339 in UTC.
    pub taken_at: String,
    /// What for.
    pub why: Why,
    /// The incident as it was then.
    pub incident: Incident,
    /// What is blocked right now; null when it could not be taken: `limits` says why.
    pub snapshot: Option<Snapshot>,
    /// What the kernel side has counted of the process's locks, those with most waiters and waiting first.
    pub locks: Vec<Recorded>,
    /// Further locks of the process.
    pub locks_left_out: u64,
    /// The minutes before.
    pub flight: Flight,
    /// The process; null when it was gone.
    pub process: Option<ProcessFacts>,
    /// The control group that limits it; null when it has none that can be read.
    pub cgroup: Option<CgroupFacts>,
    /// What the agent has lost since it started, by reason.
    pub loss: BTreeMap<String, u64>,
    /// How the agent itself was.
    pub health: Health,
    /// What was left out, and why.
    pub limits: Limits,
}

/// Counts of a lock since it was first waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Stable id, see [`super::Lock::id`].
    pub id: String,
    /// Address in this process.
    #[serde(with = "hex")]
    pub address: u64,
    /// What is waited for.
    pub kind: Kind,
    /// Symbol, for a static lock.
    pub symbol: Option<String>,
    /// Where it is waited for.
    pub site: Option<String>,
    /// Threads that waited.
    pub waiters: u64,
    /// Most that waited at once.
    pub waiters_peak: u64,
    /// Age of the longest wait in nanoseconds; null when nobody waited.
    pub oldest_wait_ns: Option<u64>,
    /// `oldest_wait_ns` is a lower bound.
    pub oldest_is_at_least: bool,
    /// What was counted; null when no probe was attached.
    pub counts: Option<Counts>,
}

/// Finished waits of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many: the sum of `outcomes`, and of the histogram's counts.
    pub waits: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Calls that never slept because the word had changed: not waits.
    pub value_changed: u64,
    /// Wakes while somebody waited.
    pub wakes: u64,
    /// How long they took.
    pub wait_ns: WaitNs,
    /// Time since a waiter was last released, in nanoseconds; null when none was.
    pub last_handoff_ns: Option<u64>,
    /// Non-empty buckets, ascending.
    pub histogram: Vec<Bucket>,
}

/// What the flight recorder has of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Oldest first.
    pub intervals: Vec<Interval>,
}

/// One interval of the flight recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// When it ended, RFC 3339 in UTC.
    pub at: String,
    /// Its length in nanoseconds.
    pub duration_ns: u64,
    /// The process; null when it had no waiter, or when the recorder had no room for it.
    pub process: Option<Moved>,
    /// Locks of the process that were kept: that of the incident first.
    pub locks: Vec<LockMoved>,
    /// The recorder had no room for all of the node's locks or processes: one that is not here may still have moved.
    pub is_partial: bool,
}

/// What happened in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Threads that waited at its end.
    pub waiters: u64,
    /// Waits that ended.
    pub waits: u64,
    /// Those that ended by a wake: the lock was handed on.
    pub handoffs: u64,
    /// How long the waits that ended took, in nanoseconds.
    pub wait_ns: u64,
}

impl Moved {
    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.waiters = self.waiters.saturating_add(other.waiters);
        self.waits = self.waits.saturating_add(other.waits);
        self.handoffs = self.handoffs.saturating_add(other.handoffs);
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
    }
}

/// What happened to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockMoved {
    /// Its address.
    #[serde(with = "hex")]
    pub address: u64,
    /// What was waited for: the readers and the writers of a lock are told apart.
    pub kind: Kind,
    /// What happened.
    #[serde(flatten)]
    pub moved: Moved,
}

/// A process as the kernel describes it. What cannot be read is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Path of the executable in its own mount namespace.
    pub exe: Option<String>,
    /// Threads.
    pub threads: Option<u64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Memory that was swapped out, in bytes.
    pub swapped_bytes: Option<u64>,
    /// Descriptors that it may have (`RLIMIT_NOFILE`, soft).
    pub max_files: Option<u64>,
    /// Threads that its user may have (`RLIMIT_NPROC`, soft).
    pub max_threads: Option<u64>,
    /// How readily the kernel kills it when memory runs out, from -1000 to 1000.
    pub oom_score_adj: Option<i64>,
}

/// A control group's limits and how near it is to them. What cannot be read, or has no limit, is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// Path in the hierarchy.
    pub path: String,
    /// Memory in use, in bytes.
    pub memory_bytes: Option<u64>,
    /// Limit of it, its own or that of a group above it.
    pub memory_max_bytes: Option<u64>,
    /// Times that the limit was reached and nothing could be freed.
    pub oom: Option<u64>,
    /// Processes killed for it.
    pub oom_kills: Option<u64>,
    /// Processors that it may use, in thousandths; its own limit or that of a group above it.
    pub cpu_max_milli: Option<u64>,
    /// Periods in which it was throttled.
    pub cpu_throttled: Option<u64>,
    /// Time that it was throttled for, in nanoseconds.
    pub cpu_throttled_ns: Option<u64>,
    /// Threads.
    pub tasks: Option<u64>,
    /// Limit of them, its own or that of a group above it.
    pub tasks_max: Option<u64>,
    /// Pressure stall information by resource (`cpu`, `memory`, `io`).
    pub pressure: BTreeMap<String, Pressure>,
}

/// For how much of the time tasks stalled for want of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// At least one of them, over the last 10 s, in hundredths of a percent.
    pub some_10s: u64,
    /// The same over the last 60 s.
    pub some_60s: u64,
    /// All of them at once, over the last 10 s.
    pub full_10s: Option<u64>,
    /// The same over the last 60 s.
    pub full_60s: Option<u64>,
}

/// How the work for a bundle was bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time that it was given, in nanoseconds.
    pub deadline_ns: u64,
    /// Time that it took, in nanoseconds.
    pub took_ns: u64,
    /// Threads beyond which stacks are sampled.
    pub ceiling: u64,
    /// Threads that were counted: all of them.
    pub threads: u64,
    /// Threads whose stacks were read.
    pub stacks: u64,
    /// What was left out and why, a sentence each; empty when nothing was.
    pub notes: Vec<String>,
}
