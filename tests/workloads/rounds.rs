//! Locks that are contended a number of times that the program knows: included by the Rust workloads whose waits are
//! counted lock by lock. Every waiter is seen to be parked before the lock is given up, and nobody else wants it, so
//! that each waits exactly once.

#[path = "basics.rs"]
mod basics;

use std::{
    process,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use basics::{await_go, await_parked, die, say, thread_id, until};

/// Most threads that wait at once.
const WORKERS: usize = 4;
/// No lock to take.
const NOTHING: usize = usize::MAX;

/// A lock, and what is done with it.
pub struct Lock {
    /// Kind that a report must show.
    pub kind: &'static str,
    /// Where it is.
    pub address: fn() -> usize,
    /// How often its waiters are made to wait.
    pub rounds: u64,
    /// How many at once.
    pub waiters: usize,
    /// Takes it, or what else is in the waiters' way, and gives it up when the function that it is given returns.
    pub hold: fn(&dyn Fn()),
    /// Waits for it and gives it back.
    pub take: fn(),
}

struct Worker {
    tid: AtomicUsize,
    job: AtomicUsize,
}

static POOL: [Worker; WORKERS] = [const {
    Worker {
        tid: AtomicUsize::new(0),
        job: AtomicUsize::new(NOTHING),
    }
}; WORKERS];
static ENDED: AtomicBool = AtomicBool::new(false);

fn work(worker: &Worker, locks: &'static [Lock]) {
    worker.tid.store(thread_id() as usize, Ordering::Release);
    while !ENDED.load(Ordering::Acquire) {
        if let Some(lock) = locks.get(worker.job.load(Ordering::Acquire)) {
            (lock.take)();
            worker.job.store(NOTHING, Ordering::Release);
        }
        // No futex: nobody wakes it.
        thread::sleep(Duration::from_micros(100));
    }
}

/// Prints where the locks are, contends for each in turn, and says how many waits there were.
pub fn run(locks: &'static [Lock]) -> ! {
    for worker in &POOL {
        thread::spawn(move || work(worker, locks));
        until("a worker did not start", || {
            worker.tid.load(Ordering::Acquire) != 0
        });
    }
    say(format_args!(
        r#"{{"event":"ready","pid":{}}}"#,
        process::id()
    ));
    await_go();
    for (number, lock) in locks.iter().enumerate() {
        let Some(crew) = POOL.get(..lock.waiters) else {
            die("too many waiters");
        };
        for _ in 0..lock.rounds {
            (lock.hold)(&|| {
                // One after the other: two at once may sleep for the queue itself, which looks the same from here.
                for worker in crew {
                    worker.job.store(number, Ordering::Release);
                    let tid = worker.tid.load(Ordering::Acquire);
                    await_parked(tid.try_into().unwrap_or(0));
                }
            });
            until("a waiter did not come back", || {
                let mut jobs = crew.iter().map(|worker| worker.job.load(Ordering::Acquire));
                jobs.all(|job| job == NOTHING)
            });
        }
    }
    let rows: Vec<String> = locks
        .iter()
        .map(|lock| {
            let (kind, address) = (lock.kind, (lock.address)());
            let waits = lock.rounds * lock.waiters as u64;
            format!(r#"{{"kind":"{kind}","address":"{address:#x}","waits":{waits}}}"#)
        })
        .collect();
    say(format_args!(
        r#"{{"event":"counted","locks":[{}]}}"#,
        rows.join(",")
    ));
    await_go();
    ENDED.store(true, Ordering::Release);
    process::exit(0)
}
