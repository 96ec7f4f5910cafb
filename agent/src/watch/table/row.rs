//! A row of the view: one lock of one process, made of one word or several.

use std::sync::Arc;

use super::{Held, Place, Words, counts, word::Naming};
use crate::{
    ingest::locks::LockTable,
    model::{
        Kind,
        watch::{Counts, Lock, ProcessKey},
    },
    runtime::identity,
};

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Process.
    pub process: ProcessKey,
    /// Address of the lock.
    pub address: u64,
    /// Kind of the lock.
    pub kind: Kind,
}

/// What a word turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Address of the lock.
    pub address: u64,
    /// Kind of the lock.
    pub kind: Kind,
    /// Stable id.
    pub id: Arc<str>,
    /// Runtime.
    pub runtime: Option<Arc<str>>,
    /// Name in static storage.
    pub symbol: Option<Arc<str>>,
    /// Where it is waited for.
    pub site: Option<Arc<str>>,
}

/// Statistics by place: the kernel's table, or a test's.
pub trait Statistics {
    /// Those of one word; `None` when nothing is counted.
    fn get(&self, place: Place) -> Option<holdup_abi::lock::Lock>;
}

impl Statistics for LockTable {
    fn get(&self, place: Place) -> Option<holdup_abi::lock::Lock> {
        Self::get(self, place)
    }
}

/// Without hooks nothing is counted.
#[derive(Clone, Copy, Debug)]
pub struct NotCounted;

impl Statistics for NotCounted {
    fn get(&self, _: Place) -> Option<holdup_abi::lock::Lock> {
        None
    }
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub name: Name,
    /// Its words.
    pub words: Vec<Place>,
    /// What words had counted that are not there any more.
    pub base: Option<Box<Counts>>,
    /// As it is shown.
    pub lock: Arc<Lock>,
    /// When its holder was read, on the monotonic clock: from, to.
    pub held_ns: (u64, u64),
    /// It is to be put together again.
    pub is_dirty: bool,
    /// Shown: somebody has waited, and it is known what for, or somebody waits now.
    pub is_listed: bool,
}

impl Row {
    /// Without words.
    #[must_use]
    pub fn new(name: Name, nameless: &Arc<str>) -> Self {
        let lock = Lock {
            process: name.process,
            address: name.address,
            id: Arc::clone(nameless),
            kind: name.kind,
            runtime: None,
            symbol: None,
            site: None,
            waiters: 0,
            waiters_peak: 0,
            oldest_since_ns: None,
            oldest_is_at_least: false,
            seen_ns: None,
            holder: None,
            abandoned: false,
            counts: None,
        };
        Self {
            name,
            words: Vec::new(),
            base: None,
            lock: Arc::new(lock),
            held_ns: (0, 0),
            is_dirty: false,
            is_listed: false,
        }
    }

    /// Takes over what was found out. A site that is known stays: it names the lock. So does the id that goes with it.
    pub fn identify(&mut self, identity: Identity) {
        let Identity {
            address: _,
            kind: _,
            id,
            runtime,
            symbol,
            site,
        } = identity;
        let lock = &*self.lock;
        let is_better = lock.site.is_none() && (site.is_some() || lock.symbol.is_none());
        if !is_better {
            return;
        }
        let lock = Arc::make_mut(&mut self.lock);
        lock.id = id;
        lock.runtime = runtime;
        lock.symbol = symbol;
        lock.site = site;
    }

    /// Who holds it now.
    pub fn held(&mut self, held: Held) {
        let Held {
            holder,
            abandoned,
            from_ns,
            at_ns,
        } = held;
        self.held_ns = (from_ns, at_ns);
        if self.lock.holder != holder || self.lock.abandoned != abandoned {
            let lock = Arc::make_mut(&mut self.lock);
            lock.holder = holder;
            lock.abandoned = abandoned;
        }
    }

    /// Puts together what is shown, from the words as they are now.
    pub fn refresh(&mut self, words: &Words, statistics: &impl Statistics) {
        let lock = Arc::make_mut(&mut self.lock);
        let mut sum: Option<Counts> = self.base.as_deref().copied();
        let mut peaks = (0u64, 0u64);
        let mut oldest_ns = u64::MAX;
        let mut is_named = self.base.is_some();
        (lock.waiters, lock.oldest_is_at_least) = (0, false);
        for &place in &self.words {
            let Some(word) = words.get(place) else {
                continue;
            };
            is_named |= word.naming != Naming::New;
            lock.waiters += u64::from(word.waiters.count);
            if word.waiters.count > 0 {
                oldest_ns = oldest_ns.min(word.waiters.oldest_since_ns);
                lock.oldest_is_at_least |= word.waiters.at_least;
            }
            let stats = statistics.get(place);
            let Some(stats) = stats.filter(|stats| stats.key == word.key) else {
                continue;
            };
            peaks = (
                peaks.0 + stats.peak_waiters,
                peaks.1.max(stats.peak_waiters),
            );
            let sum = sum.get_or_insert(counts::ZERO);
            // What nobody has judged yet goes to the row that it will belong to.
            if word.naming != Naming::New {
                let mut counted = counts::of(&stats);
                if let Some(origin) = &word.origin {
                    counts::since(&mut counted, origin);
                }
                counts::add(sum, &counted);
            }
        }
        // The words of a reader-writer lock are waited on side by side, those of a condition variable in turn.
        let peak = match lock.kind {
            Kind::RwlockRead | Kind::RwlockWrite => peaks.0,
            _ => peaks.1,
        };
        lock.waiters_peak = lock.waiters_peak.max(peak).max(lock.waiters);
        lock.oldest_since_ns = (oldest_ns != u64::MAX).then_some(oldest_ns);
        if lock.waiters == 0 {
            lock.holder = None;
            lock.abandoned = false;
        }
        match (sum, &mut lock.counts) {
            (Some(sum), Some(counts)) => **counts = sum,
            (sum, counts) => *counts = sum.map(Box::new),
        }
        self.is_listed = is_named || lock.waiters > 0;
        self.is_dirty = false;
    }
}

/// The id of what nobody has looked at.
#[must_use]
pub fn nameless() -> Arc<str> {
    identity::wait_site(Kind::Unknown, &[]).into()
}
