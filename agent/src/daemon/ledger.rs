//! The incidents as everybody but the detectors sees them: those that are open, and the last ones that are over.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use super::supervise::lock;
use crate::model::incident::{Incident, Status};

/// Incidents that are over and still shown.
const RESOLVED: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By key. Those of the run before are here until the detectors have found them again or given them up.
    open: BTreeMap<String, Incident>,
    resolved: VecDeque<Incident>,
}

impl Ledger {
    /// Begins with what was open when the agent ended.
    #[must_use]
    pub fn new(open: Vec<Incident>) -> Self {
        let by_key = open.into_iter().map(|one| (one.key.clone(), one));
        Self(Mutex::new(State {
            open: by_key.collect(),
            resolved: VecDeque::new(),
        }))
    }

    /// Open incidents: what detectors that begin anew go on with.
    #[must_use]
    pub fn open(&self) -> Vec<Incident> {
        lock(&self.0).open.values().cloned().collect()
    }

    /// Takes in an incident as it is after a change.
    pub fn take(&self, incident: &Incident) {
        let mut state = lock(&self.0);
        if incident.status == Status::Open {
            state.open.insert(incident.key.clone(), incident.clone());
            return;
        }
        state.open.remove(&incident.key);
        state.resolved.retain(|one| one.key != incident.key);
        if state.resolved.len() == RESOLVED {
            state.resolved.pop_front();
        }
        state.resolved.push_back(incident.clone());
    }

    /// All that are shown.
    #[must_use]
    pub fn all(&self) -> Arc<[Incident]> {
        let state = lock(&self.0);
        let open = state.open.values();
        open.chain(&state.resolved).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(key: &str, status: Status) -> Incident {
        let json = serde_json::json!({
            "schema": "holdup.incident/v1", "key": key, "reason": "parked",
            "status": status, "opened_at": "", "refreshed_at": "", "resolved_at": null, "pid": 1,
            "comm": "", "workload": crate::model::workload::Workload::default(), "lock": null,
            "waiters": 1, "waiters_peak": 1, "oldest_wait_ns": null, "oldest_is_at_least": false,
            "text": "", "explanation": null, "snapshots": [], "held_back": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_over_is_shown_for_a_while() {
        let ledger = Ledger::new(vec![incident("before", Status::Open)]);
        for number in 0..300 {
            ledger.take(&incident(&number.to_string(), Status::Open));
        }
        assert_eq!(ledger.open().len(), 301);
        for number in 0..300 {
            ledger.take(&incident(&number.to_string(), Status::Resolved));
            // Told twice, shown once.
            ledger.take(&incident(&number.to_string(), Status::Resolved));
        }
        let all = ledger.all();
        assert_eq!(all.len(), 1 + RESOLVED);
        assert_eq!(all.last().unwrap().key, "299");
        assert_eq!(ledger.open(), [incident("before", Status::Open)]);
        ledger.take(&incident("299", Status::Open));
        assert_eq!(ledger.open().len(), 2);
    }
}
