//! Adding up from tick to tick.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    amounts::Amounts,
    label::bounded_arc,
    own::Own,
    owner::{Now, OTHER, Owner, Owners, Rest},
    rows::{self, NONE, Row},
    series::{All, Shown, earliest},
    settings::Settings,
    top::top,
};
use crate::model::{
    Kind,
    incident::Event,
    watch::{Counts, Lock, ProcessKey, View},
};

/// Everything that `/metrics` tells, bounded by [`Settings`] and by the number of locks in a view.
#[derive(Debug)]
pub struct Totals {
    pub(super) settings: Settings,
    pub(super) owners: Owners,
    pub(super) series: All,
    /// Places of the series that are shown.
    pub(super) shown: Vec<u32>,
    /// What was counted in series that are gone.
    pub(super) expired: Amounts,
    /// Locks that were among the top of their process and found no place.
    pub(super) folded: u64,
    /// Whether anything is counted at all: not so in census mode.
    pub(super) counting: bool,
    pub(super) own: Own,
    now: Now,
    /// The last tick. Whoever made it has it too, so that it costs nothing.
    previous: Option<Arc<View>>,
    /// Its locks, in its order.
    rows: Vec<Row>,
    /// Places of its processes.
    places: HashMap<ProcessKey, u32>,
}

impl Totals {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            owners: Owners::new(settings.max_processes),
            settings,
            series: All::default(),
            shown: Vec::new(),
            expired: Amounts::default(),
            folded: 0,
            counting: false,
            own: Own::default(),
            now: Now::default(),
            previous: None,
            rows: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Ticks so far.
    #[must_use]
    pub const fn ticks(&self) -> u64 {
        self.now.tick
    }

    /// Monotonic time of the last tick in nanoseconds.
    pub(super) const fn at_ns(&self) -> u64 {
        self.now.at_ns
    }

    /// Counts an event.
    pub fn event(&mut self, event: &Event) {
        self.own.event(event);
    }

    /// Counts what did not get here.
    pub fn lose(&mut self, what: &'static str, count: u64) {
        self.own.lose(what, count);
    }

    /// Counts a tick.
    pub fn observe(&mut self, view: &Arc<View>) {
        let passed_ns = view.at_ns.saturating_sub(self.now.at_ns);
        self.now = Now {
            tick: self.now.tick + 1,
            at_ns: view.at_ns,
        };
        self.series.clear(passed_ns);
        let same_owners = self.find_owners(view);
        let previous = self.previous.take();
        let old = previous.as_ref().map_or(&[][..], |view| &view.locks);
        let matched = rows::matched(old, &view.locks);
        let rows = self.find_rows(&view.locks, old, &matched, same_owners);
        self.choose();
        self.hide_old();
        self.count(&rows, &view.locks, old, &matched);
        self.rows = rows;
        self.forget();
        self.own.loss(&view.loss);
        let counts = view.locks.iter().any(|lock| lock.counts.is_some());
        self.counting = counts || (view.locks.is_empty() && self.counting);
        self.previous = Some(Arc::clone(view));
    }

    /// Finds everybody's place, and whether it is the one that each had before.
    fn find_owners(&mut self, view: &View) -> bool {
        let (places, retired) = self.owners.seen(view.processes.values(), self.now);
        self.retire(&retired);
        let mut before = self.places.iter();
        let same = before.all(|(key, place)| places.get(key).is_none_or(|now| now == place));
        self.places = places;
        same && retired.is_empty()
    }

    /// Finds each lock's series, and rates the series.
    fn find_rows(
        &mut self,
        locks: &[Arc<Lock>],
        old: &[Arc<Lock>],
        matched: &[u32],
        same_owners: bool,
    ) -> Vec<Row> {
        let mut rows = Vec::with_capacity(locks.len());
        for (lock, &position) in locks.iter().zip(matched) {
            let before = old.get(position as usize);
            let last = self.rows.get(position as usize);
            let row = match last.filter(|_| same_owners && is_same(before, lock)) {
                Some(row) => *row,
                None => self.row(lock, last.map(|row| row.series)),
            };
            if let Some(series) = self.series.get_mut(row.series) {
                let finished_ns = match before {
                    Some(before) if Arc::ptr_eq(before, lock) => 0,
                    before => finished_ns(lock, before.and_then(counts)),
                };
                series.see(&row, self.now.at_ns, finished_ns);
                if series.site.is_none() {
                    series.site = lock.site.as_ref().map(bounded_arc);
                }
            }
            rows.push(row);
        }
        rows
    }

    fn row(&mut self, lock: &Lock, before: Option<u32>) -> Row {
        let series = if is_counted(lock.kind) {
            // The last counts of a process that is gone come without it.
            let last = || Some(self.series.get(before?)?.owner());
            let owner = self.places.get(&lock.process).copied().or_else(last);
            let owner = owner.unwrap_or(OTHER);
            self.series.place(owner, lock, before)
        } else {
            NONE
        };
        Row {
            series,
            waiters: lock.waiters,
            oldest_since_ns: lock.oldest_since_ns,
        }
    }

    /// Gives the top a series each.
    fn choose(&mut self) {
        self.folded = 0;
        let at_ns = self.now.at_ns;
        let mut new = Vec::new();
        for place in top(&self.series, self.settings.top_locks) {
            match self.series.get_mut(place).map(|one| one.shown.as_mut()) {
                Some(Some(shown)) => shown.top_ns = at_ns,
                Some(None) => new.push(place),
                None => {}
            }
        }
        for place in new {
            let has_place = self.make_place_for(place);
            self.folded += u64::from(!has_place);
            if has_place && let Some(series) = self.series.get_mut(place) {
                series.shown = Some(Box::new(Shown {
                    amounts: None,
                    top_ns: at_ns,
                }));
                if let Some(owner) = self.owners.get_mut(series.owner()) {
                    owner.shown += 1;
                }
                self.shown.push(place);
            }
        }
    }

    /// Whether there is a place, after hiding another series if need be: one that is out of the top, longest first, or
    /// one of the top that matters much less.
    fn make_place_for(&mut self, place: u32) -> bool {
        let Some(series) = self.series.get(place) else {
            return false;
        };
        let (owner, score, at_ns) = (series.owner(), series.score(), self.now.at_ns);
        let owners_shown = self.owners.get(owner).map_or(0, |owner| owner.shown);
        let owner_is_full = owners_shown >= 2 * self.settings.top_locks;
        if !owner_is_full && self.shown.len() < self.settings.max_locks {
            return true;
        }
        let least = self
            .shown
            .iter()
            .filter_map(|&place| Some((place, self.series.get(place)?)))
            .filter(|(_, one)| !owner_is_full || one.owner() == owner)
            .filter_map(|(place, one)| {
                let top_ns = one.shown.as_ref()?.top_ns;
                let is_top = top_ns == at_ns;
                Some((is_top, if is_top { one.score() } else { top_ns }, place))
            })
            .min();
        match least {
            Some((is_top, least, place)) if !is_top || score / 2 > least => {
                self.hide(place);
                true
            }
            _ => false,
        }
    }

    fn hide(&mut self, place: u32) {
        let Some(series) = self.series.get_mut(place) else {
            return;
        };
        if let Some(amounts) = series.shown.take().and_then(|shown| shown.amounts) {
            self.expired.add(&amounts);
        }
        if let Some(owner) = self.owners.get_mut(series.owner()) {
            owner.shown -= 1;
        }
        self.shown.retain(|&shown| shown != place);
    }

    /// Counts what happened since the last tick where it belongs.
    fn count(&mut self, rows: &[Row], locks: &[Arc<Lock>], old: &[Arc<Lock>], matched: &[u32]) {
        for ((row, lock), &position) in rows.iter().zip(locks).zip(matched) {
            let Some(series) = self.series.get_mut(row.series) else {
                continue;
            };
            let amounts = if let Some(shown) = &mut series.shown {
                &mut shown.amounts
            } else {
                let Some(owner) = self.owners.get_mut(series.owner()) else {
                    continue;
                };
                let rest: &mut Rest = owner.rest.entry(series.group()).or_default();
                rest.locks += 1;
                rest.waiters += row.waiters;
                rest.oldest_since_ns = earliest(rest.oldest_since_ns, row.oldest_since_ns);
                &mut rest.amounts
            };
            let before = old.get(position as usize);
            // A lock that has not changed has nothing to add, and its memory need not be looked at.
            if !is_same(before, lock)
                && let Some(now) = counts(lock)
            {
                let amounts = amounts.get_or_insert_default();
                amounts.add_since(now, before.and_then(counts));
            }
        }
    }

    fn linger_ns(&self) -> u64 {
        u64::try_from(self.settings.linger.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Hides what has been out of the top for long. Before this tick is counted: its locks are in the rest then.
    fn hide_old(&mut self) {
        let (at_ns, linger_ns) = (self.now.at_ns, self.linger_ns());
        let top_ns = |place: u32| Some(self.series.get(place)?.shown.as_ref()?.top_ns);
        let is_old = |place: &u32| {
            top_ns(*place).is_some_and(|top_ns| at_ns.saturating_sub(top_ns) > linger_ns)
        };
        let old: Vec<u32> = self.shown.iter().copied().filter(is_old).collect();
        for place in old {
            self.hide(place);
        }
    }

    /// Drops owners that have been gone for long, and series that nobody needs.
    fn forget(&mut self) {
        let gone = self.owners.expired(self.now.at_ns, self.linger_ns());
        self.retire(&gone);
        self.series
            .sweep(|one| one.locks > 0 || one.shown.is_some());
    }

    /// Keeps what was counted for owners that are gone.
    fn retire(&mut self, gone: &[(u32, Owner)]) {
        if gone.is_empty() {
            return;
        }
        for rest in gone.iter().flat_map(|(_, owner)| owner.rest.values()) {
            if let Some(amounts) = &rest.amounts {
                self.expired.add(amounts);
            }
        }
        let places: HashSet<u32> = gone.iter().map(|(place, _)| *place).collect();
        let is_gone = |owner: u32| places.contains(&owner);
        for &place in &self.shown {
            let series = self.series.get(place).filter(|one| is_gone(one.owner()));
            let shown = series.and_then(|one| one.shown.as_ref());
            if let Some(amounts) = shown.and_then(|shown| shown.amounts.as_ref()) {
                self.expired.add(amounts);
            }
        }
        self.series.sweep(|one| !is_gone(one.owner()));
        let series = &self.series;
        self.shown.retain(|&place| series.get(place).is_some());
    }
}

/// Whether a lock is the very one that it was in the last tick.
fn is_same(before: Option<&Arc<Lock>>, lock: &Arc<Lock>) -> bool {
    before.is_some_and(|before| Arc::ptr_eq(before, lock))
}

fn counts(lock: &Arc<Lock>) -> Option<&Counts> {
    lock.counts.as_deref()
}

/// Whether locks of this kind are in `holdup_lock_...`: a word of unknown kind may be one.
const fn is_counted(kind: Kind) -> bool {
    kind.is_lock() || matches!(kind, Kind::Unknown)
}

fn finished_ns(lock: &Lock, before: Option<&Counts>) -> u64 {
    let wait_ns = lock.counts.as_ref().map_or(0, |counts| counts.wait_ns);
    let before_ns = before.map_or(0, |counts| counts.wait_ns);
    wait_ns.checked_sub(before_ns).unwrap_or(wait_ns)
}
