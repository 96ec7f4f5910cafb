//! What the agent tells of itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    health::Program,
    incident::{Change, Event, Reason},
};

/// The HTTP side's own counters.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Open connections.
    pub connections: u64,
    /// Open event streams.
    pub streams: u64,
    /// Answers by route and status.
    pub requests: Vec<(String, u16, u64)>,
    /// Who was turned away, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Connections that were cut off, by reason.
    pub cut: Vec<(&'static str, u64)>,
    /// Events that did not reach a reader of the stream.
    pub events_dropped: u64,
}

/// A counter whose source may start again at 0.
#[derive(Clone, Copy, Debug, Default)]
struct Fold {
    base: u64,
    last: u64,
}

impl Fold {
    fn set(&mut self, value: u64) {
        if value < self.last {
            self.base += self.last;
        }
        self.last = value;
    }

    const fn sum(self) -> u64 {
        self.base + self.last
    }
}

/// Counters that the agent's parts would lose when they are started again.
#[derive(Debug)]
pub struct Own {
    lost: BTreeMap<String, Fold>,
    incidents: BTreeMap<&'static str, u64>,
    /// Keys of those that are open: as many as the detectors allow.
    open: BTreeSet<String>,
    runs: BTreeMap<String, (Fold, Fold)>,
}

/// All of them: their counters are there before the first incident.
const REASONS: [Reason; 5] = [
    Reason::Parked,
    Reason::Stalled,
    Reason::Growing,
    Reason::LongWait,
    Reason::Deadlock,
];

/// What [`super::Totals::lose`] is called with.
const LOSSES: [&str; 2] = ["metrics_events", "metrics_ticks"];

impl Default for Own {
    fn default() -> Self {
        let zero = |name: &str| (name.to_owned(), Fold::default());
        Self {
            lost: LOSSES.into_iter().map(zero).collect(),
            incidents: REASONS.map(|reason| (reason.as_str(), 0)).into(),
            open: BTreeSet::new(),
            runs: BTreeMap::new(),
        }
    }
}

impl Own {
    /// An incident that was open before the agent was started is not counted, and none is counted twice: it is opened once
    /// more when its alert is not held back any longer.
    pub fn event(&mut self, event: &Event) {
        let incident = &event.incident;
        match event.change {
            Change::Opened { again } => {
                let is_new = self.open.insert(incident.key.clone()) && !again;
                let opened = self.incidents.entry(incident.reason.as_str());
                *opened.or_default() += u64::from(is_new);
            }
            Change::Resolved => {
                self.open.remove(&incident.key);
            }
            Change::Refreshed | Change::Explained | Change::Doubled => {}
        }
    }

    /// Something did not get here.
    pub fn lose(&mut self, what: &'static str, count: u64) {
        let fold = self.lost.entry(what.to_owned()).or_default();
        fold.set(fold.last + count);
    }

    /// What a view says was lost.
    pub fn loss(&mut self, loss: &BTreeMap<String, u64>) {
        for (reason, count) in loss {
            if let Some(fold) = self.lost.get_mut(reason) {
                fold.set(*count);
            } else {
                let fold = self.lost.entry(reason.clone()).or_default();
                fold.set(*count);
            }
        }
    }

    /// What was lost, by reason.
    pub fn lost(&self) -> impl Iterator<Item = (&str, u64)> {
        self.lost
            .iter()
            .map(|(reason, fold)| (reason.as_str(), fold.sum()))
    }

    /// Incidents opened, by reason.
    pub fn incidents(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.incidents
            .iter()
            .map(|(reason, count)| (*reason, *count))
    }

    /// Runs and nanoseconds of a program that is attached now, those before it was last detached included; `None` for what
    /// the kernel does not count.
    pub fn ran(&mut self, program: &Program) -> (Option<u64>, Option<u64>) {
        let (runs, run_ns) = self.runs.entry(program.name.clone()).or_default();
        let sum = |fold: &mut Fold, value: u64| {
            fold.set(value);
            fold.sum()
        };
        (
            program.runs.map(|value| sum(runs, value)),
            program.run_ns.map(|value| sum(run_ns, value)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_starts_again_is_counted_on() {
        let mut own = Own::default();
        let lost = |own: &Own| own.lost().find(|(name, _)| *name == "ring_full").unwrap().1;
        for (value, sum) in [(3, 3), (5, 5), (2, 7), (2, 7), (9, 14)] {
            own.loss(&BTreeMap::from([("ring_full".to_owned(), value)]));
            assert_eq!(lost(&own), sum);
        }
        let mut program = Program {
            name: "futex_enter".into(),
            runs: Some(10),
            run_ns: Some(1000),
        };
        assert_eq!(own.ran(&program), (Some(10), Some(1000)));
        (program.runs, program.run_ns) = (Some(4), None);
        assert_eq!(own.ran(&program), (Some(14), None));
    }
}
