//! `rust_std MODE WAITERS`: the locks of Rust's standard library.

#[path = "handshake.rs"]
mod handshake;

use std::sync::{Condvar, Mutex, Once, OnceLock, PoisonError, RwLock, mpsc};

use handshake::{Mode, keep};

static MUTEX: Mutex<u64> = Mutex::new(0);
static RWLOCK: RwLock<u64> = RwLock::new(0);
static CONDVAR: Condvar = Condvar::new();
static ARRIVED: Mutex<bool> = Mutex::new(false);
static ONCE: Once = Once::new();
static MAIL: OnceLock<Mail> = OnceLock::new();

type Mail = (Mutex<mpsc::Sender<u64>>, Mutex<mpsc::Receiver<u64>>);

mod app {
    use super::*;

    #[inline(never)]
    pub fn take_mutex() {
        *MUTEX.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
    #[inline(never)]
    pub fn take_read() {
        let guard = RWLOCK.read().unwrap_or_else(PoisonError::into_inner);
        std::hint::black_box(*guard);
    }
    #[inline(never)]
    pub fn take_write() {
        *RWLOCK.write().unwrap_or_else(PoisonError::into_inner) += 1;
    }
    #[inline(never)]
    pub fn wait_condition() {
        let mut arrived = ARRIVED.lock().unwrap_or_else(PoisonError::into_inner);
        while !*arrived {
            arrived = CONDVAR
                .wait(arrived)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::hint::black_box(*arrived);
    }
    #[inline(never)]
    pub fn run_once() {
        ONCE.call_once(keep);
        std::hint::black_box(());
    }
    #[inline(never)]
    pub fn receive_mail() {
        let (_, receiver) = mail();
        let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        std::hint::black_box(receiver.recv().unwrap_or(0));
    }
    #[inline(never)]
    pub fn park_here() {
        while !*ARRIVED.lock().unwrap_or_else(PoisonError::into_inner) {
            std::thread::park();
        }
        std::hint::black_box(());
    }
}

fn mail() -> &'static Mail {
    MAIL.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        (Mutex::new(sender), Mutex::new(receiver))
    })
}

static PARKED: Mutex<Option<std::thread::Thread>> = Mutex::new(None);

/// The waiter leaves its handle here first, so that the holder can unpark it.
fn take_park() {
    *PARKED.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
    app::park_here();
}

const MODES: &[Mode] = &[
    Mode {
        name: "mutex",
        kind: "mutex",
        function: "app::take_mutex",
        address: || &raw const MUTEX as usize,
        hold: || {
            let _guard = MUTEX.lock().unwrap_or_else(PoisonError::into_inner);
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
            let _guard = RWLOCK.write().unwrap_or_else(PoisonError::into_inner);
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
            let _guard = RWLOCK.read().unwrap_or_else(PoisonError::into_inner);
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
            *ARRIVED.lock().unwrap_or_else(PoisonError::into_inner) = true;
            CONDVAR.notify_all();
        },
        take: app::wait_condition,
    },
    Mode {
        name: "once",
        kind: "once",
        function: "app::run_once",
        address: || &raw const ONCE as usize,
        hold: app::run_once,
        take: app::run_once,
    },
    // One waiter only: the receiver is behind a mutex.
    Mode {
        name: "mpsc",
        kind: "condvar",
        function: "app::receive_mail",
        address: || 0,
        hold: || {
            keep();
            let _ = mail()
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .send(1);
        },
        take: app::receive_mail,
    },
    // One waiter only. What a thread parks for, only its caller knows: no kind would be more than a guess.
    Mode {
        name: "park",
        kind: "unknown",
        function: "app::park_here",
        address: || 0,
        hold: || {
            keep();
            *ARRIVED.lock().unwrap_or_else(PoisonError::into_inner) = true;
            if let Some(thread) = &*PARKED.lock().unwrap_or_else(PoisonError::into_inner) {
                thread.unpark();
            }
        },
        take: take_park,
    },
];

fn main() {
    handshake::run(MODES)
}
