//! POSIX primitives by the name of the C library's function, and the C library by names, module and layout.

use std::fmt::Write as _;

use holdup_abi::futex;

use super::{Runtime, Verdict, Wait, glibc, musl, name::Call};
use crate::model::{Frame, Kind};

/// glibc and musl: they share function names, so one set of rules serves both.
pub(super) struct Posix;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Glibc,
    Musl,
}

/// Function names without leading underscores. Both libraries and C11's `<threads.h>`; glibc's internal names are seen
/// where its debug symbols are installed.
const FUNCTIONS: &[(&str, Kind)] = &[
    ("pthread_mutex_lock", Kind::Mutex),
    ("pthread_mutex_lock_full", Kind::Mutex),
    ("pthread_mutex_timedlock", Kind::Mutex),
    ("pthread_mutex_clocklock", Kind::Mutex),
    ("pthread_mutex_clocklock_common", Kind::Mutex),
    ("pthread_mutex_cond_lock", Kind::Mutex),
    ("pthread_mutex_cond_lock_full", Kind::Mutex),
    ("mtx_lock", Kind::Mutex),
    ("mtx_timedlock", Kind::Mutex),
    ("lll_lock_wait", Kind::Mutex),
    ("lll_lock_wait_private", Kind::Mutex),
    ("lll_timedlock_wait", Kind::Mutex),
    ("lll_clocklock_wait", Kind::Mutex),
    ("lll_robust_lock_wait", Kind::Mutex),
    ("lll_robust_timedlock_wait", Kind::Mutex),
    ("pthread_rwlock_rdlock", Kind::RwlockRead),
    ("pthread_rwlock_timedrdlock", Kind::RwlockRead),
    ("pthread_rwlock_clockrdlock", Kind::RwlockRead),
    ("pthread_rwlock_rdlock_full", Kind::RwlockRead),
    ("pthread_rwlock_wrlock", Kind::RwlockWrite),
    ("pthread_rwlock_timedwrlock", Kind::RwlockWrite),
    ("pthread_rwlock_clockwrlock", Kind::RwlockWrite),
    ("pthread_rwlock_wrlock_full", Kind::RwlockWrite),
    ("pthread_cond_wait", Kind::Condvar),
    ("pthread_cond_timedwait", Kind::Condvar),
    ("pthread_cond_clockwait", Kind::Condvar),
    ("pthread_cond_wait_common", Kind::Condvar),
    // Signalling waits for slow waiters of an earlier group to leave, and for the variable's own small lock.
    ("pthread_cond_signal", Kind::Condvar),
    ("pthread_cond_broadcast", Kind::Condvar),
    ("pthread_cond_destroy", Kind::Condvar),
    ("condvar_quiesce_and_switch_g1", Kind::Condvar),
    ("condvar_acquire_lock", Kind::Condvar),
    ("cnd_signal", Kind::Condvar),
    ("cnd_broadcast", Kind::Condvar),
    ("cnd_wait", Kind::Condvar),
    ("cnd_timedwait", Kind::Condvar),
    ("sem_wait", Kind::Semaphore),
    ("sem_timedwait", Kind::Semaphore),
    ("sem_clockwait", Kind::Semaphore),
    ("new_sem_wait", Kind::Semaphore),
    ("new_sem_wait_slow", Kind::Semaphore),
    ("do_futex_wait", Kind::Semaphore),
    ("pthread_barrier_wait", Kind::Barrier),
    ("pthread_join", Kind::Join),
    ("pthread_timedjoin_np", Kind::Join),
    ("pthread_clockjoin_np", Kind::Join),
    ("pthread_clockjoin_ex", Kind::Join),
    ("pthread_timedjoin_ex", Kind::Join),
    ("thrd_join", Kind::Join),
    ("lll_wait_tid", Kind::Join),
    ("pthread_once", Kind::Once),
    ("pthread_once_slow", Kind::Once),
    ("pthread_once_full", Kind::Once),
    ("call_once", Kind::Once),
];

/// glibc's functions with 64-bit times have that in their names.
pub(super) fn without_width(name: &str) -> &str {
    name.strip_suffix("64").unwrap_or(name)
}

/// What a C function of this name waits for.
pub(super) fn kind(call: &Call<'_>) -> Option<Kind> {
    // An application's own `call_once` is no evidence; C functions have no path and no arguments in their names.
    let name = without_width(call.c_name());
    FUNCTIONS
        .iter()
        .find(|(function, _)| *function == name)
        .map(|(_, kind)| *kind)
        .or_else(|| (call.name == "__lock" && !call.in_module(GLIBC)).then_some(Kind::Mutex))
}

/// Names that only glibc has.
fn is_glibc_name(call: &Call<'_>) -> bool {
    let name = call.c_name();
    [
        "lll_",
        "futex_abstimed_wait",
        "new_sem_",
        "pthread_clockjoin_ex",
        "pthread_once_slow",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// Names that only musl has.
fn is_musl_name(call: &Call<'_>) -> bool {
    matches!(
        call.name,
        "__timedwait"
            | "__timedwait_cp"
            | "__wait"
            | "__lock"
            | "__syscall_cp_c"
            | "__syscall_cp_asm"
            | "__futex4_cp"
            | "sccp"
    )
}

/// File names of glibc, as prefixes.
pub(super) const GLIBC: &[&str] = &["libc.so.6", "libpthread.so", "libpthread-2", "libc-2"];
/// File names of musl, as prefixes.
pub(super) const MUSL: &[&str] = &["ld-musl-", "libc.musl-"];

fn library(wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Library> {
    let by_machinery = calls.iter().find_map(|call| {
        // Debian's musl is mapped by its real name, which glibc's never is.
        if call.module == "libc.so" {
            Some(Library::Musl)
        } else if call.in_module(GLIBC) || is_glibc_name(call) {
            Some(Library::Glibc)
        } else if call.in_module(MUSL) || is_musl_name(call) {
            Some(Library::Musl)
        } else {
            None
        }
    });
    by_machinery.or_else(|| library_that_started(wait.frames))
}

/// In a static program without debug symbols the primitive may have no telling caller, but the C library also started
/// the thread.
fn library_that_started(frames: &[Frame]) -> Option<Library> {
    frames
        .iter()
        .rev()
        .map(Call::of)
        .find_map(|call| match call.c_name() {
            "start_thread" | "libc_start_call_main" | "clone3" => Some(Library::Glibc),
            "libc_start_main_stage2" => Some(Library::Musl),
            _ => None,
        })
}

impl Runtime for Posix {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let (mut kind, call) = calls.iter().find_map(|call| Some((kind(call)?, call)))?;
        let library = library(wait, calls);
        if kind == Kind::Condvar && regains_mutex(wait, library) {
            kind = Kind::Mutex;
        }
        let mut verdict = located(wait, kind, library);
        verdict.evidence = format!("called from {}", call.c_name());
        // glibc's own locks (malloc, stdio, the loader) are plain words with no owner beside them.
        let named = calls
            .iter()
            .any(|call| self::kind(call).is_some() && !call.c_name().starts_with("lll_"));
        if kind == Kind::Mutex && verdict.runtime == Some(glibc::NAME) {
            if !named {
                verdict.owner = None;
            } else if let (None, Some(tid)) = (&verdict.owner, glibc::mutex::owner_word(wait)) {
                // A thread that ended with the mutex locked, or, if they share it, one of another process.
                verdict.dead_owner = wait.is_private().then_some(tid);
                let _ = write!(
                    verdict.evidence,
                    "; owner {tid} is no live thread of the process"
                );
            }
        }
        Some(verdict)
    }

    fn by_memory(&self, wait: &Wait<'_>) -> Option<Verdict> {
        if calls_the_kernel_itself(wait) {
            return None;
        }
        glibc::by_memory(wait).or_else(|| musl::mutex::by_memory(wait))
    }
}

/// Inside `pthread_cond_wait` a woken thread waits for its mutex. glibc then expects the word of a contended mutex with
/// `FUTEX_WAIT`; a wait for the signal expects 0 or is `FUTEX_WAIT_BITSET`. In musl only the mutex's layout tells.
fn regains_mutex(wait: &Wait<'_>, library: Option<Library>) -> bool {
    if wait.command() != futex::WAIT {
        return false;
    }
    match library {
        Some(Library::Glibc) => wait.value == glibc::mutex::LOCKED_WITH_WAITERS,
        _ => glibc::mutex::by_memory(wait)
            .or_else(|| musl::mutex::by_memory(wait))
            .is_some(),
    }
}

/// Address and holder of a lock of a known kind. Without a known library both layouts are tried, and only an object
/// that fits counts.
fn located(wait: &Wait<'_>, kind: Kind, library: Option<Library>) -> Verdict {
    let in_glibc = || -> Option<Verdict> {
        let found = |address| Verdict::new(kind, glibc::NAME, address, "");
        match kind {
            Kind::Mutex => Some(found(wait.address).owned(glibc::mutex::owner(wait))),
            Kind::RwlockRead | Kind::RwlockWrite => {
                let (base, owner) = glibc::rwlock::locate(wait, kind)?;
                Some(found(base).owned(owner))
            }
            Kind::Condvar => glibc::cond::locate(wait).map(found),
            Kind::Barrier => glibc::barrier::locate(wait).map(found),
            Kind::Join => Some(found(wait.address).owned(glibc::join::owner(wait))),
            _ => Some(found(wait.address)),
        }
    };
    let in_musl = || -> Option<Verdict> {
        let found = |address| Verdict::new(kind, musl::NAME, address, "");
        match kind {
            Kind::Mutex => {
                let (base, owner) = musl::mutex::locate(wait)?;
                Some(found(base).owned(owner))
            }
            Kind::Condvar => musl::cond::locate_cond(wait).map(found),
            Kind::Barrier => musl::cond::locate_barrier(wait).map(found),
            Kind::Join => Some(found(wait.address).owned(musl::join::owner(wait))),
            _ => Some(found(wait.address)),
        }
    };
    let plain = |runtime| Verdict {
        runtime,
        ..Verdict::unknown(wait, None, "")
    };
    let verdict = match library {
        Some(Library::Glibc) => in_glibc().unwrap_or_else(|| plain(Some(glibc::NAME))),
        Some(Library::Musl) => in_musl().unwrap_or_else(|| plain(Some(musl::NAME))),
        None => glibc::by_memory(wait)
            .or_else(|| musl::mutex::by_memory(wait))
            .filter(|verdict| verdict.kind == kind)
            .unwrap_or_else(|| plain(None)),
    };
    Verdict { kind, ..verdict }
}

/// Whether the wait is a call of `syscall(2)`: the C libraries' own locks enter the kernel without it.
fn calls_the_kernel_itself(wait: &Wait<'_>) -> bool {
    let innermost = wait.frames.first();
    innermost.is_some_and(|frame| !frame.guessed && frame.function.as_deref() == Some("syscall"))
}
