//! Asking loops to end, whether they wait in a thread or in a future.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// A request to end, shared by those who ask and those who are asked. It cannot be taken back.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requested: Mutex<bool>,
    changed: Condvar,
    /// The same for futures.
    told: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(Inner {
            requested: Mutex::default(),
            changed: Condvar::new(),
            told: watch::Sender::new(false),
        }))
    }
}

impl Stop {
    /// Asks.
    pub fn request(&self) {
        *lock(&self.0.requested) = true;
        self.0.changed.notify_all();
        self.0.told.send_replace(true);
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *lock(&self.0.requested)
    }

    /// Waits for `time`, or until somebody asks. Returns whether somebody did.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut requested = lock(&self.0.requested);
        while !*requested {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.0.changed.wait_timeout(requested, left);
            requested = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *requested
    }

    /// Ready when somebody has asked.
    pub async fn requested(&self) {
        let mut told = self.0.told.subscribe();
        // The sender lives as long as we do.
        let _ = told.wait_for(|told| *told).await;
    }
}

/// A lock that a panic elsewhere does not make unusable: what it guards is plain values.
pub(in crate::daemon) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_threads_and_futures() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::from_millis(1)));
        let (ours, theirs) = (stop.clone(), stop.clone());
        let thread = std::thread::spawn(move || ours.wait(Duration::from_secs(60)));
        let future = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(theirs.requested());
        });
        stop.request();
        assert!(thread.join().unwrap());
        future.join().unwrap();
        assert!(stop.is_requested() && stop.wait(Duration::from_secs(60)));
    }
}
