//! The waiters of a lock become more and more.

use super::{
    level::{Level, lower, ns},
    pile::Pile,
    settings::Growing,
};

/// Parts of the window, for each of which the least number of waiters counts.
const PARTS: usize = 8;

/// Waiters over the window. A burst has quiet moments beside it, so that the least number in a part of the window says
/// what is there for good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Least numbers of the last parts, oldest first.
    parts: [u64; PARTS],
    /// How many of these are known.
    known: usize,
    /// The part that is not over yet.
    least: u64,
    began_ns: u64,
    /// Waiters rose over the window that ended last.
    rises: bool,
}

impl Growth {
    pub(super) const fn new(pile: &Pile, now_ns: u64) -> Self {
        Self {
            parts: [0; PARTS],
            known: 0,
            least: pile.waiters,
            began_ns: now_ns,
            rises: false,
        }
    }

    /// Takes note of the waiters at `now_ns`.
    pub(super) fn set(&mut self, pile: &Pile, thresholds: &Growing, now_ns: u64) {
        let part_ns = (ns(thresholds.window) / PARTS as u64).max(1);
        let past = now_ns.saturating_sub(self.began_ns) / part_ns;
        // Parts in which nobody looked are like the one before.
        for _ in 0..past.min(PARTS as u64) {
            self.parts.rotate_left(1);
            if let Some(last) = self.parts.last_mut() {
                *last = self.least;
            }
            self.known = (self.known + 1).min(PARTS);
        }
        if past > 0 {
            self.began_ns = self.began_ns.saturating_add(past.saturating_mul(part_ns));
            self.least = pile.waiters;
            self.rises = self.is_rise(thresholds);
        }
        self.least = self.least.min(pile.waiters);
    }

    /// Falls may take back a quarter of the rise.
    fn is_rise(&self, thresholds: &Growing) -> bool {
        let (Some(&first), Some(&last)) = (self.parts.first(), self.parts.last()) else {
            return false;
        };
        let falls: u64 = self
            .parts
            .windows(2)
            .map(|pair| match pair {
                [before, after] => before.saturating_sub(*after),
                _ => 0,
            })
            .fold(0, u64::saturating_add);
        self.known == PARTS
            && last >= thresholds.waiters
            && last >= first.max(1).saturating_mul(thresholds.factor)
            && falls.saturating_mul(4) <= last.saturating_sub(first)
    }

    /// Waiters when the window began.
    pub(super) fn first(&self) -> u64 {
        self.parts.first().copied().unwrap_or_default()
    }

    /// What has grown is over when the waiters have gone, not when they stay.
    pub(super) fn level(&self, pile: &Pile, thresholds: &Growing, clear_percent: u8) -> Level {
        let measured = [
            (pile.waiters, thresholds.waiters),
            (pile.oldest_ns, ns(thresholds.oldest)),
        ];
        match Level::of(&measured, clear_percent) {
            Level::Over if !self.rises => Level::Near,
            level => level,
        }
    }
}

/// Waiters from which growth is followed: what it may begin with, and some less.
pub(super) fn floor(thresholds: &Growing) -> u64 {
    lower(thresholds.waiters / thresholds.factor.max(1), 50).max(2)
}
