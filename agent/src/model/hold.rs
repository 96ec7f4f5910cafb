//! How long a lock is held by those who had to wait for it, and where: who makes others wait.

use serde::{Deserialize, Serialize};

use super::{
    Frame,
    histogram::{self, Bucket},
};

/// Holds of one lock. A hold lasts from a thread's release from its wait to its own wake of the same word, of either word
/// for a reader-writer lock, so only those under contention are seen: the others cost nobody anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Holds that were seen from beginning to end.
    pub measured: u64,
    /// Their sum in nanoseconds.
    pub total_ns: u64,
    /// The longest one in nanoseconds.
    pub max_ns: u64,
    /// Those during which the holder slept: it waited for something else and was not at work.
    pub slept: u64,
    /// Sum of those in nanoseconds.
    pub slept_ns: u64,
    /// Holds by duration; only buckets that have any.
    pub histogram: Vec<Bucket>,
    /// Call paths that keep others waiting, those to blame most first.
    pub sites: Vec<HoldSite>,
}

/// A call path that lets go of a lock that others wait for, whether it had to wait for it itself or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldSite {
    /// Sampled releases (exact).
    pub samples: u64,
    /// Those whose thread was off its processor while it held the lock (exact).
    pub samples_off_cpu: u64,
    /// How long others were kept waiting by what ended here, by the samples, in nanoseconds: a measure to compare sites
    /// by.
    pub charged_ns: u64,
    /// Innermost first. Empty when the stack could not be read.
    pub frames: Vec<Frame>,
}

/// How much of the waiting was the lock, and how much the scheduler: a thread that was woken waits for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runqueue {
    /// Finished waits.
    pub waits: u64,
    /// How long those took in nanoseconds.
    pub wait_ns: u64,
    /// How much of that their threads were ready to run and had no processor, in nanoseconds.
    pub ready_ns: u64,
}

impl Holds {
    /// Adds those of another lock.
    pub fn add(&mut self, other: &Self) {
        self.measured = self.measured.saturating_add(other.measured);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.slept = self.slept.saturating_add(other.slept);
        self.slept_ns = self.slept_ns.saturating_add(other.slept_ns);
        self.histogram = histogram::sum([&*self.histogram, &*other.histogram]);
        self.sites.extend_from_slice(&other.sites);
    }
}

impl Runqueue {
    /// Adds that of another lock.
    pub fn add(&mut self, other: &Self) {
        self.waits = self.waits.saturating_add(other.waits);
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
        self.ready_ns = self.ready_ns.saturating_add(other.ready_ns);
    }
}
