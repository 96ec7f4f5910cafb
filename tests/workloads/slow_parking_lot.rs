//! Several locks of the `parking_lot` crate, each contended a known number of times.

#[path = "rounds.rs"]
mod rounds;

use std::hint::black_box;

use parking_lot::{Condvar, Mutex, Once, RwLock};
use rounds::Lock;

// One byte each, side by side.
static MUTEXES: [Mutex<()>; 3] = [const { Mutex::new(()) }; 3];
static RWLOCKS: [RwLock<u64>; 2] = [const { RwLock::new(0) }; 2];
static CONDVAR: Condvar = Condvar::new();
static ARRIVED: Mutex<bool> = Mutex::new(false);
static ONCE: Once = Once::new();

fn hold_mutex(number: usize, meanwhile: &dyn Fn()) {
    let _guard = MUTEXES[number].lock();
    meanwhile();
}

fn take_read(number: usize) {
    black_box(*RWLOCKS[number].read());
}

fn hold_write(number: usize, meanwhile: &dyn Fn()) {
    let _guard = RWLOCKS[number].write();
    meanwhile();
}

const LOCKS: &[Lock] = &[
    Lock {
        kind: "mutex",
        address: || &raw const MUTEXES[0] as usize,
        rounds: 20,
        waiters: 3,
        hold: |meanwhile| hold_mutex(0, meanwhile),
        take: || drop(MUTEXES[0].lock()),
    },
    Lock {
        kind: "mutex",
        address: || &raw const MUTEXES[1] as usize,
        rounds: 7,
        waiters: 1,
        hold: |meanwhile| hold_mutex(1, meanwhile),
        take: || drop(MUTEXES[1].lock()),
    },
    Lock {
        kind: "mutex",
        address: || &raw const MUTEXES[2] as usize,
        rounds: 1,
        waiters: 4,
        hold: |meanwhile| hold_mutex(2, meanwhile),
        take: || drop(MUTEXES[2].lock()),
    },
    Lock {
        kind: "rwlock_read",
        address: || &raw const RWLOCKS[0] as usize,
        rounds: 5,
        waiters: 4,
        hold: |meanwhile| hold_write(0, meanwhile),
        take: || take_read(0),
    },
    Lock {
        kind: "rwlock_read",
        address: || &raw const RWLOCKS[1] as usize,
        rounds: 3,
        waiters: 1,
        hold: |meanwhile| hold_write(1, meanwhile),
        take: || take_read(1),
    },
    Lock {
        kind: "rwlock_write",
        address: || &raw const RWLOCKS[1] as usize,
        rounds: 9,
        // The first waits for the readers to leave, the second for the first.
        waiters: 2,
        hold: |meanwhile| {
            let _guard = RWLOCKS[1].read();
            meanwhile();
        },
        take: || *RWLOCKS[1].write() += 1,
    },
    Lock {
        kind: "condvar",
        address: || &raw const CONDVAR as usize,
        rounds: 11,
        waiters: 1,
        hold: |meanwhile| {
            meanwhile();
            *ARRIVED.lock() = true;
            CONDVAR.notify_all();
        },
        take: || {
            let mut arrived = ARRIVED.lock();
            while !*arrived {
                CONDVAR.wait(&mut arrived);
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
