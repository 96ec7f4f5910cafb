//! What a naming thread is to do, and what it is at.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Sample, now_ms};
use crate::{model::watch::ProcessKey, watch::table::Question};

/// Urgent jobs that wait: what there is no room for is asked again in the next tick, when something else may matter more.
const MAX_URGENT: usize = 1024;
/// Others: a sample takes some 8 KiB.
const MAX_OTHERS: usize = 512;

/// Something to find out.
#[derive(Debug)]
pub(super) enum Job {
    /// What a word is, and who holds it.
    Question(Question),
    /// What a process is.
    Process(ProcessKey),
    /// What a word is, by a sample.
    Sample(Box<Sample>),
}

/// Jobs, the urgent ones first.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    jobs: Mutex<Jobs>,
    bell: Condvar,
    /// Process that is read now; 0: none.
    at: AtomicU32,
    /// Since when, see [`now_ms`].
    since_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    others: VecDeque<Job>,
    is_closed: bool,
    has_failed: bool,
}

impl Inbox {
    /// False when there is no room.
    pub(super) fn put(&self, job: Job, is_urgent: bool) -> bool {
        let mut jobs = self.lock();
        let (queue, most) = if is_urgent {
            (&mut jobs.urgent, MAX_URGENT)
        } else {
            (&mut jobs.others, MAX_OTHERS)
        };
        if queue.len() >= most {
            return false;
        }
        queue.push_back(job);
        self.bell.notify_one();
        true
    }

    /// The next job, and whether it is urgent; waits for one. `None`: there will be none any more.
    pub(super) fn take(&self) -> Option<(Job, bool)> {
        self.at.store(0, Ordering::Relaxed);
        let mut jobs = self.lock();
        loop {
            if jobs.is_closed {
                return None;
            }
            let Jobs { urgent, others, .. } = &mut *jobs;
            let job = urgent.pop_front().map(|job| (job, true));
            if let Some((job, is_urgent)) =
                job.or_else(|| others.pop_front().map(|job| (job, false)))
            {
                let pid = match &job {
                    Job::Question(question) => question.key.tgid,
                    Job::Process(process) => process.pid,
                    Job::Sample(sample) => sample.head.tgid,
                };
                self.since_ms.store(now_ms(), Ordering::Relaxed);
                self.at.store(pid, Ordering::Release);
                return Some((job, is_urgent));
            }
            jobs = self.bell.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether nothing urgent is left to do.
    pub(super) fn is_at_ease(&self) -> bool {
        self.lock().urgent.is_empty()
    }

    /// The process that has been read for longer than `timeout`.
    pub(super) fn stuck_on(&self, timeout: Duration) -> Option<u32> {
        let pid = self.at.load(Ordering::Acquire);
        let since_ms = self.since_ms.load(Ordering::Relaxed);
        let age_ms = u128::from(now_ms().saturating_sub(since_ms));
        (pid != 0 && age_ms > timeout.as_millis()).then_some(pid)
    }

    /// Nobody listens any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.bell.notify_one();
    }

    /// The thread has panicked.
    pub(super) fn fail(&self) {
        self.lock().has_failed = true;
    }

    /// Whether it has.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
