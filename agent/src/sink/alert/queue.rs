//! The queue of one receiver: bounded, and no more than one notice for each incident.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    State,
    notice::{Notice, What},
};
use crate::model::{
    health,
    incident::{Event, Incident},
};

/// Time between the last tries, before everything ends.
const LAST_TRIES: Duration = Duration::from_millis(100);

/// What there is to do for whoever serves the receiver.
#[derive(Debug)]
pub enum Work {
    /// Deliver these, in the order in which their incidents came up.
    Deliver(Vec<Notice>),
    /// Nothing any more.
    End,
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    name: String,
    capacity: usize,
    /// How often open incidents are repeated; `None` for receivers that are told of changes only.
    repeat: Option<Duration>,
    inner: Mutex<Inner>,
    changed: Condvar,
    dropped: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// By key.
    pending: HashMap<String, Notice>,
    /// Keys of those that are pending, in the order they came up.
    order: VecDeque<String>,
    /// Keys of those that are being delivered.
    in_flight: HashSet<String>,
    /// To be repeated, by key.
    open: BTreeMap<String, Incident>,
    repeated_at: Option<Instant>,
    /// No more is taken in, and all must be over by then.
    closing: Option<Instant>,
    /// Dropped until then.
    dropped_before: u64,
    closed: bool,
}

impl Inner {
    /// Incidents that there is something to tell of.
    fn depth(&self) -> usize {
        let alone = |key: &&String| !self.pending.contains_key(*key);
        self.pending.len() + self.in_flight.iter().filter(alone).count()
    }
}

impl Queue {
    pub fn new(name: &str, capacity: usize, repeat: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            capacity,
            repeat,
            inner: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what has happened to an incident.
    pub fn push(&self, event: &Event) {
        let notice = Notice::of(event);
        let key = &event.incident.key;
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return;
        }
        let mut is_due = notice.what != What::Repeated;
        if self.repeat.is_some() {
            // Told anew after a restart of the agent, or of this queue: the receiver may have forgotten it.
            is_due |= !inner.open.contains_key(key);
            if notice.what == What::Resolved {
                inner.open.remove(key);
            } else if inner.open.contains_key(key) || inner.open.len() < self.capacity {
                inner.open.insert(key.clone(), notice.incident.clone());
            }
        }
        // What is being told may fail, and be told again: with the state it has then.
        if is_due || inner.pending.contains_key(key) || inner.in_flight.contains(key) {
            self.add(&mut inner, notice);
            self.changed.notify_all();
        }
    }

    fn add(&self, inner: &mut Inner, notice: Notice) {
        let key = notice.incident.key.clone();
        if let Some(pending) = inner.pending.get_mut(&key) {
            pending.update(notice);
        } else if inner.in_flight.contains(&key) || inner.depth() < self.capacity {
            inner.order.push_back(key.clone());
            inner.pending.insert(key, notice);
        } else {
            self.drop_some(1);
        }
    }

    /// Waits until there is something to deliver: at most `most` notices.
    pub fn next(&self, most: usize) -> Work {
        let mut inner = self.lock();
        loop {
            self.repeat_open(&mut inner);
            if inner
                .closing
                .is_some_and(|closing| Instant::now() >= closing)
            {
                return Work::End;
            }
            if !inner.order.is_empty() {
                let count = inner.order.len().min(most);
                let keys: Vec<String> = inner.order.drain(..count).collect();
                let notices = keys.iter().filter_map(|key| inner.pending.remove(key));
                let notices: Vec<Notice> = notices.collect();
                inner.in_flight = keys.into_iter().collect();
                return Work::Deliver(notices);
            }
            if inner.closing.is_some() {
                return Work::End;
            }
            let wait = match (self.repeat, inner.repeated_at) {
                (Some(repeat), Some(at)) if !inner.open.is_empty() => {
                    (at + repeat).saturating_duration_since(Instant::now())
                }
                _ => Duration::from_secs(3600),
            };
            let waited = self.changed.wait_timeout(inner, wait);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes notices of all open incidents when it is time for it.
    fn repeat_open(&self, inner: &mut Inner) {
        let Some(repeat) = self.repeat.filter(|_| inner.closing.is_none()) else {
            return;
        };
        let now = Instant::now();
        let at = *inner.repeated_at.get_or_insert(now);
        if now.saturating_duration_since(at) < repeat {
            return;
        }
        inner.repeated_at = Some(now);
        let open: Vec<Incident> = inner.open.values().cloned().collect();
        for incident in open {
            self.add(
                inner,
                Notice {
                    what: What::Repeated,
                    incident,
                    queued_at: now,
                },
            );
        }
    }

    /// These were delivered.
    pub fn delivered(&self, count: usize) {
        let mut inner = self.lock();
        let keys = std::mem::take(&mut inner.in_flight);
        if self.repeat.is_none() {
            // Nothing but heartbeats came meanwhile.
            let is_old = |key: &String, notice: &mut Notice| {
                notice.what == What::Repeated && keys.contains(key)
            };
            let old: HashSet<String> = inner.pending.extract_if(is_old).map(|it| it.0).collect();
            inner.order.retain(|key| !old.contains(key));
        }
        drop(inner);
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// These were not: those to be tried again come first, unless there is newer to tell. The others are dropped.
    pub fn not_delivered(&self, again: Vec<Notice>, dropped: usize) {
        let mut inner = self.lock();
        inner.in_flight.clear();
        for notice in again.into_iter().rev() {
            let key = notice.incident.key.clone();
            if let Some(newer) = inner.pending.remove(&key) {
                let mut notice = notice;
                notice.update(newer);
                inner.pending.insert(key, notice);
            } else {
                inner.order.push_front(key.clone());
                inner.pending.insert(key, notice);
            }
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.drop_some(dropped);
    }

    fn drop_some(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Waits before another try, while closing not for long; `false` when there is no time for another one.
    pub fn pause(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut inner = self.lock();
        let closing = loop {
            if let Some(closing) = inner.closing {
                break closing;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(inner);
        let left = closing.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(LAST_TRIES));
        Instant::now() < closing
    }

    /// Takes nothing in any more.
    pub fn close(&self, until: Instant) {
        let mut inner = self.lock();
        if inner.closing.is_none() {
            inner.closing = Some(until);
            inner.dropped_before = self.dropped.load(Ordering::Relaxed);
        }
        inner.open.clear();
        self.changed.notify_all();
    }

    /// The receiver is not served any more: what is left is dropped.
    pub fn closed(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        self.drop_some(inner.pending.len());
        inner.pending.clear();
        inner.order.clear();
        self.changed.notify_all();
    }

    /// Waits until that is so, and returns how many notices were not delivered.
    pub fn wait_closed(&self, until: Instant) -> u64 {
        let mut inner = self.lock();
        loop {
            let now = Instant::now();
            if inner.closed || now >= until {
                let left = inner.depth() as u64;
                let dropped = self.dropped.load(Ordering::Relaxed);
                return left + dropped.saturating_sub(inner.dropped_before);
            }
            let waited = self.changed.wait_timeout(inner, until - now);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn state(&self) -> State {
        let inner = self.lock();
        State {
            queue: health::Queue {
                name: self.name.clone(),
                depth: inner.depth() as u64,
                capacity: self.capacity as u64,
                dropped: self.dropped.load(Ordering::Relaxed),
            },
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::incident::Change, sink::fixture};

    fn event(key: &str, change: Change, waiters: u64) -> Event {
        let mut incident = fixture::bundle().incident;
        incident.key = key.to_owned();
        incident.waiters = waiters;
        Event { change, incident }
    }

    const OPENED: Change = Change::Opened { again: false };

    fn take(queue: &Queue) -> Vec<(String, What, u64)> {
        let Work::Deliver(notices) = queue.next(100) else {
            return Vec::new();
        };
        let of = |notice: Notice| (notice.incident.key, notice.what, notice.incident.waiters);
        notices.into_iter().map(of).collect()
    }

    fn row(key: &str, what: What, waiters: u64) -> (String, What, u64) {
        (key.to_owned(), what, waiters)
    }

    #[test]
    fn one_notice_for_each_incident_the_newest() {
        let queue = Queue::new("q", 10, None);
        for waiters in 1..=1000 {
            queue.push(&event("a", Change::Refreshed, waiters));
        }
        assert_eq!(queue.state().queue.depth, 0, "of no interest alone");
        queue.push(&event("a", OPENED, 1));
        queue.push(&event("b", OPENED, 5));
        for waiters in 2..=1000 {
            queue.push(&event("a", Change::Refreshed, waiters));
            queue.push(&event("a", Change::Doubled, waiters));
        }
        assert_eq!(queue.state().queue.depth, 2);
        assert_eq!(
            take(&queue),
            [row("a", What::Opened, 1000), row("b", What::Opened, 5)]
        );
        assert_eq!(queue.state().queue.depth, 2, "being delivered");
        queue.delivered(2);
        assert_eq!((queue.state().queue.depth, queue.state().sent), (0, 2));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let queue = Queue::new("q", 3, None);
        for key in ["a", "b", "c", "d", "e"] {
            queue.push(&event(key, OPENED, 1));
        }
        queue.push(&event("a", Change::Resolved, 0));
        let state = queue.state().queue;
        assert_eq!((state.depth, state.capacity, state.dropped), (3, 3, 2));
        let keys: Vec<String> = take(&queue).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, ["a", "b", "c"]);
        // Those being delivered have their places still.
        queue.push(&event("f", OPENED, 1));
        assert_eq!(queue.state().queue.dropped, 3);
        queue.push(&event("a", Change::Refreshed, 1));
        assert_eq!(queue.state().queue.depth, 3, "it is there already");
        queue.delivered(3);
        assert_eq!(
            queue.state().queue.depth,
            0,
            "a heartbeat alone is nothing to tell"
        );
    }

    #[test]
    fn what_was_not_delivered_comes_again_with_what_is_newer() {
        let queue = Queue::new("q", 10, None);
        queue.push(&event("a", OPENED, 1));
        queue.push(&event("b", OPENED, 1));
        let Work::Deliver(notices) = queue.next(100) else {
            panic!("nothing to deliver");
        };
        queue.push(&event("c", OPENED, 1));
        queue.push(&event("a", Change::Doubled, 2));
        queue.not_delivered(notices, 0);
        let mut rows = take(&queue);
        rows.sort();
        assert_eq!(
            rows,
            [
                row("a", What::Opened, 2),
                row("b", What::Opened, 1),
                row("c", What::Opened, 1)
            ]
        );
        assert_eq!(queue.state().failed, 1);
    }

    #[test]
    fn open_incidents_are_repeated_until_they_are_over() {
        let queue = Queue::new("q", 10, Some(Duration::from_millis(20)));
        // Open since before the agent was started.
        queue.push(&event("a", Change::Opened { again: true }, 1));
        assert_eq!(take(&queue), [row("a", What::Repeated, 1)]);
        queue.delivered(1);
        queue.push(&event("a", Change::Refreshed, 7));
        for _ in 0..3 {
            assert_eq!(take(&queue), [row("a", What::Repeated, 7)]);
            queue.delivered(1);
        }
        queue.push(&event("a", Change::Resolved, 0));
        assert_eq!(take(&queue), [row("a", What::Resolved, 0)]);
        queue.delivered(1);
        queue.close(Instant::now());
        assert!(matches!(queue.next(1), Work::End));
    }

    #[test]
    fn closing_counts_what_is_left() {
        let queue = Queue::new("q", 10, None);
        queue.push(&event("a", OPENED, 1));
        queue.push(&event("b", OPENED, 1));
        queue.close(Instant::now());
        queue.push(&event("c", OPENED, 1));
        assert!(!queue.pause(Duration::from_secs(100)));
        assert_eq!(queue.wait_closed(Instant::now()), 2);
        queue.closed();
        assert_eq!(queue.state().queue.dropped, 2);
    }
}
