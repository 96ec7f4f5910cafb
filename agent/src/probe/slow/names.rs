//! Symbols to rows of the table.

use super::table::{Files, Function, ROWS, Row};
use crate::symbol::resolve::name;

/// C library that a file is, or has inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// GNU's.
    Glibc,
    /// musl.
    Musl,
    /// Neither.
    None,
}

impl Libc {
    /// By the name of a shared library's file.
    #[must_use]
    pub fn of_file(name: &str) -> Self {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if begins(&["libc.so.6", "libc-2.", "libpthread.so", "libpthread-2."]) {
            Self::Glibc
        } else if begins(&["ld-musl-", "libc.musl-"]) || name == "libc.so" {
            Self::Musl
        } else {
            Self::None
        }
    }

    /// By a function that only this library has: it is linked into the file.
    #[must_use]
    pub fn of_symbol(symbol: &str) -> Self {
        match symbol {
            "__lll_lock_wait" | "__lll_lock_wait_private" => Self::Glibc,
            "__timedwait" | "__timedwait_cp" => Self::Musl,
            _ => Self::None,
        }
    }
}

/// Number of the row that a function symbol is of. `libc` is the library that the symbol's file is or has inside.
#[must_use]
pub fn row(symbol: &str, libc: Libc) -> Option<usize> {
    let symbol = symbol.split_once('@').map_or(symbol, |(name, _)| name);
    let mut path = None;
    ROWS.iter().position(|row| {
        is_for(row, libc)
            && match row.function {
                Function::Symbol(name) => is_symbol(symbol, name),
                Function::Suffix(name) => {
                    symbol.ends_with(name) && !symbol.starts_with("_Z") && symbol.len() < 64
                }
                Function::Path { begins, has, ends } => {
                    let last = ends.rsplit("::").next().unwrap_or(ends);
                    symbol.starts_with('_')
                        && symbol.contains(last)
                        && is_path(
                            path.get_or_insert_with(|| demangled(symbol)),
                            begins,
                            has,
                            ends,
                        )
                }
                Function::Mangled { begins, has, .. } => is_mangled(symbol, begins, has),
                Function::Static(..) => false,
            }
    })
}

fn is_for(row: &Row, libc: Libc) -> bool {
    match row.files {
        Files::All => true,
        Files::Glibc => libc == Libc::Glibc,
        Files::Musl => libc == Libc::Musl,
    }
}

/// Constant propagation takes away later arguments, never the lock; parts of functions and copies with other arguments
/// are something else.
fn is_symbol(symbol: &str, name: &str) -> bool {
    let Some(rest) = symbol.strip_prefix(name) else {
        return false;
    };
    rest.is_empty()
        || rest.strip_prefix(".constprop.").is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        })
}

/// Parts of functions and copies with other arguments are something else.
fn is_mangled(symbol: &str, begins: &str, [first, then]: [&str; 2]) -> bool {
    let rest = symbol
        .strip_prefix(begins)
        .filter(|_| !symbol.contains('.'));
    let after = rest.and_then(|rest| Some(rest.split_once(first)?.1));
    after.is_some_and(|after| after.contains(then))
}

/// The path of a function without its arguments and without what link-time optimisation appends; empty for parts of
/// functions.
fn demangled(symbol: &str) -> String {
    let symbol = symbol.split_once(".llvm.").map_or(symbol, |(name, _)| name);
    if symbol.contains('.') {
        return String::new();
    }
    let mut name = name::symbol(symbol);
    name.truncate(name.find('(').unwrap_or(name.len()));
    name
}

fn is_path(path: &str, begins: &[&str], has: &str, ends: &str) -> bool {
    let before = path.strip_suffix(ends);
    before.is_some_and(|before| before.is_empty() || before.ends_with("::"))
        && begins.iter().any(|begin| path.starts_with(begin))
        && path.contains(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn found(symbol: &str, libc: Libc) -> Option<(&'static str, Option<Kind>)> {
        row(symbol, libc).map(|row| (ROWS[row].runtime, ROWS[row].kind))
    }

    #[test]
    fn both_manglings_and_older_paths() {
        for (symbol, runtime, kind) in [
            // 1.95, v0
            (
                "_RNvMNtNtNtNtCsjrHSEGnQ3l9_3std3sys4sync5mutex5futexNtB2_5Mutex14lock_contended",
                "rust-std",
                Kind::Mutex,
            ),
            (
                "_RNvMNtNtNtNtCsjrHSEGnQ3l9_3std3sys4sync6rwlock5futexNtB2_6RwLock14read_contended",
                "rust-std",
                Kind::RwlockRead,
            ),
            (
                "_RNvMNtNtNtNtCsjrHSEGnQ3l9_3std3sys4sync6rwlock5futexNtB2_6RwLock15write_contended",
                "rust-std",
                Kind::RwlockWrite,
            ),
            (
                "_RNvMNtNtNtNtCsjrHSEGnQ3l9_3std3sys4sync7condvar5futexNtB2_7Condvar4wait",
                "rust-std",
                Kind::Condvar,
            ),
            (
                "_RNvMs0_NtNtNtNtCsjrHSEGnQ3l9_3std3sys4sync4once5futexNtB5_4Once4call",
                "rust-std",
                Kind::Once,
            ),
            // The legacy mangling of the same path, and of those before it.
            (
                "_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17h0123456789abcdefE",
                "rust-std",
                Kind::Mutex,
            ),
            (
                "_ZN3std3sys4unix5locks11futex_mutex5Mutex14lock_contended17h0123456789abcdefE",
                "rust-std",
                Kind::Mutex,
            ),
            (
                "_ZN3std3sys4unix5locks5futex5Mutex14lock_contended17h0123456789abcdefE.llvm.12345",
                "rust-std",
                Kind::Mutex,
            ),
            (
                "_ZN3std10sys_common4once5futex4Once4call17h0123456789abcdefE",
                "rust-std",
                Kind::Once,
            ),
            (
                "_ZN11parking_lot10raw_rwlock9RawRwLock16lock_shared_slow17hc78553b55cca3458E",
                "parking_lot",
                Kind::RwlockRead,
            ),
            (
                "_ZN11parking_lot9raw_mutex8RawMutex9lock_slow17hc78553b55cca3458E",
                "parking_lot",
                Kind::Mutex,
            ),
            (
                "_RNvMs1_NtCs3Lr5eTmDW2T_11parking_lot9raw_mutexNtB5_8RawMutex9lock_slow",
                "parking_lot",
                Kind::Mutex,
            ),
            (
                "_ZN4absl7debian35Mutex12LockSlowLoopEPNS0_15SynchWaitParamsEi",
                "absl",
                Kind::Mutex,
            ),
            (
                "_ZN4absl12lts_202308025Mutex12LockSlowLoopEPNS0_15SynchWaitParamsEi",
                "absl",
                Kind::Mutex,
            ),
            (
                "_ZN4absl13base_internal8SpinLock8SlowLockEv",
                "absl",
                Kind::Mutex,
            ),
            (
                "_ZN5folly15SharedMutexImplILb0EvSt6atomicE14lockSharedImplINS2_11WaitForeverEEEbRjPNS_5TokenERT_",
                "folly",
                Kind::RwlockRead,
            ),
            (
                "_ZN5folly15SharedMutexImplILb0EvSt6atomicE17lockExclusiveImplINS2_11WaitForeverEEEbRjjRT_",
                "folly",
                Kind::RwlockWrite,
            ),
            ("_ZN8SpinLock8SlowLockEv", "tcmalloc", Kind::Mutex),
            ("je_malloc_mutex_lock_slow", "jemalloc", Kind::Mutex),
            ("_rjem_malloc_mutex_lock_slow", "jemalloc", Kind::Mutex),
        ] {
            assert_eq!(
                found(symbol, Libc::None),
                Some((runtime, Some(kind))),
                "{symbol}"
            );
        }
    }

    #[test]
    fn what_is_something_else_is_not_taken() {
        for symbol in [
            "",
            "lock_slow",
            "lock_contended",
            "_ZN5mycry9raw_mutex8RawMutex9lock_slow17hc78553b55cca3458E",
            // Locks of another system.
            "_ZN3std3sys4sync5mutex7pthread5Mutex14lock_contended17h0123456789abcdefE",
            "_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17h0123456789abcdefE.cold",
            "_ZN11parking_lot10raw_rwlock9RawRwLock18unlock_shared_slow17h5b851c1dbeaaf19fE",
            "_ZN4absl7debian37MyMutex12LockSlowLoopEv",
            // The overload that looks once, and a copy with other arguments.
            "_ZN5folly15SharedMutexImplILb0EvSt6atomicE17lockExclusiveImplINS2_11WaitForeverEEEbjRT_",
            "_ZN5folly15SharedMutexImplILb0EvSt6atomicE17lockExclusiveImplINS2_11WaitForeverEEEbRjjRT_.isra.0",
            "__lll_lock_wait",
            "pthread_cond_wait",
        ] {
            assert_eq!(found(symbol, Libc::None), None, "{symbol}");
        }
        for symbol in [
            "__lll_lock_wait_private.cold",
            "__new_sem_wait_slow64.part.0",
            "__new_sem_wait_slow64.constprop.",
            "pthread_cond_waiter",
        ] {
            assert_eq!(found(symbol, Libc::Glibc), None, "{symbol}");
        }
    }

    #[test]
    fn a_c_library_s_own_functions_are_taken_from_it_alone() {
        let condvar = |runtime| Some((runtime, Some(Kind::Condvar)));
        assert_eq!(
            found("pthread_cond_timedwait@@GLIBC_2.3.2", Libc::Glibc),
            condvar("glibc")
        );
        assert_eq!(found("pthread_cond_timedwait", Libc::Musl), condvar("musl"));
        assert_eq!(
            found("__new_sem_wait_slow64.constprop.0", Libc::Glibc),
            Some(("glibc", Some(Kind::Semaphore)))
        );
        assert_eq!(Libc::of_file("libc.so.6"), Libc::Glibc);
        assert_eq!(Libc::of_file("libpthread-2.31.so"), Libc::Glibc);
        assert_eq!(Libc::of_file("libc.so"), Libc::Musl);
        assert_eq!(Libc::of_file("ld-musl-x86_64.so.1"), Libc::Musl);
        assert_eq!(Libc::of_file("libcrypto.so.3"), Libc::None);
    }

    proptest::proptest! {
        #[test]
        fn no_name_is_too_odd(symbol in "(_ZN|_R|)[ -~]{0,200}lock_contended[ -~]{0,40}") {
            let _ = row(&symbol, Libc::Glibc);
        }
    }
}
