//! A report for a browser: one file that loads nothing from anywhere.
//!
//! All of its content is there without JavaScript, which only sorts tables and opens or closes all call paths at once.
//! The reader's browser chooses light or dark; print shows all call paths. Long lists are cut and say so.

mod chain;
mod entry;
mod flame;
mod footer;
mod histogram;
mod incident;
mod lock;
mod markup;
mod overview;
mod page;
mod stack;
mod summary;
mod threads;
mod waits;

use std::collections::{HashMap, HashSet};

use super::{Report, causes::Causes};
use crate::model::{Bundle, Lock, explanation::LockRef, process::Process, snapshot::Thread};

/// Writes a report.
#[must_use]
pub fn render(report: &Report, causes: &Causes<'_>) -> String {
    page::render(&View::of(report, causes))
}

/// Writes a bundle: the page of its snapshot, with the incident first. `snapshot` is what was taken out of it.
#[must_use]
pub fn bundle(bundle: &Bundle, snapshot: &Report) -> String {
    let causes = Causes::of_report(snapshot);
    page::render(&View {
        bundle: Some(bundle),
        ..View::of(snapshot, &causes)
    })
}

/// A report with what is looked up in it.
struct View<'a> {
    report: &'a Report,
    /// What the report is part of.
    bundle: Option<&'a Bundle>,
    causes: &'a Causes<'a>,
    processes: &'a [Process],
    /// Locks that somebody must let go of, or that may be such.
    locks: Vec<&'a Lock>,
    /// Condition variables, idle workers and the like.
    others: Vec<&'a Lock>,
    /// Of a snapshot.
    threads: &'a [Thread],
    by_tid: HashMap<u32, &'a Thread>,
    /// Threads that wait, by process and lock.
    waiting: HashMap<(u32, u64), Vec<&'a Thread>>,
    comms: HashMap<u32, &'a str>,
}

impl<'a> View<'a> {
    fn of(report: &'a Report, causes: &'a Causes<'a>) -> Self {
        let (locks, processes, threads) = match report {
            Report::Capture(capture) => (&capture.locks, &capture.processes, &[][..]),
            Report::Snapshot(snapshot) => (
                &snapshot.locks,
                &snapshot.processes,
                snapshot.threads.as_slice(),
            ),
        };
        let (locks, others) = locks
            .iter()
            .partition(|lock| super::table::lock::is_held_up(lock));
        let mut waiting: HashMap<(u32, u64), Vec<&Thread>> = HashMap::new();
        for thread in threads {
            if let Some(address) = thread.lock {
                waiting
                    .entry((thread.pid, address))
                    .or_default()
                    .push(thread);
            }
        }
        Self {
            report,
            bundle: None,
            causes,
            processes,
            locks,
            others,
            threads,
            by_tid: threads.iter().map(|thread| (thread.tid, thread)).collect(),
            waiting,
            comms: processes
                .iter()
                .map(|process| (process.pid, process.comm.as_str()))
                .collect(),
        }
    }

    /// `confd (4242)`.
    fn process(&self, pid: u32) -> String {
        format!("{} ({pid})", self.comms.get(&pid).copied().unwrap_or("?"))
    }

    /// `confd (4242)`, `3 processes`.
    fn who(&self) -> String {
        match self.processes {
            [] => "no process".to_owned(),
            [process] => self.process(process.pid),
            many => super::units::plural(many.len() as u64, "process", "processes"),
        }
    }

    /// The locks of the document among those named.
    fn behind(&self, named: &[LockRef]) -> impl Iterator<Item = &'a Lock> {
        let named: HashSet<(u32, u64)> =
            named.iter().map(|lock| (lock.pid, lock.address)).collect();
        let is_named = move |lock: &&Lock| named.contains(&(lock.pid, lock.address));
        self.locks.iter().copied().filter(is_named)
    }

    const fn is_recording(&self) -> bool {
        matches!(self.report, Report::Capture(_))
    }
}

/// Name of a lock's section in links.
fn anchor(lock: &Lock) -> String {
    format!("lock-{}-{:x}", lock.pid, lock.address)
}

#[cfg(test)]
mod tests;
