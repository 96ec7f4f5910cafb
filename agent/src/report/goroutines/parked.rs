//! What was measured of semaphores that goroutines wait for, by process.

use std::collections::{BTreeMap, HashMap};

use holdup_abi::{golang::SEMAPHORE, lock as abi};

use crate::{
    ingest::goroutines::Waits,
    report::{
        lock::{Word, space_of},
        stacks::{RawStack, Tally},
    },
    runtime::go::census::{Goroutine, Target},
    symbol::Space,
};

/// A semaphore.
#[derive(Clone, Debug)]
pub struct Semaphore {
    /// Its statistics.
    pub stats: abi::Lock,
    /// Call paths of sampled waits.
    pub paths: Vec<(RawStack, Tally)>,
}

/// All semaphores.
#[derive(Debug, Default)]
pub struct Parked {
    /// By process.
    pub semaphores: BTreeMap<Space, Vec<Semaphore>>,
    /// Waits that were on record after the goroutines were looked at.
    pub waits: Waits,
    /// Since when parking is noticed, on the monotonic clock in nanoseconds; `None` when it is not.
    pub watched_since_ns: Option<u64>,
    /// When it was read.
    pub now_ns: u64,
}

impl Parked {
    /// Takes semaphores out of the words.
    pub fn take(&mut self, words: &mut Vec<Word>) {
        let is_semaphore = |word: &mut Word| word.stats.is_some_and(|stats| stats.op == SEMAPHORE);
        for word in words.extract_if(.., is_semaphore) {
            let Some(stats) = word.stats else { continue };
            self.semaphores
                .entry(space_of(&word.key))
                .or_default()
                .push(Semaphore {
                    stats,
                    paths: word.paths,
                });
        }
    }

    /// Whether anybody watched.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        self.watched_since_ns.is_some()
    }

    /// Since when a goroutine waits, if it was seen to park and waits still.
    #[must_use]
    pub fn since_ns(&self, space: Space, goroutine: &Goroutine) -> Option<u64> {
        let Target::Semaphore(semaphore) = goroutine.target else {
            return None;
        };
        let wait = self.waits.get(&(space.pid, goroutine.record.address))?;
        (wait.key.address == semaphore).then_some(wait.since_ns)
    }
}

/// Call paths with how many wait there now.
pub type Paths = HashMap<RawStack, (Tally, u64)>;
