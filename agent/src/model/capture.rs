//! `holdup.capture/v1`: what was seen while recording.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    EntryReport, GoProcess, Lock,
    explanation::{Deadlock, RootBlocker},
    plan::PlanEntry,
    process::Process,
};

/// Value of `schema`.
pub const SCHEMA: &str = "holdup.capture/v1";

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// [`SCHEMA`].
    pub schema: String,
    /// Start, RFC 3339 in UTC.
    pub started_at: String,
    /// Length of the recording in nanoseconds.
    pub duration_ns: u64,
    /// The probe table with each row's fate.
    pub plan: Vec<PlanEntry>,
    /// Everything lost, by reason; all reasons are present, 0 from the start.
    pub loss: BTreeMap<String, u64>,
    /// Processes that waited.
    pub processes: Vec<Process>,
    /// Locks, most total wait (finished and going on) first.
    pub locks: Vec<Lock>,
    /// Roots that somebody waits behind: those that hold most threads up first.
    #[serde(default)]
    pub root_blockers: Vec<RootBlocker>,
    /// Threads that wait for each other.
    #[serde(default)]
    pub deadlocks: Vec<Deadlock>,
    /// Processes written in Go that were looked at, with their goroutines.
    #[serde(default)]
    pub go: Vec<GoProcess>,
    /// What probes on every lock and unlock saw; null when they were not asked for.
    #[serde(default)]
    pub entry: Option<Box<EntryReport>>,
}
