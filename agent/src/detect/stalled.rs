//! Threads wait for a lock, and it is not handed on.

use super::{
    level::{Level, ns},
    pile::Pile,
    settings::Stalled,
};

/// What is remembered of a lock between two views.
#[derive(Clone, Copy, Debug)]
pub(super) struct Motion {
    /// Since when there were waiters in every view.
    waited_on_since_ns: u64,
    /// Since when the same thread has been the longest waiter.
    same_oldest_since_ns: u64,
    oldest_since_ns: Option<u64>,
}

impl Motion {
    pub(super) const fn new(pile: &Pile, now_ns: u64) -> Self {
        Self {
            waited_on_since_ns: now_ns,
            same_oldest_since_ns: now_ns,
            oldest_since_ns: pile.oldest_since_ns,
        }
    }

    /// The age of the longest wait where the view does not tell: there were waiters in every view for so long, and
    /// nothing was handed on.
    pub(super) fn least_age_ns(&self, pile: &Pile, now_ns: u64) -> u64 {
        let waited_on_ns = now_ns.saturating_sub(self.waited_on_since_ns);
        waited_on_ns.min(pile.handed_on_ns.unwrap_or(u64::MAX))
    }

    /// For how long threads have waited and nothing has moved.
    ///
    /// Hand-offs tell where they are counted. Waits with a timeout that begin again and again are young for ever, so
    /// that a lock that is waited on in every view has waiters for as long as that. In a census, a lock that moves has
    /// another longest waiter from time to time.
    pub(super) fn still_ns(&mut self, pile: &Pile, now_ns: u64) -> u64 {
        if pile.oldest_since_ns != self.oldest_since_ns {
            self.oldest_since_ns = pile.oldest_since_ns;
            self.same_oldest_since_ns = now_ns;
        }
        if pile.is_counted {
            let waited_on_ns = match pile.gives_up {
                true => now_ns.saturating_sub(self.waited_on_since_ns),
                false => 0,
            };
            let handed_on_ns = pile.handed_on_ns.unwrap_or(u64::MAX);
            handed_on_ns.min(waited_on_ns.max(pile.oldest_ns))
        } else {
            let same_ns = now_ns.saturating_sub(self.same_oldest_since_ns);
            same_ns.min(pile.oldest_ns)
        }
    }
}

/// There is no lower threshold in time: a lock that has moved is not stalled.
pub(super) fn level(pile: &Pile, still_ns: u64, thresholds: &Stalled, clear_percent: u8) -> Level {
    if still_ns < ns(thresholds.r#for) {
        return Level::Clear;
    }
    Level::of(&[(pile.waiters, thresholds.waiters)], clear_percent)
}
