//! A node that counts what happens on it, the way the kernel side does.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use holdup_abi::lock::{BUCKETS, bucket};

use crate::model::{
    Kind, Outcomes,
    watch::{Counts, Lock, Process, ProcessKey, View},
};

/// A lock's place: what names its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pid: u32,
    address: u64,
    kind: Kind,
}

impl Place {
    /// The lock at `address`.
    pub const fn new(pid: u32, address: u64, kind: Kind) -> Self {
        Self { pid, address, kind }
    }
}

#[derive(Debug)]
struct Row {
    counts: Counts,
    waiters: u64,
    since_ns: u64,
}

/// What has been counted in all, rows that are gone included. Kinds that are no locks are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub waits: u64,
    pub wait_ns: u128,
    pub handoffs: u64,
}

/// The node.
#[derive(Debug, Default)]
pub struct Node {
    processes: BTreeMap<u32, (u32, String)>,
    generations: u32,
    rows: BTreeMap<Place, Row>,
    census: bool,
    now_ns: u64,
    pub truth: Truth,
}

impl Node {
    /// A process starts; one of the same id is gone then.
    pub fn start(&mut self, pid: u32, comm: &str) {
        self.exit(pid);
        self.generations += 1;
        self.processes
            .insert(pid, (self.generations, comm.to_owned()));
    }

    /// A process ends.
    pub fn exit(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.rows.retain(|place, _| place.pid != pid);
    }

    /// `waits` waits of `each_ns` end, every third by a timeout; `waiters` go on.
    pub fn wait(&mut self, place: Place, waits: u64, each_ns: u64, waiters: u64) {
        if !self.processes.contains_key(&place.pid) {
            return;
        }
        let since_ns = self.now_ns;
        let row = self.rows.entry(place).or_insert_with(|| Row {
            counts: nothing(),
            waiters: 0,
            since_ns,
        });
        if row.waiters == 0 {
            row.since_ns = since_ns;
        }
        row.waiters = waiters;
        if self.census {
            return;
        }
        let timed_out = waits / 3;
        row.counts.outcomes.woken += waits - timed_out;
        row.counts.outcomes.timed_out += timed_out;
        row.counts.wait_ns += waits * each_ns;
        // One in five was counted without its duration.
        row.counts.histogram[bucket(each_ns)] += waits - waits / 5;
        if place.kind.is_lock() || place.kind == Kind::Unknown {
            self.truth.waits += waits;
            self.truth.wait_ns += u128::from(waits * each_ns);
            self.truth.handoffs += waits - timed_out;
        }
    }

    /// A lock loses its place in the kernel's table.
    pub fn reclaim(&mut self, place: Place) {
        self.rows.remove(&place);
    }

    /// Probes are detached, or attached anew with empty tables.
    pub fn census(&mut self, census: bool) {
        self.census = census;
        for row in self.rows.values_mut() {
            row.counts = nothing();
        }
    }

    /// Threads that wait for locks now, and for words of unknown kind.
    pub fn waiters(&self) -> u64 {
        let counted = |place: &Place| place.kind.is_lock() || place.kind == Kind::Unknown;
        let rows = self.rows.iter().filter(|(place, _)| counted(place));
        rows.map(|(_, row)| row.waiters).sum()
    }

    /// Whether anything is counted that can be seen.
    pub fn is_counting(&self) -> bool {
        !self.census && !self.rows.is_empty()
    }

    fn key(&self, pid: u32) -> ProcessKey {
        let generation = self
            .processes
            .get(&pid)
            .map_or(0, |(generation, _)| *generation);
        ProcessKey { pid, generation }
    }

    /// The node `at_s` seconds after it came up.
    pub fn view(&mut self, at_s: u64) -> Arc<View> {
        self.now_ns = at_s * 1_000_000_000;
        let mut processes = BTreeMap::new();
        let mut locks = Vec::new();
        for (place, row) in &self.rows {
            let key = self.key(place.pid);
            let comm = self.processes[&place.pid].1.clone();
            let process = processes.entry(key).or_insert_with(|| Process {
                key,
                comm,
                ..Process::default()
            });
            if row.waiters > 0 {
                *process.parked.entry(place.kind).or_default() += row.waiters;
            }
            locks.push(Arc::new(Lock {
                process: key,
                address: place.address,
                id: format!("{}:{}", place.kind.as_str(), place.address).into(),
                kind: place.kind,
                runtime: None,
                symbol: None,
                site: Some(format!("site {}", place.address).into()),
                waiters: row.waiters,
                waiters_peak: row.waiters,
                oldest_since_ns: (row.waiters > 0).then_some(row.since_ns),
                oldest_is_at_least: false,
                seen_ns: None,
                holder: None,
                abandoned: false,
                counts: (!self.census).then(|| Box::new(row.counts)),
            }));
        }
        Arc::new(View {
            at_ns: self.now_ns,
            at: UNIX_EPOCH + Duration::from_nanos(self.now_ns),
            processes,
            locks,
            deadlocks: Vec::new(),
            plan: Arc::default(),
            loss: BTreeMap::new(),
        })
    }
}

fn nothing() -> Counts {
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
