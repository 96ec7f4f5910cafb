//! Who has series: process names where they run, as many as fit. A name whose processes are all gone keeps its place for
//! a while, unless somebody alive needs it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    amounts::Amounts,
    label::{self, Name, bounded},
    series::Group,
};
use crate::model::watch::{Process, ProcessKey};

/// Words by which the goroutines of one owner are counted: Go 1.27 has 11 and 47. What comes from a program may be more.
const MAX_WORDS: usize = 64;

/// Place of those that are too many.
pub const OTHER: u32 = 0;

/// Locks of one kind without a series of their own.
#[derive(Debug, Default)]
pub struct Rest {
    /// What they counted; `None` if nothing ever was.
    pub amounts: Option<Box<Amounts>>,
    /// Locks now.
    pub locks: u64,
    /// Threads that wait for them now.
    pub waiters: u64,
    /// Monotonic time since which the longest one waits, in nanoseconds.
    pub oldest_since_ns: Option<u64>,
}

/// A process name where it runs.
#[derive(Debug)]
pub struct Owner {
    /// Who.
    pub name: Name,
    /// Parked threads and goroutines now.
    pub parked: BTreeMap<Group, u64>,
    /// Goroutines now, by status and by wait reason in Go's own words.
    pub goroutines: [BTreeMap<Arc<str>, u64>; 2],
    /// Locks without a series, by kind.
    pub rest: BTreeMap<Group, Rest>,
    /// Locks with a series.
    pub shown: usize,
    /// When a process of this name was last there.
    seen: Now,
}

impl Owner {
    /// Counts goroutines by words; what there is no room for is counted together.
    fn count(&mut self, words: [&BTreeMap<String, u64>; 2]) {
        for (known, words) in self.goroutines.iter_mut().zip(words) {
            for (word, count) in words {
                let mut label = bounded(word);
                if known.len() >= MAX_WORDS && !known.contains_key(&label) {
                    label = label::OTHER.into();
                }
                *known.entry(label).or_default() += count;
            }
        }
    }
}

/// A tick and its monotonic time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub tick: u64,
    pub at_ns: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Owners {
    places: Vec<Option<Owner>>,
    free: Vec<u32>,
    by_name: HashMap<Name, u32>,
    /// Most of them, [`OTHER`] not counted.
    max: usize,
    /// Processes that are in [`OTHER`] now.
    pub folded: u64,
}

impl Owners {
    /// None but [`OTHER`].
    pub fn new(max: usize) -> Self {
        let mut owners = Self {
            places: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            max,
            folded: 0,
        };
        owners.insert(Name::other(), Now::default());
        owners
    }

    /// Finds a place for every process, [`OTHER`] when there is none left. The second value is who has lost its place to
    /// a living one.
    pub fn seen<'a>(
        &mut self,
        processes: impl Iterator<Item = &'a Process>,
        now: Now,
    ) -> (HashMap<ProcessKey, u32>, Vec<(u32, Owner)>) {
        for owner in self.places.iter_mut().flatten() {
            owner.parked.clear();
            owner.goroutines.iter_mut().for_each(BTreeMap::clear);
            for rest in owner.rest.values_mut() {
                (rest.locks, rest.waiters, rest.oldest_since_ns) = (0, 0, None);
            }
        }
        self.folded = 0;
        let mut places = HashMap::new();
        let mut retired = Vec::new();
        let mut strangers = Vec::new();
        for process in processes {
            let name = Name::new(&process.comm, &process.workload);
            match self.by_name.get(&name) {
                Some(&place) => self.sit(process, place, now, &mut places),
                None => strangers.push((name, process)),
            }
        }
        let mut is_full = false;
        for (name, process) in strangers {
            let place = match self.by_name.get(&name) {
                Some(&place) => place,
                None if is_full => OTHER,
                None => self.place(name, now, &mut retired),
            };
            is_full |= place == OTHER;
            self.folded += u64::from(place == OTHER);
            self.sit(process, place, now, &mut places);
        }
        (places, retired)
    }

    fn sit(
        &mut self,
        process: &Process,
        place: u32,
        now: Now,
        places: &mut HashMap<ProcessKey, u32>,
    ) {
        places.insert(process.key, place);
        if let Some(owner) = self.get_mut(place) {
            owner.seen = now;
            let go = process.go.as_deref();
            let goroutines = go.map(|go| &go.parked).into_iter().flatten();
            let parked = process.parked.iter().map(|of| (false, of));
            for (is_go, (&kind, count)) in parked.chain(goroutines.map(|of| (true, of))) {
                *owner.parked.entry(Group { kind, is_go }).or_default() += count;
            }
            if let Some(all) = go.and_then(|go| go.all.as_ref()) {
                owner.count([&all.by_status, &all.by_reason]);
            }
        }
    }

    fn place(&mut self, name: Name, now: Now, retired: &mut Vec<(u32, Owner)>) -> u32 {
        // One more for `OTHER`.
        if self.by_name.len() <= self.max {
            return self.insert(name, now);
        }
        let gone = self
            .iter()
            .filter(|&(place, owner)| place != OTHER && owner.seen.tick != now.tick)
            .min_by_key(|(_, owner)| owner.seen.at_ns);
        let Some((place, _)) = gone else {
            return OTHER;
        };
        retired.extend(self.remove(place).map(|owner| (place, owner)));
        self.insert(name, now)
    }

    /// Takes out those who were not seen for `linger_ns`.
    pub fn expired(&mut self, at_ns: u64, linger_ns: u64) -> Vec<(u32, Owner)> {
        let is_gone = |owner: &Owner| at_ns.saturating_sub(owner.seen.at_ns) > linger_ns;
        let gone: Vec<u32> = self
            .iter()
            .filter(|&(place, owner)| place != OTHER && is_gone(owner))
            .map(|(place, _)| place)
            .collect();
        gone.into_iter()
            .filter_map(|place| Some((place, self.remove(place)?)))
            .collect()
    }

    fn insert(&mut self, name: Name, seen: Now) -> u32 {
        let owner = Owner {
            name: name.clone(),
            parked: BTreeMap::new(),
            goroutines: Default::default(),
            rest: BTreeMap::new(),
            shown: 0,
            seen,
        };
        let place = super::series::put(&mut self.places, &mut self.free, owner);
        self.by_name.insert(name, place);
        place
    }

    fn remove(&mut self, place: u32) -> Option<Owner> {
        let owner = self.places.get_mut(place as usize)?.take()?;
        self.by_name.remove(&owner.name);
        self.free.push(place);
        Some(owner)
    }

    /// The one at `place`.
    pub fn get_mut(&mut self, place: u32) -> Option<&mut Owner> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// All with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Owner)> {
        (0..)
            .zip(&self.places)
            .filter_map(|(place, owner)| Some((place, owner.as_ref()?)))
    }

    /// The one at `place`.
    pub fn get(&self, place: u32) -> Option<&Owner> {
        self.places.get(place as usize)?.as_ref()
    }
}
