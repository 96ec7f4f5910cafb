//! holdup's JSON as a foreign program reads it: from its documentation, not from the product's types. Every documented
//! field must be there and have its documented form; more fields may appear.

mod entry;
pub mod explanation;
mod go;
pub mod lock;
pub mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
pub use entry::{
    Entry, EntryHolder, EntryLock, LongestHold, Mistake, OrderCheck, OrderEdge, OrderLock,
    PotentialDeadlock, Price, Times,
};
pub use explanation::{Deadlock, Explanation, Node, RootBlocker};
pub use go::{GoProcess, Goroutines, Group};
pub use lock::{
    Bucket, Frame, HoldSite, Holder, Holds, Lock, Outcomes, Runqueue, Site, WaitNs, names,
};
use serde::{Deserialize, Deserializer};

/// `holdup.capture/v1`.
#[derive(Clone, Debug, Deserialize)]
pub struct Capture {
    /// Name of the format.
    pub schema: String,
    /// When it began.
    pub started_at: String,
    /// Length in nanoseconds.
    pub duration_ns: u64,
    /// Probes and their fates.
    pub plan: Vec<Probe>,
    /// What was lost.
    pub loss: BTreeMap<String, u64>,
    /// Processes.
    pub processes: Vec<Process>,
    /// Locks.
    pub locks: Vec<Lock>,
    /// What everything waits for, most waiters first.
    pub root_blockers: Vec<RootBlocker>,
    /// Circles.
    pub deadlocks: Vec<Deadlock>,
    /// What probes on every lock and unlock saw.
    pub entry: Option<Entry>,
    /// Processes written in Go.
    pub go: Vec<GoProcess>,
}

/// `holdup.snapshot/v1`.
#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    /// Name of the format.
    pub schema: String,
    /// Probes and their fates.
    pub plan: Vec<Probe>,
    /// What was lost.
    pub loss: BTreeMap<String, u64>,
    /// Processes.
    pub processes: Vec<Process>,
    /// Locks that somebody waits for.
    pub locks: Vec<Lock>,
    /// What everything waits for, most waiters first.
    pub root_blockers: Vec<RootBlocker>,
    /// Circles.
    pub deadlocks: Vec<Deadlock>,
    /// All threads.
    pub threads: Vec<Thread>,
    /// Processes written in Go.
    pub go: Vec<GoProcess>,
}

/// A row of the plan.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// Name.
    pub probe: String,
    /// `attached`, `skipped` or `unavailable`.
    pub status: String,
    /// Why.
    pub reason: String,
}

/// A process.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Executable.
    pub exe: Option<String>,
    /// Control group.
    pub cgroup: Option<String>,
    /// Parked threads by kind.
    pub parked: BTreeMap<String, u64>,
}

/// A thread.
#[derive(Clone, Debug, Deserialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Scheduler state.
    pub state: String,
    /// System call it is in.
    pub syscall: Option<String>,
    /// Lock it waits for.
    #[serde(deserialize_with = "optional_address")]
    pub lock: Option<u64>,
    /// What that is.
    pub kind: Option<String>,
    /// How long.
    pub since_ns: Option<u64>,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

impl Capture {
    /// Reads a capture and checks the rules that hold for all.
    ///
    /// # Errors
    /// When it is no such document or breaks a rule.
    pub fn parse(json: &str) -> Result<Self> {
        let capture: Self = serde_json::from_str(json).with_context(|| excerpt(json))?;
        rules::capture(&capture)?;
        Ok(capture)
    }

    /// Locks of process `pid` at `address`: one in general, but a reader-writer lock has readers and writers.
    pub fn at(&self, pid: u32, address: u64) -> impl Iterator<Item = &Lock> {
        let here = move |lock: &&Lock| lock.pid == pid && lock.address == address;
        self.locks.iter().filter(here)
    }

    /// The one lock of process `pid` at `address` of this kind.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn lock(&self, pid: u32, address: u64, kind: &str) -> Result<&Lock> {
        one_lock(&self.locks, pid, address, kind)
    }

    /// What probes on every lock and unlock saw.
    ///
    /// # Errors
    /// When they were not asked for.
    pub fn entry(&self) -> Result<&Entry> {
        self.entry.as_ref().context("no entry in the report")
    }

    /// Sum of the finished waits of process `pid`.
    #[must_use]
    pub fn waits_of(&self, pid: u32) -> u64 {
        let of_process = self.locks.iter().filter(|lock| lock.pid == pid);
        of_process.map(|lock| lock.waits).sum()
    }

    /// A counter of lost things.
    ///
    /// # Errors
    /// When there is no such counter.
    pub fn lost(&self, name: &str) -> Result<u64> {
        let counter = self.loss.get(name).copied();
        counter.with_context(|| format!("no loss counter {name:?}: {:?}", self.loss))
    }

    /// Fails when a wait was lost. Names may still be missing, as they are when a process is gone before its files could
    /// be read.
    ///
    /// # Errors
    /// With the counters.
    pub fn no_wait_lost(&self) -> Result<()> {
        const WAITS: &[&str] = &[
            "threads_full",
            "locks_full",
            "exit_missed",
            "waitv_unreadable",
            "targets_full",
            "adopt_full",
            "internal",
            "go_waits_full",
            "go_end_missed",
            "go_unreadable",
        ];
        for counter in WAITS {
            ensure!(self.lost(counter)? == 0, "lost: {:?}", self.loss);
        }
        Ok(())
    }

    /// Fails when anything was lost. A frame without a symbol is not a loss of holdup's: the file has no name for it.
    ///
    /// # Errors
    /// With the counters.
    pub fn nothing_lost(&self) -> Result<()> {
        for (name, count) in &self.loss {
            ensure!(
                *count == 0 || name == "unsymbolized",
                "lost: {:?}",
                self.loss
            );
        }
        Ok(())
    }
}

impl Snapshot {
    /// Reads a snapshot and checks the rules that hold for all.
    ///
    /// # Errors
    /// When it is no such document or breaks a rule.
    pub fn parse(json: &str) -> Result<Self> {
        let snapshot: Self = serde_json::from_str(json).with_context(|| excerpt(json))?;
        rules::snapshot(&snapshot)?;
        Ok(snapshot)
    }

    /// As [`Capture::lock`].
    ///
    /// # Errors
    /// As there.
    pub fn lock(&self, pid: u32, address: u64, kind: &str) -> Result<&Lock> {
        one_lock(&self.locks, pid, address, kind)
    }

    /// The thread with this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn thread(&self, tid: u32) -> Result<&Thread> {
        let thread = self.threads.iter().find(|thread| thread.tid == tid);
        thread.with_context(|| format!("thread {tid} is not in the snapshot"))
    }
}

fn one_lock<'a>(locks: &'a [Lock], pid: u32, address: u64, kind: &str) -> Result<&'a Lock> {
    let mut found = locks
        .iter()
        .filter(|lock| lock.pid == pid && lock.address == address && lock.kind == kind);
    let lock = found
        .next()
        .with_context(|| format!("no {kind} at {address:#x} of {pid} in: {}", list(locks)))?;
    ensure!(
        found.next().is_none(),
        "more than one {kind} at {address:#x} of {pid}: {}",
        list(locks)
    );
    Ok(lock)
}

fn list(locks: &[Lock]) -> String {
    let mut text = String::new();
    for lock in locks.iter().take(5) {
        let Lock {
            kind,
            pid,
            address,
            waits,
            waiters,
            ..
        } = lock;
        text += &format!(
            "\n  {kind} {address:#x} of {pid}: {waits} waits, {waiters} waiting{}",
            lock.stacks()
        );
    }
    text
}

/// Reads `0x...`.
///
/// # Errors
/// When it is something else.
pub fn parse_address(text: &str) -> Result<u64> {
    let digits = text.strip_prefix("0x");
    let digits = digits.with_context(|| format!("{text:?} is no 0x address"))?;
    Ok(u64::from_str_radix(digits, 16)?)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse_address(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_address(&text).map_err(serde::de::Error::custom))
        .transpose()
}

fn excerpt(json: &str) -> String {
    let start: String = json.chars().take(400).collect();
    format!("not the documented JSON: {start}")
}
