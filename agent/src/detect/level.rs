//! How a measurement stands to its thresholds, and for how long.

use std::time::Duration;

/// Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Below the lower threshold: no incident.
    #[default]
    Clear,
    /// Between the two: an incident goes on, but none begins.
    Near,
    /// At the threshold or above.
    Over,
}

impl Level {
    /// Of several measurements that each must reach a threshold of its own.
    pub(super) fn of(measured: &[(u64, u64)], clear_percent: u8) -> Self {
        let reach = |lower: &dyn Fn(u64) -> u64| {
            let mut pairs = measured.iter();
            pairs.all(|&(value, threshold)| value >= lower(threshold))
        };
        match () {
            () if reach(&|threshold| threshold) => Self::Over,
            () if reach(&|threshold| lower(threshold, clear_percent)) => Self::Near,
            () => Self::Clear,
        }
    }
}

/// The lower one of two thresholds: `percent` of the other, rounded up, so that it is at least 1 where the other is.
pub(super) fn lower(threshold: u64, percent: u8) -> u64 {
    let share = (u128::from(threshold) * u128::from(percent)).div_ceil(100);
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// A duration as the views have it.
pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// For how long something has been over its threshold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    over_since_ns: Option<u64>,
    /// It was over for long enough, and has not been clear since.
    is_up: bool,
}

impl Mark {
    /// Takes note of the level at `now_ns`; whether an incident may begin.
    pub(super) fn set(&mut self, level: Level, now_ns: u64, r#for: Duration) -> bool {
        match level {
            Level::Clear => *self = Self::default(),
            Level::Near => self.over_since_ns = None,
            Level::Over => {
                let since_ns = *self.over_since_ns.get_or_insert(now_ns);
                self.is_up |= now_ns.saturating_sub(since_ns) >= ns(r#for);
            }
        }
        self.is_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_must_reach_its_threshold() {
        let level = |waiters, age| Level::of(&[(waiters, 100), (age, 10)], 50);
        assert_eq!(level(100, 10), Level::Over);
        assert_eq!(level(99, 10), Level::Near);
        assert_eq!(level(1_000, 5), Level::Near);
        assert_eq!(level(49, 10), Level::Clear);
        assert_eq!(level(1_000, 4), Level::Clear);
    }

    #[test]
    fn the_lower_threshold_is_never_nothing() {
        assert_eq!(lower(1, 1), 1);
        assert_eq!(lower(101, 50), 51);
        assert_eq!(lower(100, 100), 100);
        assert_eq!(lower(0, 50), 0);
        assert_eq!(lower(u64::MAX, 100), u64::MAX);
    }

    #[test]
    fn it_takes_its_time_to_go_up_and_none_to_go_down() {
        let mut mark = Mark::default();
        let mut set = |level, now_ns| mark.set(level, now_ns, Duration::from_nanos(10));
        assert!(!set(Level::Over, 100));
        assert!(!set(Level::Near, 105));
        assert!(!set(Level::Over, 110), "counts from anew");
        assert!(!set(Level::Over, 119));
        assert!(set(Level::Over, 120));
        assert!(set(Level::Near, 121), "between the thresholds it stays");
        assert!(!set(Level::Clear, 122));
        assert!(!set(Level::Near, 123));
    }
}
