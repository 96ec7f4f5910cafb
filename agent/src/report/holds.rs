//! Holds and the scheduler's share of waits: what the kernel side measured of a lock becomes the model's.

use std::{
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
};

use holdup_abi::{
    hold::{self as abi},
    lock::{BUCKETS, LockKey},
};

use super::{lock::buckets, stacks::RawStack};
use crate::{
    model::{
        Kind, RawFrame,
        hold::{HoldSite, Holds, Runqueue},
    },
    symbol::{Space, Symbols},
};

/// Call paths kept for one lock.
const MAX_PER_LOCK: usize = 64;
/// Call paths kept over all locks.
const MAX_PATHS: usize = 32_768;

/// What is known of one call path that lets go of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sampled releases.
    pub samples: u64,
    /// Those whose thread was off its processor while it held the lock.
    pub off_cpu: u64,
    /// How long they kept others waiting in nanoseconds.
    pub charged_ns: u64,
}

/// What samples tell about those who let go. Bounded: what does not fit is counted under an empty
/// stack.
#[derive(Debug, Default)]
pub struct Gathered {
    paths: HashMap<LockKey, HashMap<RawStack, Tally>>,
    distinct: usize,
    overflow: u64,
}

impl Gathered {
    /// Somebody let go of `key` at `stack` after it kept others waiting for `charged_ns`.
    pub fn release(&mut self, key: LockKey, stack: Vec<RawFrame>, charged_ns: u64, off_cpu: bool) {
        let paths = self.paths.entry(key).or_default();
        let full = paths.len() >= MAX_PER_LOCK || self.distinct >= MAX_PATHS;
        let mut stack: RawStack = stack.into();
        if full && !paths.contains_key(&stack) {
            self.overflow += 1;
            stack = Rc::default();
        }
        let tally = match paths.entry(stack) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.distinct += 1;
                entry.insert(Tally::default())
            }
        };
        tally.samples += 1;
        tally.off_cpu += u64::from(off_cpu);
        tally.charged_ns = tally.charged_ns.saturating_add(charged_ns);
    }

    /// Call paths of one lock, in no order.
    #[must_use]
    pub fn paths(&self, key: &LockKey) -> Vec<(RawStack, Tally)> {
        let paths = self.paths.get(key).into_iter().flatten();
        paths
            .map(|(stack, tally)| (Rc::clone(stack), *tally))
            .collect()
    }

    /// Releases whose place was lost for want of room.
    #[must_use]
    pub const fn overflow(&self) -> u64 {
        self.overflow
    }
}

/// What is known of one futex word besides its waits.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Holds that ended with a wake of this word only; `None` when nothing was recorded.
    pub holds: Option<abi::Holds>,
    /// Those whose thread woke the word beside first, as if that ended them.
    pub beside: Option<abi::Tally>,
    /// The same ones, as if the word beside were another lock's.
    pub after_beside: Option<abi::Tally>,
    /// Call paths that let go.
    pub paths: Vec<(RawStack, Tally)>,
    /// The scheduler's share.
    pub runqueue: Option<Runqueue>,
}

/// Adds up the holds of a lock's words; `None` when none was measured. A reader-writer lock waits on two words and wakes
/// either.
#[must_use]
pub fn holds<'a>(
    words: impl Iterator<Item = &'a Measured>,
    kind: Kind,
    space: Space,
    symbols: &mut Symbols,
) -> Option<Holds> {
    let mut sum = Holds::default();
    let mut histogram = vec![0; BUCKETS];
    let mut paths: HashMap<&RawStack, Tally> = HashMap::new();
    for word in words {
        let ended = word.holds.as_ref().map(|holds| &holds.ended);
        let other = match kind {
            Kind::RwlockRead | Kind::RwlockWrite => &word.beside,
            _ => &word.after_beside,
        };
        for tally in ended.into_iter().chain(other) {
            let abi::Tally {
                total_ns,
                max_ns,
                slept,
                slept_ns,
                histogram: counts,
            } = tally;
            sum.total_ns = sum.total_ns.saturating_add(*total_ns);
            sum.max_ns = sum.max_ns.max(*max_ns);
            sum.slept += slept;
            sum.slept_ns = sum.slept_ns.saturating_add(*slept_ns);
            for (total, count) in histogram.iter_mut().zip(counts) {
                *total += count;
            }
        }
        for (stack, tally) in &word.paths {
            let total = paths.entry(stack).or_default();
            total.samples += tally.samples;
            total.off_cpu += tally.off_cpu;
            total.charged_ns = total.charged_ns.saturating_add(tally.charged_ns);
        }
    }
    sum.measured = histogram.iter().sum();
    if sum.measured == 0 && paths.is_empty() {
        return None;
    }
    sum.histogram = buckets(&histogram);
    sum.sites = sites(paths, space, symbols);
    Some(sum)
}

fn sites(paths: HashMap<&RawStack, Tally>, space: Space, symbols: &mut Symbols) -> Vec<HoldSite> {
    let mut paths: Vec<(&RawStack, Tally)> = paths.into_iter().collect();
    paths.sort_by_key(|(stack, tally)| {
        let first = stack.first().map(|frame| frame.address);
        (std::cmp::Reverse((tally.charged_ns, tally.samples)), first)
    });
    paths
        .into_iter()
        .map(|(stack, tally)| HoldSite {
            samples: tally.samples,
            samples_off_cpu: tally.off_cpu,
            charged_ns: tally.charged_ns,
            frames: symbols.symbolize(space, stack),
        })
        .collect()
}

/// Adds up the scheduler's share over a lock's words.
#[must_use]
pub fn runqueue<'a>(words: impl Iterator<Item = &'a Measured>) -> Option<Runqueue> {
    words
        .filter_map(|word| word.runqueue)
        .reduce(|mut sum, word| {
            sum.add(&word);
            sum
        })
        .filter(|sum| sum.waits > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: u64) -> LockKey {
        LockKey {
            address,
            tgid: 1,
            generation: 1,
        }
    }

    #[test]
    fn paths_beyond_the_bound_are_one_without_a_name() {
        let mut gathered = Gathered::default();
        for address in 0..=MAX_PER_LOCK as u64 {
            let frame = RawFrame {
                address,
                guessed: false,
            };
            gathered.release(key(1), vec![frame], 5, address == 0);
        }
        let paths = gathered.paths(&key(1));
        assert_eq!(paths.len(), MAX_PER_LOCK + 1);
        assert_eq!(gathered.overflow(), 1);
        let sum: u64 = paths.iter().map(|(_, tally)| tally.charged_ns).sum();
        assert_eq!(sum, 5 * (MAX_PER_LOCK as u64 + 1), "nothing is lost");
        let off_cpu: u64 = paths.iter().map(|(_, tally)| tally.off_cpu).sum();
        assert_eq!(off_cpu, 1);
    }
}
