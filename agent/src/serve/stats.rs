//! What the HTTP side counts of itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::sink::prometheus::Http;

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There were too many connections.
    Connections,
    /// There were too many event streams.
    Streams,
    /// The request had a body, and a long one.
    Body,
    /// The token was missing or wrong.
    Token,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// Too many requests were being worked on.
    Busy,
}

impl Refused {
    const NAMES: [&str; 6] = [
        "connections",
        "streams",
        "body",
        "token",
        "handshake",
        "busy",
    ];
}

/// Why a connection was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The request's head did not come in time.
    Head,
    /// No other request came.
    Idle,
    /// The response was not read in time.
    Response,
    /// The reader of an event stream accepted nothing for too long.
    Stream,
    /// The reader of an event stream fell too far behind.
    Behind,
}

impl Cut {
    const NAMES: [&str; 5] = ["head", "idle", "response", "stream", "behind"];
}

/// Counters, and two gauges.
#[derive(Debug, Default)]
pub struct Stats {
    /// Open connections.
    pub connections: Gauge,
    /// Open event streams.
    pub streams: Gauge,
    refused: [AtomicU64; Refused::NAMES.len()],
    cut: [AtomicU64; Cut::NAMES.len()],
    events_dropped: AtomicU64,
    /// By route as it is registered (so there are only so many) and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Stats {
    /// Somebody was turned away.
    pub fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// Somebody was cut off.
    pub fn cut(&self, why: Cut) {
        self.cut[why as usize].fetch_add(1, Relaxed);
    }

    /// Events did not reach a reader.
    pub fn dropped(&self, events: u64) {
        self.events_dropped.fetch_add(events, Relaxed);
    }

    /// A request was answered.
    pub fn answered(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_owned(), status)).or_default() += 1;
    }

    /// All of it at this moment.
    pub fn read(&self) -> Http {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        Http {
            connections: self.connections.get(),
            streams: self.streams.get(),
            requests: requests
                .iter()
                .map(|((route, status), count)| (route.clone(), *status, *count))
                .collect(),
            refused: named(&Refused::NAMES, &self.refused),
            cut: named(&Cut::NAMES, &self.cut),
            events_dropped: self.events_dropped.load(Relaxed),
        }
    }
}

fn named(names: &[&'static str], counters: &[AtomicU64]) -> Vec<(&'static str, u64)> {
    let counts = counters.iter().map(|counter| counter.load(Relaxed));
    names.iter().copied().zip(counts).collect()
}

/// How many there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A place among those that may be there at once. Given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    stats: Arc<Stats>,
    of: fn(&Stats) -> &Gauge,
}

impl Place {
    /// One of `limit`, if there is one left.
    pub fn take(stats: &Arc<Stats>, of: fn(&Stats) -> &Gauge, limit: usize) -> Option<Self> {
        let limit = limit as u64;
        let more = |count| (count < limit).then_some(count + 1);
        let taken = of(stats).0.fetch_update(Relaxed, Relaxed, more);
        taken.is_ok().then(|| Self {
            stats: Arc::clone(stats),
            of,
        })
    }

    /// Where it is counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.of)(&self.stats).0.fetch_sub(1, Relaxed);
    }
}
