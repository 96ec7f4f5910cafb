//! Processes that have a word: described once, forgotten with their last word.

use std::{collections::BTreeMap, ops::Bound};

use super::{Place, Tick, Words};
use crate::model::{
    Kind,
    watch::{Process, ProcessKey},
};

/// Processes with their words.
#[derive(Debug, Default)]
pub struct Processes {
    known: BTreeMap<ProcessKey, Known>,
    /// Those that are to be described.
    fresh: Vec<ProcessKey>,
    /// Those that have ended, with words left.
    ended: Vec<ProcessKey>,
    /// Where the round of [`Self::check`] is.
    at: Option<ProcessKey>,
}

#[derive(Debug)]
struct Known {
    shown: Process,
    /// Places of its words, and of some that are gone.
    places: Vec<Place>,
    live: usize,
    is_described: bool,
    has_ended: bool,
    since: Tick,
}

impl Processes {
    /// A word of this process came up.
    pub fn comes(&mut self, key: ProcessKey, place: Place, now: Tick) {
        if !self.known.contains_key(&key) {
            self.end_earlier(key, now);
            self.fresh.push(key);
        }
        let known = self.known.entry(key).or_insert_with(|| Known {
            shown: Process {
                key,
                ..Process::default()
            },
            places: Vec::new(),
            live: 0,
            is_described: false,
            has_ended: false,
            since: now,
        });
        known.places.push(place);
        known.live += 1;
    }

    /// A program that had this id before is gone. Of two that come up in one tick nobody knows which is the later one.
    fn end_earlier(&mut self, key: ProcessKey, now: Tick) {
        let of_pid = of_pid(key.pid);
        for (other, known) in self.known.range_mut(of_pid) {
            if known.since != now && !known.has_ended {
                known.has_ended = true;
                self.ended.push(*other);
            }
        }
    }

    /// A word of this process is gone.
    pub fn goes(&mut self, key: ProcessKey, words: &Words) {
        let Some(known) = self.known.get_mut(&key) else {
            return;
        };
        known.live = known.live.saturating_sub(1);
        if known.live == 0 {
            self.known.remove(&key);
            return;
        }
        if known.places.len() > 2 * known.live + 16 {
            let is_its = |place: &Place| {
                let word = words.get(*place);
                word.is_some_and(|word| word.process() == key)
            };
            known.places.retain(is_its);
            known.places.sort_unstable();
            known.places.dedup();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// What `/proc` said.
    pub fn described(&mut self, process: Process) {
        if let Some(known) = self.known.get_mut(&process.key) {
            known.shown = process;
            known.is_described = true;
        }
    }

    /// Processes that are to be described, each once.
    pub fn undescribed(&mut self, most: usize) -> Vec<ProcessKey> {
        let from = self.fresh.len().saturating_sub(most);
        self.fresh.split_off(from)
    }

    /// Those that were asked for will not be described.
    pub fn forget_questions(&mut self) {
        let missing = self.known.iter().filter(|(_, known)| !known.is_described);
        self.fresh = missing.map(|(key, _)| *key).collect();
    }

    /// As they are shown, with what their threads wait for. Costs as much as there are processes with words.
    #[must_use]
    pub fn shown(
        &self,
        mut parked: BTreeMap<ProcessKey, BTreeMap<Kind, u64>>,
    ) -> BTreeMap<ProcessKey, Process> {
        let shown = self.known.iter().map(|(key, known)| {
            let parked = parked.remove(key).unwrap_or_default();
            let process = Process {
                parked,
                ..known.shown.clone()
            };
            (*key, process)
        });
        shown.collect()
    }

    /// Looks whether processes still live, `most` of them, in turns.
    pub fn check(&mut self, most: usize, lives: impl Fn(u32) -> bool) {
        let from = self.at.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        let mut count = 0;
        for (key, known) in self.known.range_mut((from, Bound::Unbounded)).take(most) {
            last = Some(*key);
            count += 1;
            if !known.has_ended && !lives(key.pid) {
                known.has_ended = true;
                self.ended.push(*key);
            }
        }
        self.at = last.filter(|_| count == most);
    }

    /// Words of processes that have ended.
    #[must_use]
    pub fn orphans(&mut self, words: &Words) -> Vec<Place> {
        let Self { ended, known, .. } = self;
        ended.retain(|key| known.get(key).is_some_and(|known| known.has_ended));
        let mut orphans = Vec::new();
        for key in ended {
            let places = known.get(key).map(|known| &known.places);
            for &place in places.into_iter().flatten() {
                let word = words.get(place);
                if word.is_some_and(|word| word.process() == *key) {
                    orphans.push(place);
                }
            }
        }
        orphans.sort_unstable();
        orphans.dedup();
        orphans
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn has_ended(&self, key: &ProcessKey) -> bool {
        self.known.get(key).is_none_or(|known| known.has_ended)
    }
}

fn of_pid(pid: u32) -> std::ops::RangeInclusive<ProcessKey> {
    let key = |generation| ProcessKey { pid, generation };
    key(0)..=key(u32::MAX)
}
