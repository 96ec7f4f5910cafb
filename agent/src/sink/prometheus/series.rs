//! Locks as series tell them apart: by owner, kind and id.

use std::{collections::HashMap, sync::Arc};

use super::{
    amounts::Amounts,
    label::{self, bounded_arc},
    owner::OTHER,
    rows::Row,
};
use crate::model::{
    Kind,
    watch::{GO, Lock},
};

/// See [`Series::score`].
const HALF_LIFE_NS: f64 = 300e9;

/// What is told apart also where locks are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// What is waited for.
    pub kind: Kind,
    /// Goroutines wait, not threads.
    pub is_go: bool,
}

impl Group {
    /// That of a lock.
    pub fn of(lock: &Lock) -> Self {
        Self {
            kind: lock.kind,
            is_go: lock.is_of_goroutines(),
        }
    }

    /// Its labels.
    pub fn labels(self) -> impl Iterator<Item = (&'static str, Arc<str>)> {
        let runtime = self.is_go.then(|| ("runtime", GO.into()));
        std::iter::once(("kind", self.kind.as_str().into())).chain(runtime)
    }
}

/// What makes two locks one series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    owner: u32,
    group: Group,
    id: Arc<str>,
}

/// All locks of one owner, kind and id.
#[derive(Debug)]
pub struct Series {
    key: Key,
    /// The id as it was before it was bounded, shared with the view.
    raw: Arc<str>,
    /// Where it is waited for: the first that was known, since another name would be another series.
    pub site: Option<Arc<str>>,
    /// There if it is written on its own.
    pub shown: Option<Box<Shown>>,
    /// Time waited for it lately, in finished waits, in nanoseconds: half as much counts for each [`HALF_LIFE_NS`] passed.
    recent_ns: u64,
    /// Time waited for it so far in waits that go on, in nanoseconds.
    going_on_ns: u64,
    /// Locks now.
    pub locks: u64,
    /// Threads that wait now.
    pub waiters: u64,
    /// Monotonic time since which the longest one waits, in nanoseconds.
    pub oldest_since_ns: Option<u64>,
}

/// What a series of its own has.
#[derive(Debug)]
pub struct Shown {
    /// Counted since it is shown; `None` if nothing ever was.
    pub amounts: Option<Box<Amounts>>,
    /// When it was last among the top.
    pub top_ns: u64,
}

impl Series {
    pub fn owner(&self) -> u32 {
        self.key.owner
    }

    pub fn group(&self) -> Group {
        self.key.group
    }

    /// The label.
    pub fn id(&self) -> &Arc<str> {
        &self.key.id
    }

    /// Whether it may be shown. What is called `other` must not be mistaken for the rest.
    pub fn may_be_shown(&self) -> bool {
        self.key.group.kind.is_lock() && self.key.owner != OTHER && &*self.key.id != label::OTHER
    }

    fn is_of(&self, owner: u32, lock: &Lock) -> bool {
        self.key.owner == owner
            && self.key.group == Group::of(lock)
            && (Arc::ptr_eq(&self.raw, &lock.id) || *self.raw == *lock.id)
    }

    /// What the top is chosen by. Old waits fade, so that a lock that has been slow for months does not hide one that hangs
    /// since a minute.
    pub fn score(&self) -> u64 {
        self.recent_ns.saturating_add(self.going_on_ns)
    }

    /// Counts a lock in, which was waited for `finished_ns` since the last tick.
    pub fn see(&mut self, row: &Row, at_ns: u64, finished_ns: u64) {
        let since_ns = row.oldest_since_ns;
        let age_ns = since_ns.map_or(0, |since_ns| at_ns.saturating_sub(since_ns));
        let going_on_ns = row.waiters.saturating_mul(age_ns);
        self.recent_ns = self.recent_ns.saturating_add(finished_ns);
        self.going_on_ns = self.going_on_ns.saturating_add(going_on_ns);
        self.locks += 1;
        self.waiters += row.waiters;
        self.oldest_since_ns = earliest(self.oldest_since_ns, since_ns);
    }
}

/// The earlier of two times.
pub fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    [a, b].into_iter().flatten().min()
}

/// All series that have a lock, or are shown.
#[derive(Debug, Default)]
pub struct All {
    places: Vec<Option<Series>>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32>,
}

impl All {
    /// A new tick, `passed_ns` after the last one: nothing is there yet.
    pub fn clear(&mut self, passed_ns: u64) {
        let faded = (-(passed_ns as f64) / HALF_LIFE_NS).exp2();
        for series in self.places.iter_mut().flatten() {
            series.recent_ns = (series.recent_ns as f64 * faded) as u64;
            (series.going_on_ns, series.locks, series.waiters) = (0, 0, 0);
            series.oldest_since_ns = None;
        }
    }

    /// Where `lock` belongs. `before` is where it was in the last tick: saves making the labels again.
    pub fn place(&mut self, owner: u32, lock: &Lock, before: Option<u32>) -> u32 {
        let same = |place: &u32| self.get(*place).is_some_and(|one| one.is_of(owner, lock));
        if let Some(place) = before.filter(same) {
            return place;
        }
        let key = Key {
            owner,
            group: Group::of(lock),
            id: bounded_arc(&lock.id),
        };
        if let Some(&place) = self.by_key.get(&key) {
            return place;
        }
        let series = Series {
            key: key.clone(),
            raw: Arc::clone(&lock.id),
            site: None,
            shown: None,
            recent_ns: 0,
            going_on_ns: 0,
            locks: 0,
            waiters: 0,
            oldest_since_ns: None,
        };
        let place = put(&mut self.places, &mut self.free, series);
        self.by_key.insert(key, place);
        place
    }

    /// Drops those that are not needed.
    pub fn sweep(&mut self, is_needed: impl Fn(&Series) -> bool) {
        for (place, slot) in (0..).zip(&mut self.places) {
            if let Some(series) = slot.take_if(|series| !is_needed(series)) {
                self.by_key.remove(&series.key);
                self.free.push(place);
            }
        }
    }

    /// The one at `place`.
    pub fn get(&self, place: u32) -> Option<&Series> {
        self.places.get(place as usize)?.as_ref()
    }

    /// The one at `place`.
    pub fn get_mut(&mut self, place: u32) -> Option<&mut Series> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// All with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Series)> {
        (0..)
            .zip(&self.places)
            .filter_map(|(place, series)| Some((place, series.as_ref()?)))
    }
}

/// Puts `item` into a free place, or a new one.
pub fn put<T>(places: &mut Vec<Option<T>>, free: &mut Vec<u32>, item: T) -> u32 {
    let place = free.pop().unwrap_or_else(|| {
        places.push(None);
        u32::try_from(places.len() - 1).unwrap_or(u32::MAX)
    });
    if let Some(slot) = places.get_mut(place as usize) {
        *slot = Some(item);
    }
    place
}
