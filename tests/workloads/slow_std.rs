//! Several locks of Rust's standard library, each contended a known number of times.

#[path = "rounds.rs"]
mod rounds;

use std::{
    hint::black_box,
    sync::{Condvar, Mutex, Once, PoisonError, RwLock},
};

use rounds::Lock;

// Side by side, so that one taken for its neighbour is found out.
static MUTEXES: [Mutex<u8>; 2] = [const { Mutex::new(0) }; 2];
static RWLOCK: RwLock<u8> = RwLock::new(0);
static CONDVAR: Condvar = Condvar::new();
static ARRIVED: Mutex<bool> = Mutex::new(false);
static ONCE: Once = Once::new();

fn take_mutex(number: usize) {
    *MUTEXES[number].lock().unwrap_or_else(PoisonError::into_inner) += 1;
}

fn hold_mutex(number: usize, meanwhile: &dyn Fn()) {
    let _guard = MUTEXES[number].lock();
    meanwhile();
}

const LOCKS: &[Lock] = &[
    Lock {
        kind: "mutex",
        address: || &raw const MUTEXES[0] as usize,
        rounds: 20,
        waiters: 3,
        hold: |meanwhile| hold_mutex(0, meanwhile),
        take: || take_mutex(0),
    },
    Lock {
        kind: "mutex",
        address: || &raw const MUTEXES[1] as usize,
        rounds: 7,
        waiters: 1,
        hold: |meanwhile| hold_mutex(1, meanwhile),
        take: || take_mutex(1),
    },
    Lock {
        kind: "rwlock_read",
        address: || &raw const RWLOCK as usize,
        rounds: 5,
        waiters: 4,
        hold: |meanwhile| {
            let _guard = RWLOCK.write();
            meanwhile();
        },
        take: || {
            black_box(*RWLOCK.read().unwrap_or_else(PoisonError::into_inner));
        },
    },
    Lock {
        kind: "rwlock_write",
        address: || &raw const RWLOCK as usize,
        rounds: 9,
        waiters: 2,
        hold: |meanwhile| {
            let _guard = RWLOCK.read();
            meanwhile();
        },
        take: || *RWLOCK.write().unwrap_or_else(PoisonError::into_inner) += 1,
    },
    Lock {
        kind: "condvar",
        address: || &raw const CONDVAR as usize,
        rounds: 11,
        // One alone: several that are woken at once contend for the mutex.
        waiters: 1,
        hold: |meanwhile| {
            meanwhile();
            *ARRIVED.lock().unwrap_or_else(PoisonError::into_inner) = true;
            CONDVAR.notify_all();
        },
        take: || {
            let mut arrived = ARRIVED.lock().unwrap_or_else(PoisonError::into_inner);
            while !*arrived {
                arrived = CONDVAR
                    .wait(arrived)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            *arrived = false;
        },
    },
    Lock {
        kind: "once",
        address: || &raw const ONCE as usize,
        rounds: 1,
        waiters: 3,
        hold: |meanwhile| ONCE.call_once(meanwhile),
        take: || ONCE.call_once(|| {}),
    },
];

fn main() {
    rounds::run(LOCKS)
}
