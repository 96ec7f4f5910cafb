//! Views of a node that does not exist.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use holdup_abi::lock::BUCKETS;

use crate::{
    detect::{Detectors, settings::Settings},
    model::{
        Holder, Kind, Outcomes,
        explanation::{Confidence, Deadlock, Ending, Explanation, Link, LinkKind, Node, Progress},
        incident::{Change, Event, Incident, Reason},
        watch::{Counts, Lock, Process, ProcessKey, View},
        workload::Workload,
    },
};

pub const SECOND: u64 = 1_000_000_000;
/// What the monotonic clock says at the beginning: large enough for everything to be older.
const BOOTED: u64 = 1_000_000 * SECOND;
/// 2026-11-26T12:00:00Z.
const BEGAN: u64 = 1_795_694_400;

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub const fn process(pid: u32) -> ProcessKey {
    ProcessKey { pid, generation: 1 }
}

/// A node whose locks a test changes between looks, with the detectors that look at it.
pub struct Scene {
    pub detectors: Detectors,
    pub view: View,
}

/// The changes, each with the key's reason and the waiters.
pub type Told = Vec<(Change, String, u64)>;

impl Scene {
    pub fn new(settings: &Settings) -> Self {
        Self::after(settings, Vec::new())
    }

    pub fn after(settings: &Settings, previously_open: Vec<Incident>) -> Self {
        Self {
            detectors: Detectors::new(settings, previously_open),
            view: view(),
        }
    }

    /// A process of this name in a unit of its name.
    pub fn process(&mut self, pid: u32, comm: &str) -> ProcessKey {
        let key = process(pid);
        let workload = Workload {
            cgroup: Some(format!("/system.slice/{comm}.service")),
            unit: Some(format!("{comm}.service")),
            ..Workload::default()
        };
        let process = Process {
            key,
            comm: comm.to_owned(),
            exe: None,
            workload: Arc::new(workload),
            parked: [].into(),
            go: None,
        };
        self.view.processes.insert(key, process);
        key
    }

    /// A lock without waiters.
    pub fn lock(&mut self, process: ProcessKey, address: u64, kind: Kind) -> usize {
        self.view.locks.push(Arc::new(Lock {
            process,
            address,
            id: format!("{}:3f2a91c0:{address:#x}", kind.as_str()).into(),
            kind,
            runtime: None,
            symbol: None,
            site: Some("refresh config.c:88".into()),
            waiters: 0,
            waiters_peak: 0,
            oldest_since_ns: None,
            oldest_is_at_least: false,
            seen_ns: None,
            holder: None,
            abandoned: false,
            counts: Some(Box::new(counts())),
        }));
        self.view.locks.len() - 1
    }

    /// The lock, to be changed: what was seen of it before stays as it was.
    pub fn change(&mut self, lock: usize) -> &mut Lock {
        Arc::make_mut(&mut self.view.locks[lock])
    }

    /// So many wait, the longest of them for so many seconds.
    pub fn wait(&mut self, lock: usize, waiters: u64, age: u64) {
        let at_ns = self.view.at_ns;
        let lock = self.change(lock);
        lock.waiters = waiters;
        lock.waiters_peak = lock.waiters_peak.max(waiters);
        lock.oldest_since_ns = (waiters > 0).then(|| at_ns - age * SECOND);
    }

    /// The lock is handed on now.
    pub fn hand_on(&mut self, lock: usize) {
        let at_ns = self.view.at_ns;
        if let Some(counts) = &mut self.change(lock).counts {
            counts.outcomes.woken += 1;
            counts.last_handoff_ns = Some(at_ns);
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.view.at_ns += u64::try_from(time.as_nanos()).unwrap();
        self.view.at += time;
    }

    pub fn look(&mut self) -> Vec<Event> {
        self.detectors.turn(&self.view)
    }

    /// Looks once a second for so many seconds, after each of them.
    pub fn watch(&mut self, n: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..n {
            self.pass(seconds(1));
            events.extend(self.look());
        }
        events
    }

    pub fn open(&self) -> Vec<Incident> {
        let mut open: Vec<_> = self.detectors.open().cloned().collect();
        open.sort_by(|a, b| a.key.cmp(&b.key));
        open
    }

    /// The only open incident.
    pub fn only(&self) -> Incident {
        let open = self.open();
        assert_eq!(open.len(), 1, "{open:?}");
        open.into_iter().next().unwrap()
    }

    /// The only open incident for this reason.
    pub fn only_of(&self, reason: Reason) -> Incident {
        let mut open = self.open();
        open.retain(|incident| incident.reason == reason);
        assert_eq!(open.len(), 1, "{open:?}");
        open.into_iter().next().unwrap()
    }

    /// Nobody is there any more.
    pub fn clear(&mut self) {
        self.view.processes.clear();
        self.view.locks.clear();
        self.view.deadlocks.clear();
    }
}

/// An empty view.
pub fn view() -> View {
    View {
        at_ns: BOOTED,
        at: UNIX_EPOCH + seconds(BEGAN),
        processes: [].into(),
        locks: Vec::new(),
        deadlocks: Vec::new(),
        plan: Arc::new([]),
        loss: [].into(),
    }
}

fn counts() -> Counts {
    Counts {
        outcomes: Outcomes::default(),
        value_changed: 0,
        wakes: 0,
        wait_ns: 0,
        wait_max_ns: 0,
        last_handoff_ns: None,
        histogram: [0; BUCKETS],
    }
}

/// A node with a mutex of process 7, `db`.
pub fn with_mutex(settings: &Settings) -> (Scene, usize) {
    let mut node = Scene::new(settings);
    let process = node.process(7, "db");
    let lock = node.lock(process, 0x4080, Kind::Mutex);
    (node, lock)
}

/// Only this detector.
pub fn only(reason: &str) -> Settings {
    let mut settings = Settings::default();
    settings.parked.enabled = reason == "parked";
    settings.stalled.enabled = reason == "stalled";
    settings.growing.enabled = reason == "growing";
    settings.long_wait.enabled = reason == "long_wait";
    settings
}

pub fn told(events: &[Event]) -> Told {
    let row = |event: &Event| {
        let incident = &event.incident;
        (
            event.change.clone(),
            incident.reason.as_str().to_owned(),
            incident.waiters,
        )
    };
    events.iter().map(row).collect()
}

/// Without signs of life.
pub fn news(events: &[Event]) -> Told {
    let mut told = told(events);
    told.retain(|(change, ..)| *change != Change::Refreshed);
    told
}

pub fn opened(reason: &str, waiters: u64) -> (Change, String, u64) {
    (Change::Opened { again: false }, reason.to_owned(), waiters)
}

pub fn resolved(reason: &str, waiters: u64) -> (Change, String, u64) {
    (Change::Resolved, reason.to_owned(), waiters)
}

pub fn holder(tid: u32, confidence: Confidence) -> Holder {
    Holder {
        pid: Some(7),
        tid,
        goid: None,
        comm: "sync-worker".to_owned(),
        known_by: "glibc mutex owner word".to_owned(),
        confidence,
        since_ns: None,
        since_is_at_least: false,
    }
}

/// Threads 1 and 2 of `a` and `b` hold one of these locks each and wait for the other.
pub fn circle((a, lock_a): (u32, u64), (b, lock_b): (u32, u64)) -> Deadlock {
    let thread = |pid, tid| Node::Thread {
        pid,
        tid,
        comm: "t".to_owned(),
    };
    let lock = |pid, address| Node::Lock {
        pid,
        address,
        kind: Kind::Mutex,
        name: "m".to_owned(),
    };
    let link = |from, to, kind| Link {
        from,
        to,
        kind,
        confidence: Confidence::Exact,
        text: String::new(),
        since_ns: None,
        since_is_at_least: false,
        site: None,
    };
    Deadlock {
        links: vec![
            link(thread(a, 1), lock(b, lock_b), LinkKind::WaitsFor),
            link(lock(b, lock_b), thread(b, 2), LinkKind::HeldBy),
            link(thread(b, 2), lock(a, lock_a), LinkKind::WaitsFor),
            link(lock(a, lock_a), thread(a, 1), LinkKind::HeldBy),
        ],
        links_left_out: 0,
        threads: 2,
        across_processes: a != b,
        confidence: Confidence::Exact,
        waiters_total: 2,
        oldest_wait_ns: Some(3 * SECOND),
        text: "deadlock: thread 1 holds a and waits for b; thread 2 holds b and waits for a"
            .to_owned(),
    }
}

pub fn explanation(progress: Progress) -> Explanation {
    Explanation {
        root: Node::Thread {
            pid: 7,
            tid: 4711,
            comm: "sync-worker".to_owned(),
        },
        ending: Ending::Blocked,
        chain: Vec::new(),
        chain_left_out: 0,
        confidence: Confidence::Exact,
        progress,
        text: "212 threads wait for mutex `cache_lock`, oldest 41.0 s; held by thread 4711"
            .to_owned(),
        deadlock: false,
        waiters_total: 212,
        convoy: None,
    }
}
