//! Serving one receiver: deliver, and if that fails, again later.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use super::{
    Settings,
    http::Failure,
    notice::Notice,
    queue::{Queue, Work},
};

/// Where notices go.
pub trait Outlet: Send {
    /// Most notices that it takes at once.
    fn batch(&self) -> usize {
        1
    }

    /// Delivers these.
    ///
    /// # Errors
    /// None of them counts as delivered.
    fn deliver(&self, notices: &[Notice]) -> Result<(), Failure>;
}

pub struct Worker {
    queue: Arc<Queue>,
    outlet: Box<dyn Outlet>,
    deadline: Duration,
    backoff: Backoff,
}

impl Worker {
    pub fn new(settings: &Settings, queue: Arc<Queue>, outlet: Box<dyn Outlet>) -> Self {
        Self {
            queue,
            outlet,
            deadline: settings.deadline,
            backoff: Backoff {
                least: settings.retry_min,
                most: settings.retry_max,
                failures: 0,
            },
        }
    }

    pub fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    pub fn run(mut self) {
        // However this ends, nobody waits for it any longer.
        let _closed = Closed(Arc::clone(&self.queue));
        while let Work::Deliver(notices) = self.queue.next(self.outlet.batch()) {
            if !self.deliver(notices) {
                return;
            }
        }
    }

    /// Whether to go on.
    fn deliver(&mut self, notices: Vec<Notice>) -> bool {
        match self.outlet.deliver(&notices) {
            Ok(()) => {
                self.backoff.failures = 0;
                self.queue.delivered(notices.len());
                true
            }
            Err(Failure::Refused(why)) => {
                tracing::error!(receiver = self.queue.name(), "alert refused: {why}");
                self.queue.not_delivered(Vec::new(), notices.len());
                true
            }
            Err(Failure::Temporary(why)) => {
                let is_in_time = |notice: &Notice| notice.queued_at.elapsed() < self.deadline;
                let (again, late): (Vec<_>, Vec<_>) = notices.into_iter().partition(is_in_time);
                tracing::warn!(
                    receiver = self.queue.name(),
                    given_up = late.len(),
                    "alert not delivered: {why}"
                );
                self.queue.not_delivered(again, late.len());
                let wait = self.backoff.next();
                self.queue.pause(wait)
            }
        }
    }
}

struct Closed(Arc<Queue>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Time until another try: doubles with each failure, and is never the same for all agents of a cluster.
struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1).min(31);
        let whole = self.least.saturating_mul(doubled).min(self.most);
        // Random keys are what the standard library has of chance.
        let random = RandomState::new().build_hasher().finish() % 1024;
        whole / 2 + whole / 2048 * u32::try_from(random).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff {
            least: Duration::from_millis(100),
            most: Duration::from_secs(2),
            failures: 0,
        };
        for whole_ms in [100, 200, 400, 800, 1600, 2000, 2000] {
            let wait = backoff.next();
            let whole = Duration::from_millis(whole_ms);
            assert!((whole / 2..=whole).contains(&wait), "{wait:?} of {whole:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next() <= Duration::from_secs(2));
        }
    }
}
