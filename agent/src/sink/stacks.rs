//! A report as weighted stacks: what pprof, folded and SVG have in common.
//!
//! - Capture: one stack per site with its finished waits, and one more, marked [`Stack::going_on`], with the threads
//!   that still wait there. A capture knows the age of the oldest wait of a lock only, so waits that go on are weighed
//!   as if each were that old, but no older than the recording: an upper bound of what the recording saw.
//! - Snapshot: one stack per group of threads that wait at the same place, weighed by the sum of their known ages; and one
//!   per site of a lock that goroutines wait for, weighed as if each waited as long as the oldest.
//!
//! Finished waits whose site is not known are kept with no frames, so that totals are those of the locks.

use std::collections::HashMap;

use crate::model::{Capture, Frame, Lock, Snapshot, process::Process};

use super::{Report, name};

/// Waits at one place.
#[derive(Clone, Debug)]
pub struct Stack<'a> {
    /// Name of the process; empty when not known.
    pub comm: &'a str,
    /// What is waited for.
    pub lock: &'a Lock,
    /// Innermost first; may be empty.
    pub frames: &'a [Frame],
    /// Waits or waiting threads.
    pub count: u64,
    /// Time spent, in nanoseconds.
    pub ns: u64,
    /// The waits have not finished.
    pub going_on: bool,
}

impl Stack<'_> {
    /// What to draw on top of the stack: `[mutex pool_lock]`, `[mutex pool_lock, still waiting]`.
    #[must_use]
    pub fn label(&self) -> String {
        let kind = name::kind(self.lock.kind);
        let lock = name::lock(self.lock);
        let state = if self.going_on { ", still waiting" } else { "" };
        format!("[{kind} {lock}{state}]")
    }
}

/// All stacks of a report, in the order of its locks.
#[must_use]
pub fn of(report: &Report) -> Vec<Stack<'_>> {
    match report {
        Report::Capture(capture) => of_capture(capture),
        Report::Snapshot(snapshot) => of_snapshot(snapshot),
    }
}

fn names(processes: &[Process]) -> HashMap<u32, &str> {
    processes
        .iter()
        .map(|process| (process.pid, process.comm.as_str()))
        .collect()
}

fn of_capture(capture: &Capture) -> Vec<Stack<'_>> {
    let comms = names(&capture.processes);
    let mut stacks = Vec::new();
    for lock in &capture.locks {
        let stack = |frames, count, ns, going_on| Stack {
            comm: comms.get(&lock.pid).copied().unwrap_or_default(),
            lock,
            frames,
            count,
            ns,
            going_on,
        };
        let (mut waits, mut wait_ns, mut waiters) = (lock.waits, lock.wait_ns.total, lock.waiters);
        let age = lock.oldest_wait_ns.unwrap_or(0).min(capture.duration_ns);
        for site in &lock.sites {
            waits = waits.saturating_sub(site.waits);
            wait_ns = wait_ns.saturating_sub(site.wait_ns);
            waiters = waiters.saturating_sub(site.waiters);
            if site.waits > 0 || site.wait_ns > 0 {
                stacks.push(stack(&site.frames, site.waits, site.wait_ns, false));
            }
            if site.waiters > 0 {
                let ns = site.waiters.saturating_mul(age);
                stacks.push(stack(&site.frames, site.waiters, ns, true));
            }
        }
        if waits > 0 || wait_ns > 0 {
            stacks.push(stack(&[], waits, wait_ns, false));
        }
        if waiters > 0 {
            stacks.push(stack(&[], waiters, waiters.saturating_mul(age), true));
        }
    }
    stacks
}

fn of_snapshot(snapshot: &Snapshot) -> Vec<Stack<'_>> {
    let comms = names(&snapshot.processes);
    let mut groups: HashMap<(u32, u64), Vec<Stack<'_>>> = HashMap::new();
    let mut group_of: HashMap<(u32, u64, &[Frame]), usize> = HashMap::new();
    let locks: HashMap<(u32, u64), &Lock> = snapshot
        .locks
        .iter()
        .map(|lock| ((lock.pid, lock.address), lock))
        .collect();
    for thread in &snapshot.threads {
        let Some(address) = thread.lock else { continue };
        let Some(&lock) = locks.get(&(thread.pid, address)) else {
            continue;
        };
        let stacks = groups.entry((thread.pid, address)).or_default();
        let index = *group_of
            .entry((thread.pid, address, &thread.frames))
            .or_insert_with(|| {
                stacks.push(Stack {
                    comm: comms.get(&thread.pid).copied().unwrap_or_default(),
                    lock,
                    frames: &thread.frames,
                    count: 0,
                    ns: 0,
                    going_on: true,
                });
                stacks.len() - 1
            });
        if let Some(stack) = stacks.get_mut(index) {
            stack.count = stack.count.saturating_add(thread.count());
            stack.ns = stack.ns.saturating_add(thread.total_ns());
        }
    }
    let mut ordered = Vec::new();
    for lock in &snapshot.locks {
        ordered.append(&mut groups.remove(&(lock.pid, lock.address)).unwrap_or_default());
        // Goroutines are no threads of the document: their lock's sites count them.
        let sites = lock.sites.iter().filter(|_| lock.is_of_goroutines());
        ordered.extend(sites.map(|site| {
            Stack {
                comm: comms.get(&lock.pid).copied().unwrap_or_default(),
                lock,
                frames: &site.frames,
                count: site.waiters,
                ns: site
                    .waiters
                    .saturating_mul(lock.oldest_wait_ns.unwrap_or(0)),
                going_on: true,
            }
        }));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture;

    fn sums(stacks: &[Stack<'_>], going_on: bool) -> (u64, u64) {
        let chosen = || stacks.iter().filter(|stack| stack.going_on == going_on);
        (
            chosen().map(|stack| stack.count).sum(),
            chosen().map(|stack| stack.ns).sum(),
        )
    }

    #[test]
    fn totals_of_a_capture_are_those_of_its_locks() {
        let mut capture = fixture::capture();
        // A site that went unsampled must not take its waits with it.
        capture.locks[0].sites.pop();
        let locks = &capture.locks;
        let finished = (
            locks.iter().map(|lock| lock.waits).sum(),
            locks.iter().map(|lock| lock.wait_ns.total).sum(),
        );
        let waiting = (
            locks.iter().map(|lock| lock.waiters).sum(),
            locks
                .iter()
                .map(|lock| lock.waiters * fixture::age_in_capture(lock))
                .sum(),
        );
        let report = Report::Capture(capture.clone());
        let stacks = of(&report);
        assert_eq!(sums(&stacks, false), finished);
        assert_eq!(sums(&stacks, true), waiting);
        assert!(stacks.iter().any(|stack| stack.frames.is_empty()));
    }

    #[test]
    fn totals_of_a_snapshot_are_those_of_its_waiting_threads() {
        let snapshot = fixture::snapshot();
        let waiting = || {
            snapshot
                .threads
                .iter()
                .filter(|thread| thread.lock.is_some())
        };
        let expected = (
            waiting().count() as u64,
            waiting().filter_map(|thread| thread.since_ns).sum(),
        );
        let report = Report::Snapshot(snapshot.clone());
        let stacks = of(&report);
        assert_eq!(sums(&stacks, true), expected);
        assert_eq!(sums(&stacks, false), (0, 0));
        assert!(stacks.len() < waiting().count(), "equal stacks are merged");
    }
}
