//! What an agent would have seen, had it been there: since a snapshot tells for how long each thread has waited, the minutes
//! before it can be played to the detectors, with those waiters that are still there.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    detect::{Detectors, settings::Settings},
    model::{
        self, Snapshot,
        explanation::Explanation,
        incident::Incident,
        watch::{Lock, Process, ProcessKey, View},
    },
    proc::workload,
};

/// Moments that are played, in seconds before the snapshot: dense where thresholds are.
const MOMENTS: &[u64] = &[
    3600, 1800, 900, 600, 450, 300, 240, 200, 160, 140, 130, 122, 121, 120, 100, 80, 60, 50, 40,
    35, 32, 31, 30, 25, 20, 15, 12, 11, 10, 8, 6, 5, 4, 3, 2, 1, 0,
];
const SECOND_NS: u64 = 1_000_000_000;

/// What the detectors make of a snapshot.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The node at the time of the snapshot, as far as it shows it.
    pub view: View,
    /// Incidents that are open then, with their explanations.
    pub incidents: Vec<Incident>,
}

/// Plays a snapshot that was taken at `at`, which is `at_ns` of the monotonic clock, to detectors with these settings.
#[must_use]
pub fn replay(snapshot: &Snapshot, settings: &Settings, at: SystemTime, at_ns: u64) -> Replayed {
    let processes = processes(snapshot);
    let mut detectors = Detectors::new(settings, Vec::new());
    let mut last = None;
    for &seconds in MOMENTS {
        let ago_ns = seconds * SECOND_NS;
        // A machine that has not run for so long.
        let Some(moment_ns) = at_ns.checked_sub(ago_ns) else {
            continue;
        };
        let view = View {
            at_ns: moment_ns,
            at: at.checked_sub(Duration::from_secs(seconds)).unwrap_or(at),
            processes: processes.clone(),
            locks: locks(snapshot, at_ns, ago_ns),
            // That they were there before cannot be told; that they are there is certain.
            deadlocks: snapshot.deadlocks.clone(),
            plan: Arc::from(snapshot.plan.as_slice()),
            loss: BTreeMap::new(),
        };
        let _ = detectors.turn(&view);
        last = Some(view);
    }
    let view = last.unwrap_or_else(|| View {
        at_ns,
        at,
        processes,
        locks: Vec::new(),
        deadlocks: Vec::new(),
        plan: Arc::from([]),
        loss: BTreeMap::new(),
    });
    let open: Vec<Incident> = detectors.open().cloned().collect();
    let incidents = open.into_iter().map(|incident| {
        let found = explanation(snapshot, &incident);
        let event = detectors.explained(&incident.key, found, None);
        event.map_or(incident, |event| event.incident)
    });
    Replayed {
        incidents: incidents.collect(),
        view,
    }
}

/// What a snapshot says about the lock of an incident; about the lock with most behind it when it is about a process as a
/// whole.
#[must_use]
pub fn explanation(snapshot: &Snapshot, incident: &Incident) -> Option<Explanation> {
    let mut own = snapshot
        .locks
        .iter()
        .filter(|lock| lock.pid == incident.pid);
    // They come in the order of their weight.
    let meant = match &incident.lock {
        Some(of) => own
            .filter(|lock| lock.address == of.address)
            .max_by_key(|lock| lock.waiters),
        None => own.find(|lock| lock.kind.is_lock()),
    };
    meant?.explanation.clone()
}

const fn key(pid: u32) -> ProcessKey {
    // All are of one moment, in which an id is one process.
    ProcessKey { pid, generation: 0 }
}

fn processes(snapshot: &Snapshot) -> BTreeMap<ProcessKey, Process> {
    let proc = crate::proc::process::Proc::default();
    let one = |process: &model::process::Process| {
        let process = Process {
            key: key(process.pid),
            comm: process.comm.clone(),
            exe: process.exe.clone(),
            workload: Arc::new(workload::of_pid(&proc, process.pid)),
            parked: BTreeMap::new(),
            go: None,
        };
        (process.key, process)
    };
    snapshot.processes.iter().map(one).collect()
}

/// The locks as they were `ago_ns` before, with those who wait still.
fn locks(snapshot: &Snapshot, at_ns: u64, ago_ns: u64) -> Vec<Arc<Lock>> {
    let mut waiters: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for thread in &snapshot.threads {
        let waits_since = thread.since_ns.filter(|&since_ns| since_ns >= ago_ns);
        if let (Some(address), true) = (thread.lock, ago_ns == 0 || waits_since.is_some()) {
            *waiters.entry((thread.pid, address)).or_default() += thread.count();
        }
    }
    let was_there = |lock: &&model::Lock| {
        ago_ns == 0 || lock.oldest_wait_ns.is_some_and(|age_ns| age_ns >= ago_ns)
    };
    let text = |text: &Option<String>| text.as_deref().map(Arc::from);
    let one = |lock: &model::Lock| {
        let still = waiters.get(&(lock.pid, lock.address)).copied();
        let still = still.unwrap_or(0).min(lock.waiters);
        Arc::new(Lock {
            process: key(lock.pid),
            address: lock.address,
            id: Arc::from(lock.id.as_str()),
            kind: lock.kind,
            runtime: text(&lock.runtime),
            symbol: text(&lock.symbol),
            site: text(&lock.site),
            waiters: if ago_ns == 0 { lock.waiters } else { still },
            waiters_peak: lock.waiters,
            oldest_since_ns: lock
                .oldest_wait_ns
                .map(|age_ns| at_ns.saturating_sub(age_ns)),
            oldest_is_at_least: lock.oldest_is_at_least,
            seen_ns: None,
            holder: lock.holder.clone(),
            abandoned: false,
            counts: None,
        })
    };
    snapshot.locks.iter().filter(was_there).map(one).collect()
}
