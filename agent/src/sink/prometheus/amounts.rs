//! What one series has counted.

use holdup_abi::lock::{BUCKETS, bucket_le_ns};

use crate::model::watch::Counts;

/// Finished waits and hand-offs. Only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// Finished waits by duration, see [`bucket_le_ns`]. Those whose duration was not looked at are in the last bucket, which
    /// is true of them too: it has no bound.
    pub buckets: [u64; BUCKETS],
    /// Sum of finished waits in nanoseconds: 10,000 threads that wait reach the end of 64 bits within weeks.
    pub wait_ns: u128,
    /// Waits that ended by a wake.
    pub handoffs: u64,
}

impl Default for Amounts {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            wait_ns: 0,
            handoffs: 0,
        }
    }
}

impl Amounts {
    /// Adds what was counted after `before`; all of it when the lock has lost its place in the kernel's table since.
    pub fn add_since(&mut self, now: &Counts, before: Option<&Counts>) {
        let before = before.filter(|before| continues(now, before));
        if before.is_some_and(|before| is_same(now, before)) {
            return;
        }
        let mut waits = now.waits() - before.map_or(0, Counts::waits);
        for (index, sum) in self.buckets.iter_mut().enumerate() {
            let count = now.histogram[index] - before.map_or(0, |before| before.histogram[index]);
            *sum += count;
            waits = waits.saturating_sub(count);
        }
        self.buckets[BUCKETS - 1] += waits;
        self.wait_ns += u128::from(now.wait_ns - before.map_or(0, |before| before.wait_ns));
        self.handoffs += now.handoffs() - before.map_or(0, Counts::handoffs);
    }

    /// Adds another series.
    pub fn add(&mut self, other: &Self) {
        let Self {
            buckets,
            wait_ns,
            handoffs,
        } = other;
        for (sum, count) in self.buckets.iter_mut().zip(buckets) {
            *sum += count;
        }
        self.wait_ns += wait_ns;
        self.handoffs += handoffs;
    }

    /// Finished waits.
    pub fn waits(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Pairs of an upper bound in seconds and the waits in that bucket alone; the last bound is infinite. Only every
    /// `step`th of the kernel's bounds is kept, the greatest among them, so that each is exact.
    pub fn buckets(&self, step: usize) -> Vec<(f64, u64)> {
        let mut buckets = Vec::with_capacity(BUCKETS / step + 2);
        let mut count = 0;
        for (index, waits) in self.buckets.iter().enumerate() {
            count += waits;
            let bound = bucket_le_ns(index);
            // Counted from the greatest finite bound.
            if bound.is_some() && !(BUCKETS - 2 - index).is_multiple_of(step) {
                continue;
            }
            let le = bound.map_or(f64::INFINITY, |le_ns| seconds(le_ns.into()));
            buckets.push((le, std::mem::take(&mut count)));
        }
        buckets
    }
}

/// Whether `now` counts on from `before`: then nothing is less.
fn continues(now: &Counts, before: &Counts) -> bool {
    let counted = |counts: &Counts| [counts.waits(), counts.handoffs(), counts.wait_ns];
    counted(now)
        .iter()
        .chain(&now.histogram)
        .zip(counted(before).iter().chain(&before.histogram))
        .all(|(now, before)| now >= before)
}

fn is_same(now: &Counts, before: &Counts) -> bool {
    (now.waits(), now.wait_ns) == (before.waits(), before.wait_ns)
        && now.histogram == before.histogram
        && now.handoffs() == before.handoffs()
}

/// The nearest number of seconds: exact to the nanosecond for more than 100 days.
#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 ns the rounding is less than a millionth of a second"
)]
pub fn seconds(ns: u128) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcomes;

    fn counts(waits: u64, wait_ns: u64, bucket: usize) -> Counts {
        let mut histogram = [0; BUCKETS];
        histogram[bucket] = waits;
        Counts {
            outcomes: Outcomes {
                woken: waits,
                ..Outcomes::default()
            },
            value_changed: 0,
            wakes: waits,
            wait_ns,
            wait_max_ns: wait_ns,
            last_handoff_ns: None,
            histogram,
        }
    }

    #[test]
    fn a_place_that_is_used_again_counts_from_zero() {
        let mut amounts = Amounts::default();
        amounts.add_since(&counts(5, 500, 3), None);
        amounts.add_since(&counts(7, 900, 3), Some(&counts(5, 500, 3)));
        assert_eq!((amounts.waits(), amounts.wait_ns), (7, 900));
        amounts.add_since(&counts(2, 100, 3), Some(&counts(7, 900, 3)));
        assert_eq!((amounts.waits(), amounts.wait_ns), (9, 1000));
        // More waits than before, but none in the bucket that had seven: another life too.
        amounts.add_since(&counts(8, 2000, 4), Some(&counts(7, 900, 3)));
        assert_eq!((amounts.waits(), amounts.wait_ns), (17, 3000));
        assert_eq!(amounts.handoffs, 17);
    }

    #[test]
    fn bounds_are_the_kernels_and_nothing_is_lost_between_them() {
        let mut amounts = Amounts::default();
        for (index, bucket) in amounts.buckets.iter_mut().enumerate() {
            *bucket = 1 << index;
        }
        let all = amounts.buckets(1);
        assert_eq!(all.len(), BUCKETS);
        assert_eq!(all[0], (0.000_001_024, 1));
        assert_eq!(all[32].0, 4_398.046_511_104);
        assert_eq!(all[33], (f64::INFINITY, 1 << 33));
        for step in 1..=16 {
            let buckets = amounts.buckets(step);
            let mut cumulative = 0;
            for (le, count) in &buckets {
                cumulative += count;
                let exact: u64 = all
                    .iter()
                    .filter(|(bound, _)| bound <= le)
                    .map(|b| b.1)
                    .sum();
                assert_eq!(cumulative, exact, "step {step}, le {le}");
            }
            assert_eq!(buckets.last().unwrap().0, f64::INFINITY);
            assert_eq!(buckets[buckets.len() - 2].0, 4_398.046_511_104);
        }
        assert_eq!(amounts.buckets(2).len(), 18);
    }
}
