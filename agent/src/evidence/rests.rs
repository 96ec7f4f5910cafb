//! When all goroutines of a process may be looked at again: a look at 190,000 of them takes a good part of a second.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    model::{Snapshot, health::Health},
    sink::units,
};

/// After a look, a process is left alone for so many times as long as it took.
const SHARE: u32 = 10;

/// Processes that are left alone for a while: until when, and how long the last look took.
#[derive(Debug, Default)]
pub struct Rests(Mutex<HashMap<u32, (Instant, Duration)>>);

impl Rests {
    /// Why the goroutines of a process are not to be looked at now; `None` when they are.
    pub fn refusal(&self, pid: u32, health: &Health, now: Instant) -> Option<String> {
        if let Some(why) = &health.cost.why {
            return Some(format!(
                "goroutines were not looked at: the agent does less since it used {why}"
            ));
        }
        let rests = self.lock();
        let (until, took) = rests.get(&pid)?;
        (now < *until).then(|| {
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            format!(
                "goroutines were not looked at again so soon: the last look took {}",
                units::duration(took)
            )
        })
    }

    /// Takes note of what the looks in a snapshot that is there at `now` took.
    pub fn note(&self, snapshot: &Snapshot, now: Instant) {
        let mut rests = self.lock();
        rests.retain(|_, (until, _)| now < *until);
        for process in &snapshot.go {
            let took = Duration::from_nanos(process.duration_ns);
            rests.insert(process.pid, (now + took * SHARE, took));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, (Instant, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GoProcess;

    #[test]
    fn the_longer_a_look_takes_the_longer_is_the_rest() {
        let (rests, health, now) = (Rests::default(), Health::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(rests.refusal(7, &health, now), None);
        let mut snapshot = crate::sink::fixture::snapshot();
        snapshot.go = vec![GoProcess {
            pid: 7,
            duration_ns: 50_000_000,
            ..GoProcess::default()
        }];
        rests.note(&snapshot, now);
        let refusal = rests.refusal(7, &health, after(499)).unwrap();
        assert!(refusal.contains("the last look took 50.0 ms"), "{refusal}");
        assert_eq!(rests.refusal(8, &health, after(499)), None);
        assert_eq!(rests.refusal(7, &health, after(500)), None);
    }

    #[test]
    fn over_its_budget_the_agent_looks_at_none() {
        let mut health = Health::default();
        health.cost.why = Some("11.00 % of a CPU for the agent itself".to_owned());
        let refusal = Rests::default()
            .refusal(7, &health, Instant::now())
            .unwrap();
        assert!(refusal.contains("11.00 %"), "{refusal}");
    }
}
