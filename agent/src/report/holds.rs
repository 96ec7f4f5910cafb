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
        RawFrame,
        hold::{HoldSite, Holds, Runqueue},
    },
    symbol::{Space, Symbols},
};

/// Call paths kept for one lock.
const MAX_PER_LOCK: usize = 64;
/// Call paths kept over all locks.
const MAX_PATHS: usize = 32_768;
/// Locks whose waits are looked at for the scheduler's share.
const MAX_LOCKS: usize = 65_536;

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

/// What samples tell about locks apart from the waits themselves. Bounded: what does not fit is counted under an empty
/// stack.
#[derive(Debug, Default)]
pub struct Gathered {
    paths: HashMap<LockKey, HashMap<RawStack, Tally>>,
    runqueues: HashMap<LockKey, Runqueue>,
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

    /// A sampled wait for `key` took `wait_ns`, `ready_ns` of which its thread was ready to run.
    pub fn wait(&mut self, key: LockKey, wait_ns: u64, ready_ns: u64) {
        if self.runqueues.len() >= MAX_LOCKS && !self.runqueues.contains_key(&key) {
            self.overflow += 1;
            return;
        }
        let runqueue = self.runqueues.entry(key).or_default();
        runqueue.waits += 1;
        runqueue.wait_ns = runqueue.wait_ns.saturating_add(wait_ns);
        // The thread may have been preempted before it slept, or after the look at the clock.
        runqueue.ready_ns = runqueue.ready_ns.saturating_add(ready_ns.min(wait_ns));
    }

    /// Call paths of one lock, in no order.
    #[must_use]
    pub fn paths(&self, key: &LockKey) -> Vec<(RawStack, Tally)> {
        let paths = self.paths.get(key).into_iter().flatten();
        paths
            .map(|(stack, tally)| (Rc::clone(stack), *tally))
            .collect()
    }

    /// The scheduler's share of one lock's waits.
    #[must_use]
    pub fn runqueue(&self, key: &LockKey) -> Option<Runqueue> {
        self.runqueues.get(key).copied()
    }

    /// Releases and waits whose place was lost for want of room.
    #[must_use]
    pub const fn overflow(&self) -> u64 {
        self.overflow
    }
}

/// What is known of one futex word besides its waits.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The kernel side's measurements; `None` when nothing was recorded.
    pub holds: Option<abi::Holds>,
    /// Call paths that let go.
    pub paths: Vec<(RawStack, Tally)>,
    /// The scheduler's share.
    pub runqueue: Option<Runqueue>,
}

/// Adds up the holds of a lock's words; `None` when none was measured.
#[must_use]
pub fn holds<'a>(
    words: impl Iterator<Item = &'a Measured>,
    space: Space,
    symbols: &mut Symbols,
) -> Option<Holds> {
    let mut sum = Holds::default();
    let mut histogram = vec![0; BUCKETS];
    let mut paths: HashMap<&RawStack, Tally> = HashMap::new();
    for word in words {
        if let Some(holds) = &word.holds {
            let abi::Holds {
                measured,
                total_ns,
                max_ns,
                slept,
                slept_ns,
                window_end_ns: _,
                left: _,
                next_sample_ns: _,
                contended_since_ns: _,
                looked_at_tick: _,
                histogram: counts,
            } = holds;
            sum.measured += measured;
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

    #[test]
    fn a_thread_is_never_ready_for_longer_than_it_waits() {
        let mut gathered = Gathered::default();
        gathered.wait(key(1), 100, 30);
        gathered.wait(key(1), 10, 30);
        let runqueue = gathered.runqueue(&key(1)).expect("it was waited for");
        assert_eq!(
            (runqueue.waits, runqueue.wait_ns, runqueue.ready_ns),
            (2, 110, 40)
        );
        assert_eq!(gathered.runqueue(&key(2)), None);
    }
}
