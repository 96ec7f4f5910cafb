//! What the machine does to everybody: a heartbeat of the test's own on each processor, which nobody watches.
//!
//! A virtual machine's processors stand still now and then, and the scheduler keeps real-time threads from a processor that
//! others of them do not leave. Each processor has a thread here that runs ahead of others as the workloads' heartbeats do:
//! a gap that both have is the machine's. One that only the workload has is not.

use std::{
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::child;

/// Shorter ones are no excuse, nanoseconds.
const LEAST_GAP_NS: u64 = 5_000_000;

/// Time between two beats: from, until; nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Gap(u64, u64);

impl Gap {
    /// How long it is.
    #[must_use]
    pub const fn length_ns(&self) -> u64 {
        self.1.saturating_sub(self.0)
    }
}

/// The hearts of this process; they beat from its first workload on.
#[derive(Debug)]
pub struct Control {
    gaps: Mutex<Vec<Gap>>,
    /// Of each heart.
    beats: Vec<AtomicU64>,
}

impl Control {
    /// The one that there is; started when first asked for.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn get() -> Result<&'static Self> {
        static CONTROL: OnceLock<Option<&'static Control>> = OnceLock::new();
        CONTROL
            .get_or_init(|| {
                let processors = processors()?;
                let control: &'static Self = Box::leak(Box::new(Self {
                    gaps: Mutex::default(),
                    beats: processors.iter().map(|_| AtomicU64::new(0)).collect(),
                }));
                for (processor, beats) in processors.into_iter().zip(&control.beats) {
                    thread::spawn(move || control.beat(processor, beats));
                }
                Some(control)
            })
            .context("the machine's processors are not known")
    }

    /// For how much of `gap` one of the processors stood still, nanoseconds.
    ///
    /// # Errors
    /// When one does so for good.
    pub fn missed_ns(&self, gap: &Gap) -> Result<u64> {
        // One that goes on now is to be written down first.
        for beats in &self.beats {
            let before = beats.load(Ordering::Acquire);
            let started = Instant::now();
            while beats.load(Ordering::Acquire) < before + 2 {
                ensure!(started.elapsed() < child::DEADLINE, "a processor is gone");
                thread::sleep(Duration::from_millis(1));
            }
        }
        let mut gaps = self
            .gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        gaps.sort_unstable_by_key(|gap| gap.0);
        let (mut missed, mut counted_to) = (0, gap.0);
        for Gap(from, until) in gaps {
            let (from, until) = (from.max(counted_to), until.min(gap.1));
            missed += until.saturating_sub(from);
            counted_to = counted_to.max(until);
        }
        Ok(missed)
    }

    fn beat(&self, processor: usize, beats: &AtomicU64) {
        stay_on(processor);
        let mut before = monotonic_ns();
        loop {
            thread::sleep(Duration::from_millis(1));
            let now = monotonic_ns();
            if now.saturating_sub(before) >= LEAST_GAP_NS {
                self.gaps
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Gap(before, now));
            }
            before = now;
            beats.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Those that this process may run on.
fn processors() -> Option<Vec<usize>> {
    // SAFETY: a set of processors is plain bits, of which none set is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is written only during the call, and as long as is said.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    let size = usize::try_from(libc::CPU_SETSIZE).ok()?;
    // SAFETY: all numbers are below the size of the set.
    let is_in = |processor: &usize| unsafe { libc::CPU_ISSET(*processor, &set) };
    (result == 0).then(|| (0..size).filter(is_in).collect())
}

/// Keeps the calling thread on a processor, ahead of others where that is permitted: where it is not, the workloads' hearts
/// are no better off.
fn stay_on(processor: usize) {
    // SAFETY: a set of processors is plain bits, of which none set is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `processor` came out of such a set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: 0 is the calling thread, and `set` is read only during the call, as long as is said.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    let priority = libc::sched_param { sched_priority: 2 };
    // SAFETY: 0 is the calling thread, and `priority` is read only during the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, ptr::from_ref(&priority)) };
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is written only during the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
