//! The table of contended entry points. Code only walks it; its order is the numbering of the kernel side's notes.
//!
//! What is not in it, because its entry is on the uncontended path too and every lock would pay: glibc's
//! `pthread_mutex_timedlock`, `pthread_rwlock_*` and `pthread_join`, musl's `__lock`, `__lockfile`, `sem_timedwait` and
//! `pthread_rwlock_*`; or because it serves all kinds: musl's `__timedwait`, `parking_lot_core::park`. Copies that a
//! compiler has inlined have no entry: their arguments may be in any register or on the stack at the first instruction,
//! and DWARF's location lists are often empty there, so that the address would be a guess like before.

use holdup_abi::slow::{Fit, Place};

use crate::model::Kind;

/// How a function is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// By its symbol, without version; copies with constants in place of later arguments (`.constprop.0`) too.
    Symbol(&'static str),
    /// By the end of its symbol, before which a prefix of the build's may be.
    Suffix(&'static str),
    /// By the demangled path: one of the beginnings, a part within, the last segments.
    Path {
        /// Beginnings.
        begins: &'static [&'static str],
        /// A part of the path; may be empty.
        has: &'static str,
        /// Last segments, without arguments.
        ends: &'static str,
    },
    /// By the beginning of its mangled name and parts that follow in this order: overloads of templates, which differ in
    /// their arguments only.
    Mangled {
        /// What it is called in reports.
        name: &'static str,
        /// Beginning.
        begins: &'static str,
        /// Parts.
        has: [&'static str; 2],
    },
    /// A static probe of HotSpot's, with the number of its argument, from 0.
    Static(&'static str, usize),
}

/// Which files a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// All.
    All,
    /// glibc, or a program that it is linked into.
    Glibc,
    /// musl likewise.
    Musl,
}

/// A contended entry point.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Runtime that the lock belongs to, as in reports.
    pub runtime: &'static str,
    /// Kind of the lock; `None`: only its address is told.
    pub kind: Option<Kind>,
    /// How it is found.
    pub function: Function,
    /// In which files.
    pub files: Files,
    /// How the kernel side makes use of it.
    pub place: Place,
    /// A row that is better where both are found: it is hit by those who sleep alone.
    pub unless: Option<&'static str>,
}

impl Row {
    /// What it is called in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.function {
            Function::Symbol(name)
            | Function::Suffix(name)
            | Function::Path { ends: name, .. }
            | Function::Mangled { name, .. }
            | Function::Static(name, _) => name,
        }
    }
}

/// The lock is the first argument.
const fn first(fit: Fit, low: u32, span: u32) -> Place {
    Place {
        source: 0,
        in_midst: false,
        fit,
        low,
        span,
    }
}

/// A static probe: its arguments' places are found in the file.
const fn in_midst(fit: Fit, span: u32) -> Place {
    Place {
        in_midst: true,
        ..first(fit, 0, span)
    }
}

const WORD: Place = first(Fit::Inside, 0, 0);
const KEYED: Place = first(Fit::Keyed, 0, 0);
/// Writers have statistics of their own, at the address after the lock's, which no other lock can have.
const KEYED_WRITER: Place = first(Fit::Keyed, 1, 0);

const STD: &[&str] = &["std::sys::", "std::sys_common::"];
const PARKING_LOT: &[&str] = &["parking_lot::"];
const ABSL: &[&str] = &["absl::"];

const fn std(kind: Kind, ends: &'static str, place: Place) -> Row {
    Row {
        runtime: "rust-std",
        kind: Some(kind),
        function: Function::Path {
            begins: STD,
            // Other systems' locks have the same names.
            has: "futex",
            ends,
        },
        files: Files::All,
        place,
        unless: None,
    }
}

const fn parking_lot(kind: Kind, ends: &'static str, place: Place) -> Row {
    Row {
        runtime: "parking_lot",
        kind: Some(kind),
        function: Function::Path {
            begins: PARKING_LOT,
            has: "",
            ends,
        },
        files: Files::All,
        place,
        unless: None,
    }
}

const fn glibc(kind: Kind, symbol: &'static str, span: u32) -> Row {
    Row {
        runtime: "glibc",
        kind: Some(kind),
        function: Function::Symbol(symbol),
        files: Files::Glibc,
        place: first(Fit::Inside, 0, span),
        unless: None,
    }
}

const fn glibc_condvar(symbol: &'static str) -> Row {
    Row {
        place: first(Fit::Variable, 0, 47),
        ..glibc(Kind::Condvar, symbol, 0)
    }
}

const fn musl(kind: Kind, symbol: &'static str, place: Place) -> Row {
    Row {
        runtime: "musl",
        kind: Some(kind),
        function: Function::Symbol(symbol),
        files: Files::Musl,
        place,
        unless: None,
    }
}

const fn cpp(
    runtime: &'static str,
    kind: Kind,
    begins: &'static [&'static str],
    ends: &'static str,
    place: Place,
) -> Row {
    Row {
        runtime,
        kind: Some(kind),
        function: Function::Path {
            begins,
            has: "",
            ends,
        },
        files: Files::All,
        place,
        unless: None,
    }
}

/// Overloads that are given the state by reference, which is after one look at it has failed.
const fn folly(kind: Kind, name: &'static str, mangled: &'static str) -> Row {
    Row {
        runtime: "folly",
        kind: Some(kind),
        function: Function::Mangled {
            name,
            begins: "_ZN5folly15SharedMutexImplI",
            has: [mangled, "EbRj"],
        },
        files: Files::All,
        place: WORD,
        unless: None,
    }
}

const fn jvm(kind: Option<Kind>, name: &'static str, argument: usize, place: Place) -> Row {
    Row {
        runtime: "jvm",
        kind,
        function: Function::Static(name, argument),
        files: Files::All,
        place,
        unless: None,
    }
}

/// All of them. Sources: of Rust's std and `parking_lot` as in [`crate::runtime`]; glibc 2.36 `nptl/`,
/// `sysdeps/nptl/bits/pthreadtypes*.h` for sizes; musl 1.2.3 `src/thread/`; abseil 20220623
/// `absl/synchronization/mutex.cc`, `internal/waiter.cc`; jemalloc 5.3 `src/mutex.c`; gperftools 2.10 `src/base/spinlock.h`;
/// folly 2023 `folly/SharedMutex.h`; `OpenJDK` 17 `share/runtime/{objectMonitor,unsafe}.cpp`.
pub const ROWS: &[Row] = &[
    std(Kind::Mutex, "Mutex::lock_contended", WORD),
    // Readers sleep on the first word, writers on the second.
    std(
        Kind::RwlockRead,
        "RwLock::read_contended",
        first(Fit::Inside, 0, 4),
    ),
    std(
        Kind::RwlockWrite,
        "RwLock::write_contended",
        first(Fit::Inside, 0, 4),
    ),
    std(Kind::Condvar, "Condvar::wait", WORD),
    std(Kind::Condvar, "Condvar::wait_timeout", WORD),
    std(Kind::Condvar, "Condvar::wait_optional_timeout", WORD),
    std(Kind::Once, "Once::call", WORD),
    std(Kind::Once, "Once::wait", WORD),
    parking_lot(Kind::Mutex, "RawMutex::lock_slow", KEYED),
    parking_lot(Kind::RwlockRead, "RawRwLock::lock_shared_slow", KEYED),
    parking_lot(
        Kind::RwlockWrite,
        "RawRwLock::lock_exclusive_slow",
        KEYED_WRITER,
    ),
    parking_lot(
        Kind::RwlockWrite,
        "RawRwLock::lock_upgradable_slow",
        KEYED_WRITER,
    ),
    parking_lot(Kind::RwlockWrite, "RawRwLock::upgrade_slow", KEYED_WRITER),
    parking_lot(
        Kind::RwlockWrite,
        "RawRwLock::wait_for_readers",
        KEYED_WRITER,
    ),
    parking_lot(Kind::Condvar, "Condvar::wait_until_internal", KEYED),
    parking_lot(Kind::Once, "Once::call_once_slow", KEYED),
    glibc(Kind::Mutex, "__lll_lock_wait", 0),
    glibc(Kind::Mutex, "__lll_lock_wait_private", 0),
    glibc_condvar("pthread_cond_wait"),
    glibc_condvar("pthread_cond_timedwait"),
    glibc_condvar("pthread_cond_clockwait"),
    glibc(Kind::Barrier, "pthread_barrier_wait", 31),
    glibc(Kind::Once, "__pthread_once_slow", 0),
    glibc(Kind::Semaphore, "__new_sem_wait_slow", 7),
    glibc(Kind::Semaphore, "__new_sem_wait_slow64", 7),
    // Its fast path is elsewhere for normal mutexes; a recursive one takes it each time it is locked.
    musl(
        Kind::Mutex,
        "pthread_mutex_timedlock",
        first(Fit::Inside, 4, 0),
    ),
    musl(
        Kind::Condvar,
        "pthread_cond_timedwait",
        first(Fit::OnStack, 0, 0),
    ),
    Row {
        unless: Some("Mutex::Block"),
        ..cpp(
            "absl",
            Kind::Mutex,
            ABSL,
            "Mutex::LockSlowLoop",
            first(Fit::Told, 0, 0),
        )
    },
    cpp(
        "absl",
        Kind::Mutex,
        ABSL,
        "Mutex::Block",
        first(Fit::Told, 0, 0),
    ),
    cpp(
        "absl",
        Kind::Condvar,
        ABSL,
        "CondVar::WaitCommon",
        first(Fit::Told, 0, 0),
    ),
    cpp(
        "absl",
        Kind::Unknown,
        ABSL,
        "Waiter::Wait",
        first(Fit::Tells, 0, 0),
    ),
    cpp(
        "absl",
        Kind::Unknown,
        ABSL,
        "FutexWaiter::Wait",
        first(Fit::Tells, 0, 0),
    ),
    cpp("absl", Kind::Mutex, ABSL, "SpinLock::SlowLock", WORD),
    cpp(
        "tcmalloc",
        Kind::Mutex,
        &["SpinLock::", "tcmalloc::"],
        "SpinLock::SlowLock",
        WORD,
    ),
    folly(
        Kind::RwlockRead,
        "SharedMutex::lockSharedImpl",
        "14lockSharedImplI",
    ),
    folly(
        Kind::RwlockWrite,
        "SharedMutex::lockExclusiveImpl",
        "17lockExclusiveImplI",
    ),
    Row {
        runtime: "jemalloc",
        kind: Some(Kind::Mutex),
        function: Function::Suffix("malloc_mutex_lock_slow"),
        files: Files::All,
        // A pthread mutex after statistics of its own.
        place: first(Fit::Inside, 0, 127),
        unless: None,
    },
    jvm(
        Some(Kind::Mutex),
        "monitor__contended__enter",
        1,
        in_midst(Fit::Condition, 0),
    ),
    jvm(
        None,
        "monitor__contended__entered",
        1,
        in_midst(Fit::Over, 0),
    ),
    jvm(
        Some(Kind::Condvar),
        "monitor__wait",
        1,
        in_midst(Fit::Condition, 0),
    ),
    jvm(None, "monitor__waited", 1, in_midst(Fit::Over, 0)),
    jvm(None, "thread__park__begin", 0, in_midst(Fit::Inside, 511)),
    jvm(None, "thread__park__end", 0, in_midst(Fit::Over, 0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_cookie() {
        assert!(ROWS.len() < usize::from(u16::MAX));
        for row in ROWS {
            assert_eq!(Place::unpack(row.place.pack()), row.place, "{row:?}");
            // What is no lock says nothing of a kind.
            let tells_nothing = matches!(row.place.fit, Fit::Tells | Fit::Over);
            assert_eq!(
                tells_nothing,
                row.kind == Some(Kind::Unknown) || row.place.fit == Fit::Over
            );
        }
    }
}
