//! Which words may go.

use holdup_abi::lock::LockKey;

use super::{Place, Table, Tick};
use crate::model::watch::ProcessKey;

impl Table {
    /// Words that nobody waits for and that have not changed for `idle` tenths of a second, those that have not for longest first, `most`
    /// at most.
    #[must_use]
    pub fn idle(&self, idle: Tick, most: usize) -> Vec<Place> {
        let words = self.words.0.iter().enumerate();
        let mut found: Vec<(Tick, Place)> = words
            .filter_map(|(place, word)| {
                let word = word.as_ref()?;
                let age = self.now.wrapping_sub(word.changed);
                (word.waiters.count == 0 && age >= idle)
                    .then_some((age, Place::try_from(place).ok()?))
            })
            .collect();
        found.sort_unstable_by(|left, right| right.cmp(left));
        found.truncate(most);
        found.into_iter().map(|(_, place)| place).collect()
    }

    /// Whether the process of a word has ended.
    #[must_use]
    pub fn has_ended(&self, key: &LockKey) -> bool {
        self.processes.has_ended(&ProcessKey {
            pid: key.tgid,
            generation: key.generation,
        })
    }

    /// Words of processes that have ended.
    pub fn orphans(&mut self) -> Vec<Place> {
        self.processes.orphans(&self.words)
    }
}
