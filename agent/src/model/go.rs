//! Goroutines of a process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Frame, Kind, hex};

/// How many goroutines there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goroutines {
    /// All that are alive, as `runtime.NumGoroutine` counts: without those of the runtime itself.
    pub total: u64,
    /// By status, in Go's words: `waiting`, `runnable`, `running`, `syscall`, ...
    pub by_status: BTreeMap<String, u64>,
    /// Those that wait, by reason in the words of the release: `sync.RWMutex.RLock`, `IO wait`, `chan send`, ...
    pub by_reason: BTreeMap<String, u64>,
}

/// Goroutines that do the same at the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Their status.
    pub state: String,
    /// What they wait for; null when they do not wait.
    pub reason: Option<String>,
    /// The lock, channel, `WaitGroup` or condition variable that they wait for; for a lock, equal to its `address`.
    #[serde(with = "hex::option")]
    pub lock: Option<u64>,
    /// What kind of lock that is; null for a channel and for what is not known.
    pub kind: Option<Kind>,
    /// Age of the longest wait in nanoseconds, a lower bound; null when none is known.
    pub oldest_ns: Option<u64>,
    /// Numbers of the first ones, at most 8.
    pub goids: Vec<u64>,
    /// What they wait for in words, e.g. `channel 0xc000012345 (full, 256 of 256)`; empty when there is no more to say.
    pub detail: String,
    /// The function that made them; null for the first goroutine.
    pub created_by: Option<String>,
    /// Innermost first; empty for those that run, and when the stack was not read.
    pub frames: Vec<Frame>,
}

/// A process written in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoProcess {
    /// Process id.
    pub pid: u32,
    /// The release that built it, e.g. `go1.22.10`.
    pub version: String,
    /// How it is known where its runtime keeps things: `table` (the release is known), `dwarf` (its own debug information),
    /// or a release whose layout fits, e.g. `go1.22`; empty when they could not be read.
    pub layout: String,
    /// Why its goroutines could not be read, e.g. `go1.40 not supported: ...`; null when they were.
    pub error: Option<String>,
    /// How many there are.
    pub goroutines: Goroutines,
    /// What they do, largest group first.
    pub groups: Vec<Group>,
    /// Groups beyond the bound.
    pub groups_left_out: u64,
    /// Goroutines that changed while they were read: they are counted, and their stacks are not shown.
    pub torn_reads: u64,
    /// Goroutines whose stacks were not read, since there are too many; they are counted in groups without frames.
    pub stacks_left_out: u64,
    /// How long reading took in nanoseconds.
    pub duration_ns: u64,
}
