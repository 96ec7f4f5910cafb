//! How the agent itself is: its loops, its programs, its queues, what it costs and what it has given up to cost less.

use serde::{Deserialize, Serialize};

/// One supervised loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Name, e.g. `watch`.
    pub name: String,
    /// Turns finished since the agent started.
    pub beats: u64,
    /// Time since the last beat in nanoseconds.
    pub last_beat_ns: u64,
    /// Without a beat for longer than this, in nanoseconds, the loop counts as stuck and `/livez` fails.
    pub patience_ns: u64,
    /// Turns that ran into their deadline.
    pub overruns: u64,
    /// Turns that panicked.
    pub panics: u64,
    /// Times that it was started again.
    pub restarts: u64,
    /// Longest turn in nanoseconds.
    pub turn_max_ns: u64,
}

impl Loop {
    /// Whether it has beaten within its patience.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.last_beat_ns <= self.patience_ns
    }
}

/// One attached BPF program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Name in the object.
    pub name: String,
    /// Times that it ran; `None` when the kernel does not count (`kernel.bpf_stats_enabled`).
    pub runs: Option<u64>,
    /// Nanoseconds that it ran for, likewise.
    pub run_ns: Option<u64>,
}

/// One bounded queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Name, e.g. `webhook`.
    pub name: String,
    /// Entries now.
    pub depth: u64,
    /// Most entries that it holds.
    pub capacity: u64,
    /// Entries that were dropped because it was full, or given up after all tries.
    pub dropped: u64,
}

/// How much the agent does, from everything to nothing; each step leaves out more than the one before.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything.
    #[default]
    Full,
    /// No stacks are sampled; new locks are named by their address only until it is back at full.
    NoStacks,
    /// No samples at all: counts and ages.
    NoSamples,
    /// Hot locks are not counted in detail any more.
    NoDetail,
    /// No hook is attached: parked threads are counted by the task iterator, at no cost to the watched programs.
    Census,
    /// Nothing at all: the kill switch is set.
    Off,
}

/// What the agent costs, and what the governor does about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Share of one CPU that the agent's own threads used over the last period, 0.01 is 1 %.
    pub cpu_share: f64,
    /// Share of one CPU that the BPF programs used over the last period; `None` when the kernel does not tell.
    pub bpf_share: Option<f64>,
    /// Resident memory of the agent in bytes.
    pub resident_bytes: u64,
    /// Memory of its maps in the kernel in bytes.
    pub map_bytes: u64,
    /// What is still done.
    pub level: Level,
    /// Why it is not `full`, in one sentence.
    pub why: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// When the agent started, RFC 3339 in UTC.
    pub started_at: String,
    /// Its loops.
    pub loops: Vec<Loop>,
    /// Attached programs; empty in census mode.
    pub programs: Vec<Program>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Cost.
    pub cost: Cost,
    /// Incidents that were held back: by a cool-down, by the rate limit, by a mute rule.
    pub held_back: HeldBack,
    /// Configurations that were read again.
    #[serde(default)]
    pub reloads: Reloads,
}

/// Configurations that were read again while the agent ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// Taken over.
    pub ok: u64,
    /// Refused: the one before stayed.
    pub refused: u64,
}

/// Incidents for which no alert was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Found again too soon after they were resolved.
    pub cool_down: u64,
    /// Beyond the rate limit of the whole agent.
    pub rate_limit: u64,
    /// Muted by a rule.
    pub muted: u64,
}
