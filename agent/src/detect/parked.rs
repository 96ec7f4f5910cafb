//! Many threads wait for one lock, or in one process.

use super::{
    level::{Level, ns},
    pile::{self, Pile},
    settings::Parked,
};
use crate::model::incident::Who;

/// Of one lock.
pub(super) fn lock(pile: &Pile, thresholds: &Parked, clear_percent: u8) -> Level {
    let measured = [
        (pile.waiters, thresholds.waiters),
        (pile.oldest_ns, ns(thresholds.oldest)),
    ];
    Level::of(&measured, clear_percent)
}

/// Waiters of a process on locks that nobody would notice one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    /// Threads that wait.
    pub waiters: u64,
    /// For how many locks.
    pub locks: u64,
    /// Age of the longest wait.
    pub oldest_ns: u64,
    /// It may be longer.
    pub oldest_is_at_least: bool,
    /// Hand-offs are counted.
    pub is_counted: bool,
    /// Who waits.
    pub who: Option<Who>,
}

impl Sum {
    /// Adds a lock, unless it has an incident of its own or its waits are short.
    pub(super) fn add(&mut self, pile: &Pile, level: Level, thresholds: &Parked) {
        if level == Level::Over || pile.oldest_ns < ns(thresholds.oldest) {
            return;
        }
        self.waiters = self.waiters.saturating_add(pile.waiters);
        self.locks += 1;
        self.is_counted |= pile.is_counted;
        self.who = pile::and(self.who, pile.who);
        if pile.oldest_ns >= self.oldest_ns {
            self.oldest_ns = pile.oldest_ns;
            self.oldest_is_at_least = pile.oldest_is_at_least;
        }
    }

    /// Of the process.
    pub(super) fn level(&self, thresholds: &Parked, clear_percent: u8) -> Level {
        let threshold = thresholds.process_waiters.max(thresholds.waiters);
        Level::of(&[(self.waiters, threshold)], clear_percent)
    }
}
