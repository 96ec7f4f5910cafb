//! When uprobes cost too much. Pure: hits, prices and time come in, a verdict goes out.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long the share must be above the limit, on average.
const WINDOW: Duration = Duration::from_secs(1);
/// Most looks that are remembered; there are about ten in a second.
const MAX_LOOKS: usize = 256;

/// What hits cost until some time.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    spent_ns: f64,
    /// Time that the target's processors had until then, in nanoseconds: also while they were idle.
    capacity_ns: f64,
}

/// Watches the share of the target's processors that uprobes take.
#[derive(Debug)]
pub struct Governor {
    /// 1: all of them, which is as much as there is.
    limit: f64,
    looks: VecDeque<Look>,
    /// Largest share over a whole window so far.
    pub peak: f64,
}

impl Governor {
    /// Of a recording that begins now.
    #[must_use]
    pub fn new(max_overhead_percent: u32, now: Instant) -> Self {
        let first = Look {
            at: now,
            spent_ns: 0.0,
            capacity_ns: 0.0,
        };
        Self {
            limit: f64::from(max_overhead_percent) / 100.0,
            looks: VecDeque::from([first]),
            peak: 0.0,
        }
    }

    /// Takes in what all hits have cost until `now`, and how many processors the target has had since the last look. The
    /// share over the last second if it is above the limit.
    pub fn look(&mut self, now: Instant, spent_ns: f64, processors: usize) -> Option<f64> {
        let last = *self.looks.back()?;
        let elapsed = now.saturating_duration_since(last.at);
        let look = Look {
            at: now,
            spent_ns,
            capacity_ns: last.capacity_ns + elapsed.as_nanos() as f64 * processors.max(1) as f64,
        };
        self.looks.push_back(look);
        // The newest look that is a whole window old is where it begins.
        while self.looks.len() > MAX_LOOKS
            || self
                .looks
                .get(1)
                .is_some_and(|second| now.saturating_duration_since(second.at) >= WINDOW)
        {
            self.looks.pop_front();
        }
        let first = self.looks.front()?;
        if now.saturating_duration_since(first.at) < WINDOW {
            return None;
        }
        let capacity_ns = look.capacity_ns - first.capacity_ns;
        let share = ((look.spent_ns - first.spent_ns) / capacity_ns).max(0.0);
        self.peak = self.peak.max(share);
        // What is measured may come to a little more than all there is.
        (share > self.limit && self.limit < 1.0).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks ten times a second, each with what was spent since the last in milliseconds; the look that trips and the share
    /// in percent.
    fn run(limit: u32, processors: usize, spent_ms: &[f64]) -> Option<(usize, u32)> {
        let start = Instant::now();
        let mut governor = Governor::new(limit, start);
        let mut total_ns = 0.0;
        spent_ms.iter().enumerate().find_map(|(index, spent)| {
            total_ns += spent * 1e6;
            let now = start + Duration::from_millis(100) * (index as u32 + 1);
            let share = governor.look(now, total_ns, processors)?;
            Some((index + 1, (share * 100.0).round() as u32))
        })
    }

    #[test]
    fn trips_after_a_second_above_the_limit() {
        assert_eq!(run(5, 1, &[50.0; 20]), Some((10, 50)));
        assert_eq!(run(5, 4, &[50.0; 20]), Some((10, 13)));
        // Quiet at first: the average passes 5 % with the second look of 5 ms in ten.
        let mut late = vec![0.0; 20];
        late.extend([30.0; 20]);
        assert_eq!(run(5, 1, &late), Some((22, 6)));
    }

    #[test]
    fn does_not_trip_below() {
        assert_eq!(run(5, 1, &[4.9; 100]), None);
        assert_eq!(run(50, 2, &[99.0; 100]), None);
        // A burst of a tenth of a second is 4 % of the second that it is in.
        let mut burst = vec![0.0; 50];
        burst[25] = 40.0;
        assert_eq!(run(5, 1, &burst), None);
    }

    #[test]
    fn a_limit_of_everything_never_trips() {
        assert_eq!(run(100, 1, &[200.0; 100]), None);
    }

    #[test]
    fn looks_far_apart_and_clocks_that_stand_still() {
        let start = Instant::now();
        let mut governor = Governor::new(5, start);
        assert_eq!(governor.look(start, 1e9, 1), None);
        let share = governor
            .look(start + Duration::from_secs(10), 2e9, 0)
            .unwrap();
        assert!((0.1..=0.2).contains(&share), "{share}");
        assert!(governor.peak >= share);
    }
}
