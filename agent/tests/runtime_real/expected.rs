//! What holdup can know about each case of `locks.c`.

use holdup::model::Kind;

/// What is expected of a case whose name begins with `prefix`.
pub struct Expected {
    pub prefix: &'static str,
    pub kind: Kind,
    /// The lock stores its holder, so that it must be found.
    pub owned: bool,
    /// Arguments and memory alone tell.
    pub bare: bool,
    /// Function that the program calls.
    pub function: &'static str,
}

/// A row of a table.
pub const fn row(
    prefix: &'static str,
    kind: Kind,
    owned: bool,
    bare: bool,
    function: &'static str,
) -> Expected {
    Expected {
        prefix,
        kind,
        owned,
        bare,
        function,
    }
}

/// The first row that fits a case.
pub fn find<'a>(rows: &'a [Expected], case: &str) -> &'a Expected {
    rows.iter()
        .find(|row| case.starts_with(row.prefix))
        .unwrap_or_else(|| panic!("no expectation for {case}"))
}

pub const GLIBC: &[Expected] = &[
    row(
        "mutex_timed",
        Kind::Mutex,
        true,
        true,
        "pthread_mutex_timedlock",
    ),
    row(
        "mutex_regained",
        Kind::Mutex,
        true,
        true,
        "pthread_cond_wait",
    ),
    row("mutex_", Kind::Mutex, true, true, "pthread_mutex_lock"),
    row(
        "rwlock_read_behind_writer_timed",
        Kind::RwlockRead,
        true,
        true,
        "pthread_rwlock_timedrdlock",
    ),
    row(
        "rwlock_write_behind_writer_timed",
        Kind::RwlockWrite,
        true,
        true,
        "pthread_rwlock_timedwrlock",
    ),
    row(
        "rwlock_read_behind_writer",
        Kind::RwlockRead,
        true,
        true,
        "pthread_rwlock_rdlock",
    ),
    row(
        "rwlock_write_behind_writer",
        Kind::RwlockWrite,
        true,
        true,
        "pthread_rwlock_wrlock",
    ),
    row(
        "rwlock_read",
        Kind::RwlockRead,
        false,
        true,
        "pthread_rwlock_rdlock",
    ),
    row(
        "rwlock_write",
        Kind::RwlockWrite,
        false,
        true,
        "pthread_rwlock_wrlock",
    ),
    row(
        "cond_timed",
        Kind::Condvar,
        false,
        true,
        "pthread_cond_timedwait",
    ),
    row("cond", Kind::Condvar, false, true, "pthread_cond_wait"),
    row("sem", Kind::Semaphore, false, false, "sem_wait"),
    row(
        "barrier",
        Kind::Barrier,
        false,
        false,
        "pthread_barrier_wait",
    ),
    row("join", Kind::Join, true, true, "pthread_join"),
    row("once", Kind::Once, false, false, "pthread_once"),
    row("raw_", Kind::Unknown, false, false, "syscall"),
];

pub const MUSL: &[Expected] = &[
    row(
        "mutex_static",
        Kind::Mutex,
        false,
        true,
        "pthread_mutex_lock",
    ),
    row(
        "mutex_normal",
        Kind::Mutex,
        false,
        true,
        "pthread_mutex_lock",
    ),
    row(
        "mutex_shared",
        Kind::Mutex,
        false,
        true,
        "pthread_mutex_lock",
    ),
    row(
        "mutex_timed",
        Kind::Mutex,
        false,
        true,
        "pthread_mutex_timedlock",
    ),
    row(
        "mutex_regained",
        Kind::Mutex,
        false,
        true,
        "pthread_cond_timedwait",
    ),
    row("mutex_", Kind::Mutex, true, true, "pthread_mutex_timedlock"),
    row(
        "rwlock_read",
        Kind::RwlockRead,
        false,
        false,
        "pthread_rwlock_timedrdlock",
    ),
    row(
        "rwlock_write",
        Kind::RwlockWrite,
        false,
        false,
        "pthread_rwlock_timedwrlock",
    ),
    row(
        "cond",
        Kind::Condvar,
        false,
        false,
        "pthread_cond_timedwait",
    ),
    row("sem", Kind::Semaphore, false, false, "sem_timedwait"),
    row(
        "barrier",
        Kind::Barrier,
        false,
        false,
        "pthread_barrier_wait",
    ),
    row("join", Kind::Join, true, false, "pthread_join"),
    row("once", Kind::Once, false, false, "__pthread_once_full"),
    row("raw_", Kind::Unknown, false, false, "syscall"),
];
