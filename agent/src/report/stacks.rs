//! Call paths of sampled waits, counted per lock. Bounded: what does not fit is counted under an empty stack.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    rc::Rc,
};

use holdup_abi::lock::LockKey;

use crate::model::RawFrame;

/// Call paths kept for one lock.
const MAX_PER_LOCK: usize = 256;
/// Call paths kept over all locks.
const MAX_STACKS: usize = 65_536;
/// Sampled waits whose end is waited for.
const MAX_PENDING: usize = 65_536;

/// An unwound stack, shared between its users.
pub type RawStack = Rc<[RawFrame]>;

/// What is known of one call path of one lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Waits seen to begin here.
    pub samples: u64,
    /// How many of them ended.
    pub ended: u64,
    /// How long those took, in nanoseconds.
    pub wait_ns: u64,
}

/// Call paths by lock.
#[derive(Debug, Default)]
pub struct Stacks {
    locks: HashMap<LockKey, HashMap<RawStack, Tally>>,
    pending: HashMap<(u32, u64), (LockKey, RawStack)>,
    /// Pending waits in the order they began; the oldest are given up first.
    order: VecDeque<(u32, u64)>,
    distinct: usize,
    /// Waits counted under the empty stack for want of room, and ends that came after their beginning was given up.
    overflow: u64,
}

impl Stacks {
    /// A wait of thread `tid` on `key` began at `since_ns`.
    pub fn begin(&mut self, key: LockKey, tid: u32, since_ns: u64, stack: Vec<RawFrame>) {
        let stack = self.count(key, stack.into());
        if self.pending.len() >= MAX_PENDING
            && let Some(oldest) = self.order.pop_front()
        {
            self.pending.remove(&oldest);
        }
        self.pending.insert((tid, since_ns), (key, stack));
        self.order.push_back((tid, since_ns));
    }

    /// Whether this wait was begun and has not ended.
    #[must_use]
    pub fn is_begun(&self, tid: u32, since_ns: u64) -> bool {
        self.pending.contains_key(&(tid, since_ns))
    }

    fn count(&mut self, key: LockKey, stack: RawStack) -> RawStack {
        let paths = self.locks.entry(key).or_default();
        let full = paths.len() >= MAX_PER_LOCK || self.distinct >= MAX_STACKS;
        let stack = if full && !paths.contains_key(&stack) {
            self.overflow += 1;
            Rc::default()
        } else {
            stack
        };
        match paths.entry(stack) {
            Entry::Occupied(entry) => {
                let shared = Rc::clone(entry.key());
                entry.into_mut().samples += 1;
                shared
            }
            Entry::Vacant(entry) => {
                self.distinct += 1;
                let shared = Rc::clone(entry.key());
                entry.insert(Tally {
                    samples: 1,
                    ended: 0,
                    wait_ns: 0,
                });
                shared
            }
        }
    }

    /// A wait that was begun ended after `duration_ns`.
    pub fn end(&mut self, tid: u32, since_ns: u64, duration_ns: u64) {
        let Some((key, stack)) = self.settle(tid, since_ns) else {
            self.overflow += 1;
            return;
        };
        if let Some(tally) = self
            .locks
            .get_mut(&key)
            .and_then(|paths| paths.get_mut(&stack))
        {
            tally.ended += 1;
            tally.wait_ns = tally.wait_ns.saturating_add(duration_ns);
        }
    }

    /// A wait is pending no more.
    fn settle(&mut self, tid: u32, since_ns: u64) -> Option<(LockKey, RawStack)> {
        let wait = self.pending.remove(&(tid, since_ns))?;
        if self.order.front() == Some(&(tid, since_ns)) {
            self.order.pop_front();
        } else if self.order.len() > 2 * MAX_PENDING {
            let pending = &self.pending;
            self.order.retain(|wait| pending.contains_key(wait));
        }
        Some(wait)
    }

    /// A wait that was begun turned out to be none.
    pub fn take_back(&mut self, tid: u32, since_ns: u64) {
        let Some((key, stack)) = self.settle(tid, since_ns) else {
            return;
        };
        let Some(paths) = self.locks.get_mut(&key) else {
            return;
        };
        if let Entry::Occupied(mut path) = paths.entry(stack) {
            let tally = path.get_mut();
            tally.samples = tally.samples.saturating_sub(1);
            if path.get().samples == 0 {
                path.remove();
                self.distinct -= 1;
            }
        }
    }

    /// Call paths of one lock, in no order.
    pub fn of(&self, key: &LockKey) -> impl Iterator<Item = (&RawStack, Tally)> {
        self.locks
            .get(key)
            .into_iter()
            .flatten()
            .map(|(stack, tally)| (stack, *tally))
    }

    /// Waits whose call path or end was lost for want of room.
    #[must_use]
    pub const fn overflow(&self) -> u64 {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LockKey = LockKey {
        address: 0x1000,
        tgid: 1,
        generation: 0,
    };

    fn stack(address: u64) -> Vec<RawFrame> {
        vec![RawFrame {
            address,
            guessed: false,
        }]
    }

    fn tally(stacks: &Stacks, address: u64) -> Tally {
        let wanted: RawStack = stack(address).into();
        stacks
            .of(&KEY)
            .find(|(found, _)| **found == wanted)
            .unwrap()
            .1
    }

    #[test]
    fn time_goes_to_the_path_where_the_wait_began() {
        let mut stacks = Stacks::default();
        stacks.begin(KEY, 10, 100, stack(1));
        stacks.begin(KEY, 11, 101, stack(2));
        stacks.begin(KEY, 12, 102, stack(1));
        stacks.end(11, 101, 7);
        stacks.end(10, 100, 5);
        stacks.end(99, 1, 5);
        assert_eq!(
            tally(&stacks, 1),
            Tally {
                samples: 2,
                ended: 1,
                wait_ns: 5
            }
        );
        assert_eq!(
            tally(&stacks, 2),
            Tally {
                samples: 1,
                ended: 1,
                wait_ns: 7
            }
        );
        assert_eq!(stacks.overflow(), 1, "an end without a beginning");
    }

    #[test]
    fn calls_that_never_slept_leave_no_path() {
        let mut stacks = Stacks::default();
        stacks.begin(KEY, 10, 100, stack(1));
        stacks.begin(KEY, 10, 200, stack(1));
        stacks.begin(KEY, 11, 300, stack(2));
        stacks.take_back(10, 200);
        stacks.take_back(11, 300);
        stacks.take_back(11, 300);
        assert_eq!(tally(&stacks, 1).samples, 1);
        assert_eq!(stacks.of(&KEY).count(), 1);
        assert_eq!((stacks.distinct, stacks.overflow()), (1, 0));
    }

    #[test]
    fn paths_beyond_the_limit_are_counted_together() {
        let mut stacks = Stacks::default();
        for path in 0..(MAX_PER_LOCK as u64 + 10) {
            stacks.begin(KEY, 1, path, stack(path + 1));
        }
        let all: u64 = stacks.of(&KEY).map(|(_, tally)| tally.samples).sum();
        assert_eq!(all, MAX_PER_LOCK as u64 + 10, "nothing is lost");
        assert_eq!(stacks.overflow(), 10);
        assert!(stacks.of(&KEY).count() <= MAX_PER_LOCK + 1);
    }

    #[test]
    fn pending_waits_are_bounded() {
        let mut stacks = Stacks::default();
        for wait in 0..(MAX_PENDING as u64 + 5) {
            stacks.begin(KEY, 1, wait, stack(1));
        }
        assert!(stacks.pending.len() <= MAX_PENDING && stacks.order.len() <= 2 * MAX_PENDING + 1);
    }
}
