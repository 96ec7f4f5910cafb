//! How much reading a report may cost: counts are always those of all threads, stacks are read within bounds.

use std::{collections::HashMap, hash::Hash, time::Instant};

/// Bounds on the stacks that are unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Waiters of one lock.
    pub per_lock: usize,
    /// Waiters at once, over all locks.
    pub waiters: usize,
    /// Threads outside a futex wait.
    pub others: usize,
    /// Goroutines are looked at.
    pub goroutines: bool,
    /// Nothing more is unwound after this.
    pub deadline: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            per_lock: 16_384,
            waiters: 32_768,
            others: 4096,
            goroutines: true,
            deadline: None,
        }
    }
}

impl Budget {
    /// No stacks at all.
    pub const WITHOUT_STACKS: Self = Self {
        per_lock: 0,
        waiters: 0,
        others: 0,
        goroutines: true,
        deadline: None,
    };

    /// Of each lock as many as it takes to see where its waiters come from.
    pub const SAMPLE: Self = Self {
        per_lock: 256,
        waiters: 4096,
        others: 512,
        goroutines: true,
        deadline: None,
    };

    /// The usual bounds, with another one per lock.
    #[must_use]
    pub fn per_lock(per_lock: usize) -> Self {
        Self {
            per_lock,
            ..Self::default()
        }
    }

    /// Whether any are unwound.
    #[must_use]
    pub const fn has_stacks(&self) -> bool {
        self.waiters > 0 || self.others > 0
    }

    /// Whether the time is up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// How to choose among the waiters of each lock, given the lock of every waiter.
    pub fn strides<K: Eq + Hash>(&self, locks: impl Iterator<Item = K>) -> HashMap<K, Stride> {
        let mut counts: HashMap<K, usize> = HashMap::new();
        for lock in locks {
            *counts.entry(lock).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|(lock, count)| (lock, Stride::new(self.per_lock, count)))
            .collect()
    }
}

/// Chooses evenly from a known number of things, the first one always: threads are listed by age, and old and young ones
/// wait in different places.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    most: usize,
    of: usize,
    /// Grows by `most` with each thing; one is chosen whenever it passes `of`.
    sum: usize,
}

impl Stride {
    /// Chooses at most `most` out of `of`.
    #[must_use]
    pub const fn new(most: usize, of: usize) -> Self {
        let most = if most < of { most } else { of };
        Self {
            most,
            of,
            sum: of.saturating_sub(most),
        }
    }

    /// Whether the next one is chosen.
    pub const fn choose(&mut self) -> bool {
        if self.most == 0 {
            return false;
        }
        self.sum += self.most;
        let is_chosen = self.sum >= self.of;
        if is_chosen {
            self.sum -= self.of;
        }
        is_chosen
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn chosen(most: usize, of: usize) -> Vec<usize> {
        let mut stride = Stride::new(most, of);
        (0..of).filter(|_| stride.choose()).collect()
    }

    #[test]
    fn a_sample_is_spread_evenly() {
        assert_eq!(chosen(3, 9), [0, 3, 6]);
        assert_eq!(chosen(4, 4), [0, 1, 2, 3]);
        assert_eq!(chosen(9, 2), [0, 1]);
        assert_eq!(chosen(0, 5), [0; 0]);
        assert_eq!(chosen(5, 0), [0; 0]);
    }

    proptest! {
        #[test]
        fn as_many_as_asked_for_and_the_first(most in 1_usize..400, of in 1_usize..2_000) {
            let chosen = chosen(most, of);
            prop_assert_eq!(chosen.len(), most.min(of));
            prop_assert_eq!(chosen.first(), Some(&0));
        }
    }

    #[test]
    fn time_runs_out() {
        let mut budget = Budget::default();
        assert!(!budget.is_over());
        budget.deadline = Some(Instant::now());
        assert!(budget.is_over());
        budget.deadline = Some(Instant::now() + Duration::from_secs(3600));
        assert!(!budget.is_over());
    }
}
