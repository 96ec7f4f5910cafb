//! One lock at a time: which thresholds hold for it, and how it stands to them.

use std::time::Duration;

use super::{
    finding::{Detail, Finding},
    growing::{self, Growth},
    key::{Key, Subject},
    level::{Level, Mark, lower, ns},
    long_wait, parked,
    pile::Pile,
    rules::{Choice, Rules},
    settings::Settings,
    stalled::{self, Motion},
    thresholds::Thresholds,
};
use crate::model::{
    incident::Reason,
    watch::{Lock, ProcessKey},
};

/// Detectors that look at one lock.
const DETECTORS: usize = 4;

/// What is remembered of a lock that may be held up, from view to view.
#[derive(Debug)]
pub(super) struct Memory {
    /// Stays as it was first: a lock's id may change when more is known of it.
    subject: Subject,
    /// The view in which it was seen last.
    pub turn: u64,
    /// One for each detector, in the order in which [`Memory::look`] has them.
    marks: [Mark; DETECTORS],
    motion: Motion,
    growth: Growth,
}

impl Memory {
    pub(super) fn new(subject: Subject, pile: &Pile, now_ns: u64) -> Self {
        Self {
            subject,
            turn: 0,
            marks: [Mark::default(); DETECTORS],
            motion: Motion::new(pile, now_ns),
            growth: Growth::new(pile, now_ns),
        }
    }

    /// Everything that is true of the lock. `is_known` tells whether there is such an incident: then waits that began
    /// before the agent was started, or its probes were attached, count as long enough, and as still if nothing was handed
    /// on since.
    pub(super) fn look<'a>(
        &mut self,
        (process, pile, lock): (ProcessKey, &Pile, &Lock),
        choice: Choice<'_>,
        clear_percent: u8,
        now_ns: u64,
        is_known: impl Fn(Key) -> bool,
    ) -> [Option<Finding<'a>>; DETECTORS] {
        let of = |reason| {
            let thresholds: &Thresholds = choice.thresholds(reason);
            let counts = thresholds.count_unknown || !pile.is_unknown;
            counts.then_some(thresholds)
        };
        let carried = |reason, level: Level| {
            let goes_on = pile.oldest_is_at_least && is_known((self.subject, reason));
            if goes_on {
                level.max(Level::Near)
            } else {
                level
            }
        };
        let mut pile = *pile;
        if pile.oldest_since_ns.is_none() {
            pile.oldest_ns = self.motion.least_age_ns(&pile, now_ns);
        }
        let pile = &pile;
        let still_ns = self.motion.still_ns(pile, now_ns);
        let parked = of(Reason::Parked).map(|of| &of.parked);
        let parked = parked.filter(|of| of.enabled).map(|of| {
            let level = parked::lock(pile, of, clear_percent);
            (level, of.r#for, Detail::None)
        });
        let stalled = of(Reason::Stalled).map(|of| &of.stalled);
        let stalled = stalled.filter(|of| of.enabled).map(|of| {
            let level = stalled::level(pile, still_ns, of, clear_percent);
            let level = match pile.handed_on_ns {
                Some(_) => level,
                None => carried(Reason::Stalled, level),
            };
            (level, Duration::ZERO, Detail::Still(still_ns))
        });
        let growing = of(Reason::Growing).map(|of| &of.growing);
        let growing = growing.filter(|of| of.enabled).map(|of| {
            self.growth.set(pile, of, now_ns);
            let level = self.growth.level(pile, of, clear_percent);
            (level, Duration::ZERO, Detail::From(self.growth.first()))
        });
        let long_wait = of(Reason::LongWait).map(|of| &of.long_wait);
        let long_wait = long_wait.filter(|of| of.enabled).map(|of| {
            let level = long_wait::level(pile, lock, of, clear_percent);
            let level = carried(Reason::LongWait, level);
            (level, Duration::ZERO, Detail::None)
        });
        let mut marks = self.marks.iter_mut();
        [
            (Reason::Parked, parked),
            (Reason::Stalled, stalled),
            (Reason::Growing, growing),
            (Reason::LongWait, long_wait),
        ]
        .map(|(reason, judged)| {
            let nothing = (Level::Clear, Duration::ZERO, Detail::None);
            let (level, r#for, detail) = judged.unwrap_or(nothing);
            let may_open = marks.next()?.set(level, now_ns, r#for);
            (level > Level::Clear).then(|| Finding {
                key: (self.subject, reason),
                may_open,
                is_muted: choice.is_muted(reason),
                process,
                row: Some(pile.row),
                most: pile.waiters,
                waiters: pile.waiters,
                oldest_ns: pile.oldest_since_ns.map(|_| pile.oldest_ns),
                oldest_is_at_least: pile.oldest_is_at_least,
                locks: 1,
                is_counted: pile.is_counted,
                who: pile.who.unwrap_or_default(),
                detail,
            })
        })
    }
}

/// Below these, no detector has anything to remember about a lock, whatever the rules: waiters, and age of the longest
/// wait.
#[derive(Debug)]
pub(super) struct Gate {
    /// Some rule counts waits of unknown kind.
    pub count_unknown: bool,
    /// Age of the longest wait from which a lock counts for its process.
    summed_ns: u64,
    pairs: Vec<(u64, u64)>,
    /// Waits that are given up and begun again are young: waiters, and time without a hand-off.
    repeated: (u64, u64),
    /// Waiters that are worth while to follow once they are.
    followed: u64,
}

/// Age from which the longest waiter is remembered: much younger than any lock that is stalled.
const REMEMBERED_NS: u64 = 1_000_000_000;

impl Gate {
    pub(super) fn new(rules: &Rules, settings: &Settings) -> Self {
        let percent = settings.clear_percent;
        let mut pairs: Vec<(u64, u64)> = Vec::new();
        let mut repeated = (u64::MAX, u64::MAX);
        let mut followed = u64::MAX;
        let mut summed_ns = u64::MAX;
        let mut counts = false;
        for thresholds in rules.all() {
            let Thresholds {
                count_unknown,
                parked,
                stalled,
                growing,
                long_wait,
                deadlock: _,
            } = thresholds;
            counts |= count_unknown;
            summed_ns = summed_ns.min(ns(parked.oldest));
            let low = |threshold| lower(threshold, percent);
            let floor = growing::floor(growing).min(low(growing.waiters));
            let still_ns = ns(stalled.r#for);
            pairs.extend([
                (low(parked.waiters), low(ns(parked.oldest))),
                (low(stalled.waiters), still_ns.min(REMEMBERED_NS)),
                (floor, low(ns(growing.oldest))),
                (1, low(ns(long_wait.r#for))),
            ]);
            repeated.0 = repeated.0.min(low(stalled.waiters));
            repeated.1 = repeated.1.min(still_ns);
            followed = followed.min(floor);
        }
        pairs.sort_unstable();
        pairs.dedup();
        Self {
            count_unknown: counts,
            summed_ns,
            pairs,
            repeated,
            followed,
        }
    }

    /// Whether a lock that nothing is remembered of is worth a place.
    pub(super) fn opens(&self, pile: &Pile) -> bool {
        // One whose age is not told may have any.
        let has_age = |age_ns| pile.oldest_ns >= age_ns || pile.oldest_since_ns.is_none();
        let reaches = |&(waiters, age_ns): &(u64, u64)| pile.waiters >= waiters && has_age(age_ns);
        let (waiters, without_ns) = self.repeated;
        let is_repeated = pile.gives_up
            && pile.waiters >= waiters
            && pile.handed_on_ns.is_none_or(|ago_ns| ago_ns >= without_ns);
        is_repeated || self.pairs.iter().any(reaches)
    }

    /// Whether a lock counts for its process.
    pub(super) const fn sums(&self, pile: &Pile) -> bool {
        pile.oldest_ns >= self.summed_ns
    }

    /// Whether a lock may keep its place.
    pub(super) const fn keeps(&self, pile: &Pile) -> bool {
        pile.waiters >= self.followed
    }
}
