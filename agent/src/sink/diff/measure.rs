//! What one document says of each lock.

use std::collections::BTreeMap;

use crate::{
    model::{
        Bundle, Capture, Kind, Lock, Snapshot,
        bundle::{self, Moved},
        capture,
        diff::{Measure, Side},
        snapshot,
    },
    sink::{Document, Report, name, table},
};

const SECOND_NS: f64 = 1e9;

/// A document as it is compared.
pub struct Measured {
    pub side: Side,
    /// By id and kind: name and measure.
    pub locks: BTreeMap<(String, Kind), (String, Measure)>,
}

/// Sums over locks of one id and kind.
#[derive(Default)]
struct Sum {
    name: String,
    waiters: u64,
    oldest_wait_ns: Option<u64>,
    waits: u64,
    wait_ns: u64,
    /// Time that threads have spent in waits that go on, in nanoseconds; an upper bound.
    going_on_ns: u64,
    max_wait_ns: Option<u64>,
}

type Sums = BTreeMap<(String, Kind), Sum>;

impl Measured {
    pub fn of(document: &Document) -> Self {
        match document {
            Document::Report(Report::Capture(capture)) => Self::of_capture(capture),
            Document::Report(Report::Snapshot(snapshot)) => Self::of_snapshot(snapshot),
            Document::Bundle(bundle) => Self::of_bundle(bundle),
        }
    }

    fn of_capture(capture: &Capture) -> Self {
        let duration_ns = capture.duration_ns;
        let mut sums = now(&capture.locks, duration_ns);
        for lock in held_up(&capture.locks) {
            if let Some(sum) = sums.get_mut(&key(lock)) {
                sum.waits = sum.waits.saturating_add(lock.waits);
                sum.wait_ns = sum.wait_ns.saturating_add(lock.wait_ns.total);
                let max = (lock.waits > 0).then_some(lock.wait_ns.max);
                sum.max_wait_ns = sum.max_wait_ns.max(max);
            }
        }
        let side = side(capture::SCHEMA, &capture.started_at, Some(duration_ns));
        Self::new(side, sums)
    }

    fn of_snapshot(snapshot: &Snapshot) -> Self {
        let side = side(snapshot::SCHEMA, &snapshot.taken_at, None);
        Self::new(side, now(&snapshot.locks, 0))
    }

    /// Waits that go on are the snapshot's, those that have ended the flight recorder's.
    fn of_bundle(bundle: &Bundle) -> Self {
        let duration_ns = table::timeline::length_ns(bundle);
        let locks = bundle.snapshot.as_ref().map(|it| it.locks.as_slice());
        let mut sums = now(locks.unwrap_or_default(), duration_ns);
        for lock in &bundle.locks {
            if !lock.kind.is_lock() && lock.kind != Kind::Unknown {
                continue;
            }
            let sum = sums.entry((lock.id.clone(), lock.kind)).or_default();
            if sum.name.is_empty() {
                let named = lock.symbol.as_ref().or(lock.site.as_ref());
                sum.name.clone_from(named.unwrap_or(&lock.id));
            }
            if bundle.snapshot.is_none() {
                sum.add_waiters(lock.waiters, lock.oldest_wait_ns, duration_ns);
            }
            let moved = moved(bundle, lock);
            sum.waits = sum.waits.saturating_add(moved.waits);
            sum.wait_ns = sum.wait_ns.saturating_add(moved.wait_ns);
        }
        let duration = Some(duration_ns).filter(|&ns| ns > 0);
        Self::new(side(bundle::SCHEMA, &bundle.taken_at, duration), sums)
    }

    fn new(side: Side, sums: Sums) -> Self {
        let duration_ns = side.duration_ns;
        let locks = sums
            .into_iter()
            .map(|(key, sum)| (key, (sum.name.clone(), sum.measure(duration_ns))));
        Self {
            locks: locks.collect(),
            side,
        }
    }
}

impl Sum {
    fn add_waiters(&mut self, waiters: u64, oldest_wait_ns: Option<u64>, duration_ns: u64) {
        self.waiters = self.waiters.saturating_add(waiters);
        self.oldest_wait_ns = self.oldest_wait_ns.max(oldest_wait_ns);
        let each = oldest_wait_ns.unwrap_or(duration_ns).min(duration_ns);
        let going_on_ns = waiters.saturating_mul(each);
        self.going_on_ns = self.going_on_ns.saturating_add(going_on_ns);
    }

    fn measure(self, duration_ns: Option<u64>) -> Measure {
        let duration_ns = duration_ns.filter(|&ns| ns > 0).map(|ns| ns as f64);
        let waited_ns = self.wait_ns.saturating_add(self.going_on_ns) as f64;
        Measure {
            waiting: duration_ns.map_or(self.waiters as f64, |ns| waited_ns / ns),
            waiters: self.waiters,
            oldest_wait_ns: self.oldest_wait_ns,
            waits_per_second: duration_ns.map(|ns| self.waits as f64 / ns * SECOND_NS),
            mean_wait_ns: self.wait_ns.checked_div(self.waits),
            max_wait_ns: self.max_wait_ns,
        }
    }
}

fn side(document: &str, at: &str, duration_ns: Option<u64>) -> Side {
    Side {
        document: document.to_owned(),
        at: at.to_owned(),
        duration_ns,
    }
}

fn key(lock: &Lock) -> (String, Kind) {
    (lock.id.clone(), lock.kind)
}

/// Idle workers are nobody's trouble, before or after.
fn held_up(locks: &[Lock]) -> impl Iterator<Item = &Lock> {
    locks.iter().filter(|lock| table::lock::is_held_up(lock))
}

/// Who waits now.
fn now(locks: &[Lock], duration_ns: u64) -> Sums {
    let mut sums = Sums::new();
    for lock in held_up(locks) {
        let sum = sums.entry(key(lock)).or_default();
        if sum.name.is_empty() {
            sum.name = name::lock(lock);
        }
        sum.add_waiters(lock.waiters, lock.oldest_wait_ns, duration_ns);
    }
    sums
}

/// What the flight recorder has of a lock.
fn moved(bundle: &Bundle, lock: &bundle::Recorded) -> Moved {
    let mut sum = Moved::default();
    for interval in &bundle.flight.intervals {
        for row in &interval.locks {
            if row.address == lock.address && row.kind == lock.kind {
                sum.add(&row.moved);
            }
        }
    }
    sum
}
