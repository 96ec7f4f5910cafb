//! `entry_order_pthread`: locks of the POSIX threads library in a Rust program, as crates that bring their own use them,
//! taken in both orders by two threads, one after the other. ready -> go -> truth {lines[]} -> go -> leaves

use std::{
    cell::UnsafeCell,
    io::{Read as _, Write as _},
    thread,
};

/// Room for a `pthread_mutex_t`; all zeros are `PTHREAD_MUTEX_INITIALIZER` in glibc and musl.
#[repr(C, align(8))]
pub struct PthreadMutex(UnsafeCell<[u8; 64]>);

// SAFETY: only the library's functions touch it.
unsafe impl Sync for PthreadMutex {}

unsafe extern "C" {
    fn pthread_mutex_lock(mutex: *mut u8) -> i32;
    fn pthread_mutex_unlock(mutex: *mut u8) -> i32;
}

impl PthreadMutex {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; 64]))
    }

    #[inline(always)]
    fn lock(&self) {
        // SAFETY: a static, initialised mutex.
        assert_eq!(unsafe { pthread_mutex_lock(self.0.get().cast()) }, 0);
    }

    #[inline(always)]
    fn unlock(&self) {
        // SAFETY: as above, held by this thread.
        assert_eq!(unsafe { pthread_mutex_unlock(self.0.get().cast()) }, 0);
    }
}

static ACCOUNTS: PthreadMutex = PthreadMutex::new();
static JOURNAL: PthreadMutex = PthreadMutex::new();

mod app {
    use super::*;

    #[inline(never)]
    pub fn deposit() {
        ACCOUNTS.lock();
        JOURNAL.lock();
        JOURNAL.unlock();
        ACCOUNTS.unlock();
    }

    #[inline(never)]
    pub fn audit() {
        JOURNAL.lock();
        ACCOUNTS.lock();
        ACCOUNTS.unlock();
        JOURNAL.unlock();
    }
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").expect("the test listens");
    output.flush().expect("the test listens");
}

fn await_go() {
    let mut byte = [0];
    if std::io::stdin().read_exact(&mut byte).is_err() {
        std::process::exit(0);
    }
}

fn main() {
    say(&format!(
        r#"{{"event":"ready","pid":{}}}"#,
        std::process::id()
    ));
    await_go();
    for body in [app::deposit, app::audit] {
        thread::spawn(body).join().expect("it does not panic");
    }
    say(r#"{"event":"truth","tids":[],"lines":[]}"#);
    await_go();
}
