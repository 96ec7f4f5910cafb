//! Locks of one process that goroutines wait for, from look to look.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{
    notes::{Notes, Since},
    seen::Row,
};
use crate::{
    model::Kind,
    report::goroutines::one::Named,
    runtime::go::{
        Record, operation,
        queues::{Queue, Queues},
    },
    watch::table::nameless,
};

/// First waiters of each lock that are looked at.
pub const FIRST: usize = 16;
/// Locks that are told apart: those with most waiters.
const MAX_LOCKS: usize = 1024;
/// Locks whose first waiters are looked at in one look.
const MAX_LOOKED_AT: usize = 256;
/// A lock with so many waiters, or one that is waited for so long, is worth a name.
const WORTH_WAITERS: u64 = 8;
/// See [`WORTH_WAITERS`].
const WORTH_AGE: Duration = Duration::from_millis(500);
/// How long a lock that nobody waits for is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Wait reasons of waits whose begin the runtime notes now and then.
const LOCKS: [&str; 3] = ["sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock"];

/// A semaphore that somebody waits for, or did lately.
#[derive(Debug)]
struct Waited {
    waiters: u64,
    peak: u64,
    kind: Kind,
    first: Option<Record>,
    since: Option<Since>,
    notes: Notes,
    name: Option<Name>,
    seen: Instant,
}

/// A name that was found out, shared by all views.
#[derive(Clone, Debug)]
struct Name {
    address: u64,
    kind: Kind,
    row: Row,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Locks {
    by_semaphore: HashMap<u64, Waited>,
    /// Waiters of locks that are not told apart.
    left_out: u64,
}

impl Locks {
    /// Takes in how many wait for what at `now_ns`. `records` reads records by their addresses.
    pub fn take(
        &mut self,
        queues: Queues,
        reasons: &[String],
        now: Instant,
        now_ns: u64,
        records: impl Fn(&[u64]) -> Vec<Option<Record>>,
    ) {
        let Queues {
            mut queues,
            torn: _,
            left_out,
        } = queues;
        queues.sort_unstable_by_key(|queue| (std::cmp::Reverse(queue.waiters), queue.semaphore));
        let beyond = queues.split_off(queues.len().min(MAX_LOCKS));
        let beyond: u64 = beyond.iter().map(|queue| queue.waiters).sum();
        self.left_out = left_out + beyond;
        for waited in self.by_semaphore.values_mut() {
            waited.waiters = 0;
        }
        let is_lock = |reason: u8| {
            let words = reasons.get(usize::from(reason));
            words.is_some_and(|words| LOCKS.contains(&words.as_str()))
        };
        for (place, queue) in queues.iter().enumerate() {
            let looked_at = if place < MAX_LOOKED_AT {
                &queue.first[..]
            } else {
                &[]
            };
            let first: Vec<Record> = records(looked_at)
                .into_iter()
                .flatten()
                .filter(|record| record.status.waits())
                .collect();
            let waited = self.waited(queue, now);
            if let Some(record) = first.first() {
                let reason = reasons.get(usize::from(record.reason));
                waited.kind = operation::of(&[], reason.map_or("", String::as_str)).kind;
            }
            waited.since = waited.notes.take(first.iter(), is_lock, now_ns);
            waited.first = first.first().copied();
        }
        self.by_semaphore.retain(|_, waited| {
            if waited.waiters == 0 {
                waited.first = None;
                waited.since = None;
                waited.notes.clear();
            }
            now.saturating_duration_since(waited.seen) < REMEMBERED
        });
    }

    fn waited(&mut self, queue: &Queue, now: Instant) -> &mut Waited {
        let waited = self
            .by_semaphore
            .entry(queue.semaphore)
            .or_insert_with(|| Waited {
                waiters: 0,
                peak: 0,
                kind: Kind::Unknown,
                first: None,
                since: None,
                notes: Notes::default(),
                name: None,
                seen: now,
            });
        waited.waiters = queue.waiters;
        waited.peak = waited.peak.max(queue.waiters);
        waited.seen = now;
        waited
    }

    /// Semaphores whose locks are worth a name and have none, with the first one who waits; those with most waiters first.
    #[must_use]
    pub fn nameless(&self, now_ns: u64, most: usize) -> Vec<(u64, Record)> {
        let is_worth = |waited: &Waited| {
            let age_ns = waited
                .since
                .map_or(0, |since| now_ns.saturating_sub(since.ns));
            waited.name.is_none()
                && (waited.waiters >= WORTH_WAITERS || Duration::from_nanos(age_ns) >= WORTH_AGE)
        };
        let mut nameless: Vec<(&u64, &Waited)> = self
            .by_semaphore
            .iter()
            .filter(|(_, waited)| waited.waiters > 0 && is_worth(waited))
            .collect();
        nameless.sort_unstable_by_key(|(semaphore, waited)| {
            (std::cmp::Reverse(waited.waiters), **semaphore)
        });
        let first = |(semaphore, waited): (&u64, &Waited)| Some((*semaphore, waited.first?));
        nameless.into_iter().filter_map(first).take(most).collect()
    }

    /// The lock of a semaphore has a name.
    pub fn name(&mut self, semaphore: u64, named: Named) {
        let Named {
            address,
            kind,
            id,
            symbol,
            site,
        } = named;
        if let Some(waited) = self.by_semaphore.get_mut(&semaphore) {
            waited.name = Some(Name {
                address,
                kind,
                row: Row {
                    id: id.into(),
                    symbol: symbol.map(Into::into),
                    site: site.map(Into::into),
                    ..Row::new(address, kind, nameless())
                },
            });
        }
    }

    /// How many wait, by kind.
    #[must_use]
    pub fn parked(&self) -> BTreeMap<Kind, u64> {
        let mut parked: BTreeMap<Kind, u64> = BTreeMap::new();
        for waited in self
            .by_semaphore
            .values()
            .filter(|waited| waited.waiters > 0)
        {
            let kind = waited.name.as_ref().map_or(waited.kind, |name| name.kind);
            *parked.entry(kind).or_default() += waited.waiters;
        }
        if self.left_out > 0 {
            *parked.entry(Kind::Unknown).or_default() += self.left_out;
        }
        parked
    }

    /// Locks with names, as rows of a view: semaphores of one lock are put together.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: BTreeMap<(u64, Kind), Row> = BTreeMap::new();
        for waited in self.by_semaphore.values() {
            let Some(name) = &waited.name else { continue };
            let row = rows
                .entry((name.address, name.kind))
                .or_insert_with(|| name.row.clone());
            row.waiters += waited.waiters;
            row.waiters_peak += waited.peak;
            row.since = [row.since, waited.since].into_iter().flatten().min();
        }
        rows.into_values().collect()
    }

    /// Most waiters of one lock.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.by_semaphore
            .values()
            .map(|waited| waited.waiters)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::go::status::Status;

    const REASONS: [&str; 2] = ["sync.Mutex.Lock", "sync.RWMutex.Lock"];

    fn record(address: u64) -> Record {
        Record {
            address,
            goid: address,
            status: Status::Waiting,
            reason: 0,
            wait_since_ns: 0,
            stack_lo: 0,
            stack_hi: 0,
            sp: 0,
            pc: 0,
            gopc: 0,
            startpc: 0,
            waiting: 0,
            m: 0,
            lockedm: 0,
            timer: 0,
            stops: 1,
            mutex_since_ns: 0,
        }
    }

    fn queue(semaphore: u64, waiters: u64) -> Queue {
        Queue {
            semaphore,
            waiters,
            first: vec![semaphore + 1000],
        }
    }

    fn take(locks: &mut Locks, queues: &[Queue], now: Instant, now_ns: u64) {
        let queues = Queues {
            queues: queues.to_vec(),
            torn: 0,
            left_out: 0,
        };
        let reasons = REASONS.map(str::to_owned);
        locks.take(queues, &reasons, now, now_ns, |addresses| {
            addresses
                .iter()
                .map(|address| Some(record(*address)))
                .collect()
        });
    }

    fn named(address: u64, kind: Kind) -> Named {
        Named {
            address,
            kind,
            id: "rwlock@1".to_owned(),
            symbol: None,
            site: Some("main.f main.go:1".to_owned()),
        }
    }

    #[test]
    fn what_is_many_or_old_is_worth_a_name() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        let semaphores = |locks: &Locks, now_ns| -> Vec<u64> {
            let nameless = locks.nameless(now_ns, 8);
            nameless
                .into_iter()
                .map(|(semaphore, _)| semaphore)
                .collect()
        };
        let queues = [queue(8, 2), queue(16, 8), queue(24, 300)];
        take(&mut locks, &queues, now, 1000);
        assert_eq!(semaphores(&locks, 1000), [24, 16]);
        assert_eq!(locks.nameless(1000, 1)[0].1.goid, 1024);
        let later_ns = 1000 + 500_000_000;
        take(&mut locks, &queues, now, later_ns);
        assert_eq!(semaphores(&locks, later_ns), [24, 16, 8]);
        locks.name(24, named(20, Kind::Mutex));
        assert_eq!(semaphores(&locks, later_ns), [16, 8]);
        assert_eq!((locks.rows().len(), locks.most()), (1, 300));
        assert_eq!(locks.parked(), BTreeMap::from([(Kind::Mutex, 310)]));
    }

    #[test]
    fn semaphores_of_one_lock_are_one_row() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        // Behind other writers, behind readers, and as a reader.
        take(&mut locks, &[queue(104, 5), queue(108, 1)], now, 1000);
        take(
            &mut locks,
            &[queue(104, 7), queue(108, 1), queue(112, 2)],
            now,
            2000,
        );
        locks.name(104, named(100, Kind::RwlockWrite));
        locks.name(108, named(100, Kind::RwlockWrite));
        locks.name(112, named(100, Kind::RwlockRead));
        let rows = locks.rows();
        let shown = |row: &Row| (row.kind, row.waiters, row.since.map(|since| since.ns));
        assert_eq!(
            rows.iter().map(shown).collect::<Vec<_>>(),
            [
                (Kind::RwlockRead, 2, Some(2000)),
                (Kind::RwlockWrite, 8, Some(1000))
            ]
        );
        let parked = BTreeMap::from([(Kind::RwlockRead, 2), (Kind::RwlockWrite, 8)]);
        assert_eq!(locks.parked(), parked);
    }

    #[test]
    fn what_nobody_waits_for_is_forgotten_after_a_while() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        take(&mut locks, &[queue(8, 9)], now, 1000);
        locks.name(8, named(4, Kind::Mutex));
        take(&mut locks, &[], now + REMEMBERED / 2, 2000);
        let rows = locks.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].waiters, rows[0].waiters_peak, rows[0].since),
            (0, 9, None)
        );
        assert_eq!(locks.parked(), BTreeMap::new());
        take(&mut locks, &[], now + REMEMBERED, 3000);
        assert_eq!(locks.rows(), []);
    }

    #[test]
    fn more_than_can_be_told_apart_are_counted() {
        let mut locks = Locks::default();
        let many: Vec<Queue> = (1..=MAX_LOCKS as u64 + 10)
            .map(|n| queue(n * 8, 1))
            .collect();
        take(&mut locks, &many, Instant::now(), 1000);
        let parked = locks.parked();
        assert_eq!(parked.values().sum::<u64>(), MAX_LOCKS as u64 + 10);
        // Those that were not looked at have no kind.
        assert_eq!(parked[&Kind::Mutex], MAX_LOOKED_AT as u64);
    }
}
