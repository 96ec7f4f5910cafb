//! How long to wait before a loop that has failed is started again.

use std::time::Duration;

/// First wait.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Who has run for this long is taken for healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Waits that double with every failure, until it has run well for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It has failed after running for `ran`: how long to wait now.
    pub fn failed(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.failures = 0;
        }
        // Beyond 2^16 the product is far above the longest wait.
        let wait = FIRST * (1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        wait.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_bound_and_forgives() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..11)
            .map(|_| backoff.failed(Duration::ZERO).as_millis())
            .collect();
        let doubled = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600];
        assert_eq!(waits, [&doubled[..], &[30_000, 30_000]].concat());
        assert_eq!(backoff.failed(HEALTHY_AFTER), FIRST);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.failed(Duration::ZERO), LONGEST);
    }
}
