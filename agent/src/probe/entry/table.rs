//! The one table of lock functions, and what of a call each needs.

use std::collections::HashMap;

use holdup_abi::entry::{
    KIND_BARRIER, KIND_CONDVAR, KIND_MUTEX, KIND_NAMED, KIND_RWLOCK, KIND_SEMAPHORE, KIND_SPIN,
    MODE_READ, MODE_TIMED, MODE_TRY,
    call::{
        ACQUIRE, ACTION, ARGUMENT_SHIFT, DESTROY, FORK, KIND_SHIFT, MODE_SHIFT, POST, RELEASE,
        RESULT_ERRNO, RESULT_MINUS_ONE, RESULT_NONE, RESULT_SHIFT, RESULT_THRD, SIGNAL, WAIT,
    },
};

use crate::probe::uprobe::asked::Probes;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What a call does: [`holdup_abi::entry::call`].
    pub call: u32,
    /// glibc makes it of another function of the table, which is enough.
    pub wraps_in_glibc: bool,
}

/// What a name in a file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A lock function.
    Call {
        /// See [`Row::call`].
        call: u32,
        /// See [`Row::wraps_in_glibc`].
        wraps_in_glibc: bool,
    },
    /// The file has threads: what lock functions it has are no stubs.
    Threads,
    /// The file is, or has in it, glibc.
    Glibc,
}

const fn row(name: &'static str, action: u32, kind: u32, mode: u32, result: u32) -> Row {
    let call = action | kind << KIND_SHIFT | mode << MODE_SHIFT | result << RESULT_SHIFT;
    Row {
        name,
        call,
        wraps_in_glibc: false,
    }
}

const fn ask(name: &'static str, kind: u32, mode: u32) -> Row {
    row(name, ACQUIRE, kind, mode, RESULT_ERRNO)
}

const fn ask_semaphore(name: &'static str, mode: u32) -> Row {
    row(name, ACQUIRE, KIND_SEMAPHORE, mode, RESULT_MINUS_ONE)
}

const fn wait(name: &'static str, mode: u32) -> Row {
    row(name, WAIT, KIND_CONDVAR, mode, RESULT_ERRNO)
}

const fn unlock(name: &'static str, kind: u32) -> Row {
    row(name, RELEASE, kind, 0, RESULT_NONE)
}

const fn signal(name: &'static str) -> Row {
    row(name, SIGNAL, KIND_CONDVAR, 0, RESULT_NONE)
}

/// Another lock begins at this address, or none.
const fn renew(name: &'static str, kind: u32) -> Row {
    row(name, DESTROY, kind, 0, RESULT_NONE)
}

const fn c11(row: Row, result: u32) -> Row {
    Row {
        name: row.name,
        call: row.call & !(0xf << RESULT_SHIFT) | result << RESULT_SHIFT,
        wraps_in_glibc: true,
    }
}

/// Functions of C libraries.
///
/// Left out: `pthread_spin_init`, which is the same code as `pthread_spin_unlock` in glibc on x86-64; `mtx_unlock`, which
/// calls `pthread_mutex_unlock` everywhere.
pub const FUNCTIONS: &[Row] = &[
    ask("pthread_mutex_lock", KIND_MUTEX, 0),
    ask("pthread_mutex_trylock", KIND_MUTEX, MODE_TRY),
    ask("pthread_mutex_timedlock", KIND_MUTEX, MODE_TIMED),
    ask("pthread_mutex_clocklock", KIND_MUTEX, MODE_TIMED),
    unlock("pthread_mutex_unlock", KIND_MUTEX),
    renew("pthread_mutex_init", KIND_MUTEX),
    renew("pthread_mutex_destroy", KIND_MUTEX),
    ask("pthread_rwlock_rdlock", KIND_RWLOCK, MODE_READ),
    ask(
        "pthread_rwlock_tryrdlock",
        KIND_RWLOCK,
        MODE_READ | MODE_TRY,
    ),
    ask(
        "pthread_rwlock_timedrdlock",
        KIND_RWLOCK,
        MODE_READ | MODE_TIMED,
    ),
    ask(
        "pthread_rwlock_clockrdlock",
        KIND_RWLOCK,
        MODE_READ | MODE_TIMED,
    ),
    ask("pthread_rwlock_wrlock", KIND_RWLOCK, 0),
    ask("pthread_rwlock_trywrlock", KIND_RWLOCK, MODE_TRY),
    ask("pthread_rwlock_timedwrlock", KIND_RWLOCK, MODE_TIMED),
    ask("pthread_rwlock_clockwrlock", KIND_RWLOCK, MODE_TIMED),
    unlock("pthread_rwlock_unlock", KIND_RWLOCK),
    renew("pthread_rwlock_init", KIND_RWLOCK),
    renew("pthread_rwlock_destroy", KIND_RWLOCK),
    ask("pthread_spin_lock", KIND_SPIN, 0),
    ask("pthread_spin_trylock", KIND_SPIN, MODE_TRY),
    unlock("pthread_spin_unlock", KIND_SPIN),
    renew("pthread_spin_destroy", KIND_SPIN),
    wait("pthread_cond_wait", 0),
    wait("pthread_cond_timedwait", MODE_TIMED),
    wait("pthread_cond_clockwait", MODE_TIMED),
    signal("pthread_cond_signal"),
    signal("pthread_cond_broadcast"),
    renew("pthread_cond_init", KIND_CONDVAR),
    renew("pthread_cond_destroy", KIND_CONDVAR),
    ask_semaphore("sem_wait", 0),
    ask_semaphore("sem_trywait", MODE_TRY),
    ask_semaphore("sem_timedwait", MODE_TIMED),
    ask_semaphore("sem_clockwait", MODE_TIMED),
    row("sem_post", POST, KIND_SEMAPHORE, 0, RESULT_NONE),
    renew("sem_init", KIND_SEMAPHORE),
    renew("sem_destroy", KIND_SEMAPHORE),
    row(
        "pthread_barrier_wait",
        ACQUIRE,
        KIND_BARRIER,
        0,
        RESULT_NONE,
    ),
    renew("pthread_barrier_init", KIND_BARRIER),
    renew("pthread_barrier_destroy", KIND_BARRIER),
    c11(ask("mtx_lock", KIND_MUTEX, 0), RESULT_THRD),
    c11(ask("mtx_trylock", KIND_MUTEX, MODE_TRY), RESULT_THRD),
    c11(ask("mtx_timedlock", KIND_MUTEX, MODE_TIMED), RESULT_THRD),
    c11(renew("mtx_init", KIND_MUTEX), RESULT_NONE),
    c11(renew("mtx_destroy", KIND_MUTEX), RESULT_NONE),
    c11(wait("cnd_wait", 0), RESULT_THRD),
    c11(wait("cnd_timedwait", MODE_TIMED), RESULT_THRD),
    c11(signal("cnd_signal"), RESULT_NONE),
    c11(signal("cnd_broadcast"), RESULT_NONE),
    c11(renew("cnd_init", KIND_CONDVAR), RESULT_NONE),
    c11(renew("cnd_destroy", KIND_CONDVAR), RESULT_NONE),
    row("fork", FORK, 0, 0, RESULT_NONE),
];

/// Functions that every file with glibc in it has, one of them at least; the last one is in its libpthread (before 2.34).
const GLIBC: &[&str] = &[
    "gnu_get_libc_version",
    "__libc_fatal",
    "__pthread_register_cancel",
];

/// Names to look for.
#[derive(Clone, Debug)]
pub struct Names(HashMap<String, Meaning>);

impl Names {
    /// The table, and what the user named. The user's names come first.
    #[must_use]
    pub fn new(probes: &Probes) -> Self {
        let table = FUNCTIONS.iter().map(|row| {
            let meaning = Meaning::Call {
                call: row.call,
                wraps_in_glibc: row.wraps_in_glibc,
            };
            (row.name.to_owned(), meaning)
        });
        let marks = GLIBC.iter().map(|&name| (name, Meaning::Glibc));
        let marks = marks.chain([("pthread_create", Meaning::Threads)]);
        let marks = marks.map(|(name, meaning)| (name.to_owned(), meaning));
        let named = [
            (&probes.lock_functions, ACQUIRE),
            (&probes.unlock_functions, RELEASE),
        ];
        let named = named.into_iter().flat_map(|(functions, action)| {
            functions.iter().map(move |function| {
                let call = action
                    | KIND_NAMED << KIND_SHIFT
                    | u32::from(function.argument) << ARGUMENT_SHIFT
                    | RESULT_NONE << RESULT_SHIFT;
                let meaning = Meaning::Call {
                    call,
                    wraps_in_glibc: false,
                };
                (function.name.clone(), meaning)
            })
        });
        Self(table.chain(marks).chain(named).collect())
    }

    /// What a function's name stands for.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Meaning> {
        self.0.get(name).copied()
    }
}

/// Whether the call's return is of interest.
#[must_use]
pub const fn returns(call: u32) -> bool {
    matches!(call & ACTION, ACQUIRE | WAIT)
}

/// How many arguments of the function must still be in their registers.
#[must_use]
pub const fn arguments(call: u32) -> u8 {
    match call & ACTION {
        FORK => 0,
        WAIT => 2,
        _ => (call >> ARGUMENT_SHIFT & 0xf) as u8 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::uprobe::asked::UserFunction;

    #[test]
    fn every_name_comes_once() {
        let mut names: Vec<_> = FUNCTIONS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FUNCTIONS.len());
    }

    #[test]
    fn what_the_user_names_is_a_lock_of_its_own_kind() {
        let probes = Probes {
            lock_functions: vec![UserFunction {
                name: "my_lock".into(),
                argument: 3,
            }],
            ..Probes::default()
        };
        let names = Names::new(&probes);
        let Some(Meaning::Call { call, .. }) = names.get("my_lock") else {
            panic!("not found")
        };
        assert_eq!(call & ACTION, ACQUIRE);
        assert_eq!(call >> KIND_SHIFT & 0xf, KIND_NAMED);
        assert_eq!((arguments(call), returns(call)), (4, true));
        assert_eq!(names.get("my_unlock"), None);
    }

    #[test]
    fn what_a_call_needs() {
        let needs = |name| {
            let row = FUNCTIONS.iter().find(|row| row.name == name).unwrap();
            (arguments(row.call), returns(row.call))
        };
        assert_eq!(needs("pthread_mutex_lock"), (1, true));
        assert_eq!(needs("pthread_mutex_unlock"), (1, false));
        assert_eq!(needs("cnd_timedwait"), (2, true));
        assert_eq!(needs("fork"), (0, false));
    }
}
