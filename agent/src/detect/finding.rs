//! What the detectors found in one view, put together by what it is about.

use std::collections::{HashMap, hash_map::Entry};

use super::key::{Key, Subject};
use crate::model::{
    explanation::Deadlock,
    incident::{Reason, Who},
    watch::ProcessKey,
};

/// Something that is true of one lock, one process or one circle; of several, once they are put together.
#[derive(Clone, Debug)]
pub(super) struct Finding<'a> {
    /// What it is about, and why.
    pub key: Key,
    /// An incident may begin with it; else one that is there goes on.
    pub may_open: bool,
    /// A rule mutes all that may open one.
    pub is_muted: bool,
    /// The process with most waiters.
    pub process: ProcessKey,
    /// Row of the lock with most waiters in the view.
    pub row: Option<usize>,
    /// Waiters of that lock.
    pub most: u64,
    /// Threads that wait, in all.
    pub waiters: u64,
    /// Age of the longest wait.
    pub oldest_ns: Option<u64>,
    /// It may be longer.
    pub oldest_is_at_least: bool,
    /// Locks put together.
    pub locks: u64,
    /// Hand-offs are counted.
    pub is_counted: bool,
    /// Who waits.
    pub who: Who,
    /// What else there is to say.
    pub detail: Detail<'a>,
}

/// What only one detector knows.
#[derive(Clone, Debug)]
pub(super) enum Detail<'a> {
    /// Nothing.
    None,
    /// Nothing has moved for so long, in nanoseconds.
    Still(u64),
    /// So many waiters there were when they began to grow.
    From(u64),
    /// The circle, and the subjects of all locks in it.
    Circle(&'a Deadlock, Vec<Subject>),
}

impl Finding<'_> {
    fn join(&mut self, other: Self) {
        self.is_muted = match (self.may_open, other.may_open) {
            (true, true) => self.is_muted && other.is_muted,
            (false, true) => other.is_muted,
            (_, false) => self.is_muted,
        };
        self.may_open |= other.may_open;
        self.waiters = self.waiters.saturating_add(other.waiters);
        self.locks += other.locks;
        self.is_counted |= other.is_counted;
        self.who = self.who.and(other.who);
        if other.oldest_ns > self.oldest_ns {
            self.oldest_ns = other.oldest_ns;
            self.oldest_is_at_least = other.oldest_is_at_least;
        }
        // The order in which they come is not fixed.
        let rank = |finding: &Self| {
            (
                finding.most,
                std::cmp::Reverse((finding.process, finding.row)),
            )
        };
        if rank(&other) > rank(self) {
            self.process = other.process;
            self.row = other.row;
            self.most = other.most;
            self.detail = other.detail;
        }
    }
}

/// All of one view.
#[derive(Debug, Default)]
pub(super) struct Findings<'a>(HashMap<Key, Finding<'a>>);

impl<'a> Findings<'a> {
    pub(super) fn add(&mut self, finding: Finding<'a>) {
        match self.0.entry(finding.key) {
            Entry::Occupied(mut known) => known.get_mut().join(finding),
            Entry::Vacant(place) => {
                place.insert(finding);
            }
        }
    }

    /// The gravest first, then in an order that does not change.
    pub(super) fn sorted(self) -> Vec<Finding<'a>> {
        let mut all: Vec<_> = self.0.into_values().collect();
        all.sort_unstable_by_key(|finding| (rank(finding.key.1), finding.key));
        all
    }
}

/// When several are true of one lock, the first of these is the one to alert about.
pub(super) const fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::Deadlock => 0,
        Reason::Stalled => 1,
        Reason::Parked => 2,
        Reason::LongWait => 3,
        Reason::Growing => 4,
    }
}
