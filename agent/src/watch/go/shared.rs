//! What the thread that watches goroutines and its owner share. Neither waits for the other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::seen::Seen;
use crate::{ingest::clock::monotonic_ns, model::health::Level};

/// See the module.
#[derive(Debug, Default)]
pub struct Shared {
    seen: Mutex<BTreeMap<u32, Arc<Seen>>>,
    orders: Mutex<Orders>,
    bell: Condvar,
    /// Process that is read now; 0: none.
    at: AtomicU32,
    /// Since when, on the monotonic clock in nanoseconds.
    since_ns: AtomicU64,
    has_called: AtomicBool,
    /// Waiters that made no sense.
    torn: AtomicU64,
    /// Processes beyond the bound.
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Orders {
    level: Level,
    is_over: bool,
}

impl Shared {
    /// For a thread that begins with this level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self {
            orders: Mutex::new(Orders {
                level,
                is_over: false,
            }),
            ..Self::default()
        }
    }

    // The thread's side.

    /// How much is to be done; `None`: nothing any more.
    pub fn level(&self) -> Option<Level> {
        let orders = lock(&self.orders);
        (!orders.is_over).then_some(orders.level)
    }

    /// Sleeps, unless there are other orders.
    pub fn sleep(&self, pause: Duration) {
        let orders = lock(&self.orders);
        if !orders.is_over {
            // Woken for nothing, it goes round once more.
            drop(self.bell.wait_timeout(orders, pause));
        }
    }

    /// Which process is read from now on.
    pub fn at(&self, pid: u32) {
        if pid != 0 {
            self.since_ns.store(monotonic_ns(), Ordering::Relaxed);
        }
        self.at.store(pid, Ordering::Release);
    }

    /// Tells what was seen of a process.
    pub fn tell(&self, pid: u32, news: Option<Seen>, torn: u64) {
        self.torn.fetch_add(torn, Ordering::Relaxed);
        if let Some(seen) = news {
            lock(&self.seen).insert(pid, Arc::new(seen));
        }
    }

    /// A process is gone.
    pub fn gone(&self, pid: u32) {
        lock(&self.seen).remove(&pid);
    }

    /// So many processes there is no room for.
    pub fn left_out(&self, processes: u64) {
        self.left_out.store(processes, Ordering::Relaxed);
    }

    /// There is something that should be known now.
    pub fn call(&self) {
        self.has_called.store(true, Ordering::Release);
    }

    // The owner's side.

    /// Gives other orders.
    pub fn set_level(&self, level: Level) {
        lock(&self.orders).level = level;
        self.bell.notify_one();
    }

    /// The thread is to end.
    pub fn end(&self) {
        lock(&self.orders).is_over = true;
        self.bell.notify_one();
    }

    /// What is known of all processes.
    pub fn seen(&self) -> Vec<Arc<Seen>> {
        lock(&self.seen).values().cloned().collect()
    }

    /// Whether there has been a call since this was asked last.
    pub fn take_call(&self) -> bool {
        self.has_called.swap(false, Ordering::AcqRel)
    }

    /// The process that has been read for longer than `timeout`.
    pub fn stuck_on(&self, timeout: Duration) -> Option<u32> {
        let pid = self.at.load(Ordering::Acquire);
        let since_ns = self.since_ns.load(Ordering::Relaxed);
        let age = Duration::from_nanos(monotonic_ns().saturating_sub(since_ns));
        (pid != 0 && age > timeout).then_some(pid)
    }

    /// Waiters that made no sense, and processes that there is no room for.
    pub fn losses(&self) -> (u64, u64) {
        (
            self.torn.load(Ordering::Relaxed),
            self.left_out.load(Ordering::Relaxed),
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
