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
