//! Who waits for one lock, whose readers and writers have rows of their own in the view.

use std::collections::HashMap;

use crate::model::{
    Kind,
    explanation::Confidence,
    incident::Who,
    watch::{Lock, ProcessKey, View},
};

/// Names a lock within this run: process and address.
pub(super) type Name = (ProcessKey, u64);

/// Both of these.
pub(super) fn and(one: Option<Who>, other: Option<Who>) -> Option<Who> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        (one, other) => one.or(other),
    }
}

fn who(lock: &Lock) -> Who {
    match lock.is_of_goroutines() {
        true => Who::Goroutines,
        false => Who::Threads,
    }
}

/// Waiters of one lock now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pile {
    /// Its row in the view; that with most waiters, where it has several.
    pub row: usize,
    row_waiters: u64,
    /// Threads that wait.
    pub waiters: u64,
    /// Age of the longest wait; 0 when it is not known.
    pub oldest_ns: u64,
    /// When the longest wait began.
    pub oldest_since_ns: Option<u64>,
    /// It may be longer.
    pub oldest_is_at_least: bool,
    /// Time since the last hand-off; `None` when none was seen.
    pub handed_on_ns: Option<u64>,
    /// Hand-offs are counted.
    pub is_counted: bool,
    /// Some waits were given up.
    pub gives_up: bool,
    /// There is no evidence that it is a lock at all.
    pub is_unknown: bool,
    /// Who waits.
    pub who: Option<Who>,
}

impl Pile {
    fn new(row: usize) -> Self {
        Self {
            row,
            row_waiters: 0,
            waiters: 0,
            oldest_ns: 0,
            oldest_since_ns: None,
            oldest_is_at_least: false,
            handed_on_ns: None,
            is_counted: false,
            gives_up: false,
            is_unknown: true,
            who: None,
        }
    }

    fn add(&mut self, number: usize, lock: &Lock, at_ns: u64) {
        if lock.waiters > self.row_waiters {
            self.row = number;
            self.row_waiters = lock.waiters;
        }
        self.waiters = self.waiters.saturating_add(lock.waiters);
        let oldest_ns = lock.oldest_wait_ns(at_ns).unwrap_or_default();
        if oldest_ns >= self.oldest_ns && lock.oldest_since_ns.is_some() {
            self.oldest_ns = oldest_ns;
            self.oldest_since_ns = lock.oldest_since_ns;
            self.oldest_is_at_least = lock.oldest_is_at_least;
        }
        self.who = and(self.who, Some(who(lock)));
        self.is_unknown &= lock.kind == Kind::Unknown && !is_owned(lock);
        self.count(lock, at_ns);
    }

    fn count(&mut self, lock: &Lock, at_ns: u64) {
        let Some(counts) = &lock.counts else { return };
        self.is_counted = true;
        let outcomes = counts.outcomes;
        self.gives_up |= outcomes.timed_out > 0 || outcomes.interrupted > 0;
        let ago = counts.last_handoff_ns.map(|ns| at_ns.saturating_sub(ns));
        self.handed_on_ns = [self.handed_on_ns, ago].into_iter().flatten().min();
    }
}

/// Memory says that a thread owns it, or has owned it to its end: it is a lock, whatever its kind.
fn is_owned(lock: &Lock) -> bool {
    let holder = lock.holder.as_ref();
    lock.abandoned || holder.is_some_and(|holder| holder.confidence == Confidence::Exact)
}

/// Locks whose rows must be put together, in memory that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Piles(HashMap<Name, Pile>);

impl Piles {
    /// Shows every lock of `view` that somebody waits for. Waits of unknown kind only with `count_unknown`.
    ///
    /// # Cost
    /// A look at every row; a place for those of reader-writer locks.
    pub(super) fn each(
        &mut self,
        view: &View,
        count_unknown: bool,
        mut show: impl FnMut(Name, &Pile),
    ) {
        self.0.clear();
        for (number, lock) in view.locks.iter().enumerate() {
            let counts = lock.kind.is_lock()
                || (lock.kind == Kind::Unknown && (count_unknown || is_owned(lock)));
            if lock.waiters == 0 || !counts {
                continue;
            }
            let name = (lock.process, lock.address);
            if has_siblings(lock.kind) {
                let pile = self.0.entry(name).or_insert_with(|| Pile::new(number));
                pile.add(number, lock, view.at_ns);
            } else {
                let mut pile = Pile::new(number);
                pile.add(number, lock, view.at_ns);
                show(name, &pile);
            }
        }
        if self.0.is_empty() {
            return;
        }
        // The readers may go round while the writers wait.
        let siblings = view
            .locks
            .iter()
            .filter(|lock| lock.waiters == 0 && has_siblings(lock.kind));
        for lock in siblings {
            if let Some(pile) = self.0.get_mut(&(lock.process, lock.address)) {
                pile.count(lock, view.at_ns);
            }
        }
        for (&name, pile) in &self.0 {
            show(name, pile);
        }
    }
}

const fn has_siblings(kind: Kind) -> bool {
    matches!(kind, Kind::RwlockRead | Kind::RwlockWrite)
}
