//! A lock and those who wait for it.

use serde::{Deserialize, Serialize};

use super::{
    Frame, Kind,
    explanation::{Confidence, Explanation, LockRef},
    hex,
    histogram::Bucket,
    hold::{Holds, Runqueue},
};

/// How finished waits ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Released by a wake.
    pub woken: u64,
    /// The caller's timeout passed.
    pub timed_out: u64,
    /// A signal ended the call with `EINTR`, or the thread died in it.
    pub interrupted: u64,
    /// The call failed otherwise.
    pub error: u64,
}

/// Total and longest finished wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNs {
    /// Sum over all finished waits in nanoseconds.
    pub total: u64,
    /// Longest finished wait in nanoseconds.
    pub max: u64,
}

/// A call path that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Finished waits from here: the lock's exact count shared out by the sampled waits' ratio. Sums to `waits`.
    pub waits: u64,
    /// Time spent in finished waits from here in nanoseconds, shared out likewise. Sums to `wait_ns.total`.
    pub wait_ns: u64,
    /// Threads that wait here now.
    pub waiters: u64,
    /// Sampled waits from here (exact).
    pub samples: u64,
    /// Innermost first. Empty when the stack could not be read.
    pub frames: Vec<Frame>,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id: another one than the lock's when processes share the lock; null when the thread is gone and nobody
    /// knows where it was.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Thread id.
    pub tid: u32,
    /// Number of the goroutine that holds it; null for locks of threads. Then `tid` is the thread that runs it, or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goid: Option<u64>,
    /// Thread name; empty when the thread is gone. For a goroutine, the function that it is in.
    pub comm: String,
    /// The evidence, e.g. `glibc mutex owner word`, `priority-inheritance futex word`, `glibc rwlock writer word`.
    pub known_by: String,
    /// How well it is known: written down by the lock, seen to happen, or concluded from circumstances.
    #[serde(default = "written")]
    pub confidence: Confidence,
    /// For how long it has been the holder, in nanoseconds; null when not known.
    #[serde(default)]
    pub since_ns: Option<u64>,
    /// `since_ns` is a lower bound.
    #[serde(default)]
    pub since_is_at_least: bool,
}

impl Holder {
    /// Its thread id, or what goroutine it is, for people.
    #[must_use]
    pub fn number(&self) -> String {
        match self.goid {
            Some(goid) => format!("goroutine {goid}"),
            None => self.tid.to_string(),
        }
    }
}

/// Documents from before there was any other evidence have owner words only.
const fn written() -> Confidence {
    Confidence::Exact
}

/// One lock of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Stable across restarts and machines: see [`crate::runtime::identity`].
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// Address of the lock object (`&mutex`) where its layout is known, else of the futex word.
    #[serde(with = "hex")]
    pub address: u64,
    /// What is waited for.
    pub kind: Kind,
    /// Runtime that the lock belongs to (`glibc`, `musl`, `rust-std`, `parking_lot`, ...); null when not recognised.
    pub runtime: Option<String>,
    /// Why `kind` and `runtime` are what they are, in one short sentence.
    #[serde(default)]
    pub evidence: String,
    /// `name` or `name+0x10` for a lock in static storage, or in a named object of memory that processes share.
    pub symbol: Option<String>,
    /// Innermost application frame of the heaviest site, e.g. `refresh config.c:88`; a readable name for the lock.
    pub site: Option<String>,
    /// Threads waiting now.
    pub waiters: u64,
    /// Most threads that waited at once, counted at entry: a call that found the word changed counts for a moment. A
    /// reader-writer lock that was waited on in two places has the sum of both peaks, an upper bound.
    pub waiters_peak: u64,
    /// Finished waits: the sum of `outcomes`, and of the histogram's counts.
    pub waits: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Calls that never slept because the word had changed (`EAGAIN`): not waits.
    pub value_changed: u64,
    /// Wake, unlock and requeue calls of the same process on this word while somebody waited.
    #[serde(default)]
    pub wakes: u64,
    /// How many of them were requeue calls, which move waiters to another word.
    #[serde(default)]
    pub requeues: u64,
    /// How long they took.
    pub wait_ns: WaitNs,
    /// Age of the longest wait still going on, in nanoseconds; null when nobody waits.
    pub oldest_wait_ns: Option<u64>,
    /// Some waiters were parked before recording began, so `oldest_wait_ns` is a lower bound.
    pub oldest_is_at_least: bool,
    /// Time since a waiter was last released by a wake, in nanoseconds; null when none was seen.
    pub last_handoff_ns: Option<u64>,
    /// Non-empty buckets, ascending.
    pub histogram: Vec<Bucket>,
    /// Call paths, most waiting first.
    pub sites: Vec<Site>,
    /// How long it is held by those who had to wait for it; null when no hold was measured, and for what is no lock.
    #[serde(default)]
    pub holds: Option<Holds>,
    /// How much of the waiting was the scheduler's doing; null when no wait ended, or the kernel does not tell.
    #[serde(default)]
    pub runqueue: Option<Runqueue>,
    /// Who holds it now; null when not known.
    pub holder: Option<Holder>,
    /// Why it is held up, down to the root; null when nobody waits.
    #[serde(default)]
    pub explanation: Option<Explanation>,
}

impl Lock {
    /// Whether those that wait are goroutines. Threads of the Go runtime wait for work and for the runtime itself only.
    #[must_use]
    pub fn is_of_goroutines(&self) -> bool {
        self.runtime.as_deref() == Some("go") && !matches!(self.kind, Kind::Idle | Kind::Runtime)
    }

    /// What explanations call it.
    #[must_use]
    pub const fn name(&self) -> LockRef {
        LockRef {
            pid: self.pid,
            address: self.address,
        }
    }
}
