//! What was seen of a process, as the view wants it.

use std::sync::Arc;

use super::notes::Since;
use crate::model::{
    Kind,
    watch::{Go, Lock, Process, ProcessKey},
};

/// A lock that goroutines wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Address of the lock.
    pub address: u64,
    /// What it is to those who wait.
    pub kind: Kind,
    /// See [`Lock::id`].
    pub id: Arc<str>,
    /// See [`Lock::symbol`].
    pub symbol: Option<Arc<str>>,
    /// See [`Lock::site`].
    pub site: Option<Arc<str>>,
    /// Goroutines that wait now.
    pub waiters: u64,
    /// Most that waited at once.
    pub waiters_peak: u64,
    /// Since when the longest one waits.
    pub since: Option<Since>,
}

impl Row {
    /// Nobody waits.
    #[must_use]
    pub const fn new(address: u64, kind: Kind, id: Arc<str>) -> Self {
        Self {
            address,
            kind,
            id,
            symbol: None,
            site: None,
            waiters: 0,
            waiters_peak: 0,
            since: None,
        }
    }

    /// As it stands in a view.
    #[must_use]
    pub fn lock(&self, process: ProcessKey, runtime: &Arc<str>, seen_ns: u64) -> Lock {
        Lock {
            process,
            address: self.address,
            id: Arc::clone(&self.id),
            kind: self.kind,
            runtime: Some(Arc::clone(runtime)),
            symbol: self.symbol.clone(),
            site: self.site.clone(),
            waiters: self.waiters,
            waiters_peak: self.waiters_peak,
            oldest_since_ns: self.since.map(|since| since.ns),
            oldest_is_at_least: self.since.is_some_and(|since| since.is_at_least),
            seen_ns: Some(seen_ns),
            holder: None,
            abandoned: false,
            counts: None,
        }
    }
}

/// A process written in Go.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it is; its key has no generation yet.
    pub process: Process,
    /// When its locks were looked at, on the monotonic clock in nanoseconds.
    pub at_ns: u64,
    /// Its goroutines.
    pub go: Arc<Go>,
    /// Locks that they wait for.
    pub rows: Vec<Row>,
}
