//! `parking_lot MODE WAITERS`: the locks of the `parking_lot` crate, whose futex words belong to threads, not to locks.

#[path = "handshake.rs"]
mod handshake;

use handshake::{Mode, keep};
use parking_lot::{Condvar, Mutex, RwLock};

static MUTEX: Mutex<u64> = Mutex::new(0);
static RWLOCK: RwLock<u64> = RwLock::new(0);
static CONDVAR: Condvar = Condvar::new();
static ARRIVED: Mutex<bool> = Mutex::new(false);

mod app {
    use super::*;

    #[inline(never)]
    pub fn take_mutex() {
        *MUTEX.lock() += 1;
    }
    #[inline(never)]
    pub fn take_read() {
        std::hint::black_box(*RWLOCK.read());
    }
    #[inline(never)]
    pub fn take_write() {
        *RWLOCK.write() += 1;
    }
    #[inline(never)]
    pub fn wait_condition() {
        let mut arrived = ARRIVED.lock();
        while !*arrived {
            CONDVAR.wait(&mut arrived);
        }
        std::hint::black_box(*arrived);
    }
}

const MODES: &[Mode] = &[
    Mode {
        name: "mutex",
        kind: "mutex",
        function: "app::take_mutex",
        address: || &raw const MUTEX as usize,
        hold: || {
            let _guard = MUTEX.lock();
            keep();
        },
        take: app::take_mutex,
    },
    Mode {
        name: "read",
        kind: "rwlock_read",
        function: "app::take_read",
        address: || &raw const RWLOCK as usize,
        hold: || {
            let _guard = RWLOCK.write();
            keep();
        },
        take: app::take_read,
    },
    Mode {
        name: "write",
        kind: "rwlock_write",
        function: "app::take_write",
        address: || &raw const RWLOCK as usize,
        hold: || {
            let _guard = RWLOCK.read();
            keep();
        },
        take: app::take_write,
    },
    Mode {
        name: "condvar",
        kind: "condvar",
        function: "app::wait_condition",
        address: || &raw const CONDVAR as usize,
        hold: || {
            keep();
            *ARRIVED.lock() = true;
            CONDVAR.notify_all();
        },
        take: app::wait_condition,
    },
];

fn main() {
    handshake::run(MODES)
}
