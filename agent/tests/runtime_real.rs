//! Real programs park a thread in every primitive of every C library and language runtime at hand, and say what they
//! wait for; holdup must say the same from the futex call's arguments, the memory, and the names of the calling
//! functions; and from arguments and memory alone, as for a stripped program, it must be right or say `unknown`.
//!
//! Stacks are written by hand here, as the functions are called in these libraries: unwinding has its own tests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

#[path = "runtime_real/expected.rs"]
mod expected;
#[path = "runtime_real/parking_lot.rs"]
mod parking_lot_locks;
#[path = "runtime_real/rust.rs"]
mod rust;
#[path = "runtime_real/scene.rs"]
mod scene;

use expected::{Expected, GLIBC, MUSL, find, row};
use holdup::{
    model::Kind,
    runtime::{Verdict, application_frames, threads::Threads},
};
use scene::{Truth, ask, compile, frames, run, run_with};

/// Compares a verdict with the program's own word for it.
fn check(truth: &Truth, expected: &Expected, verdict: &Verdict, runtime: &str) {
    let context = format!("{truth:?}\n{verdict:?}");
    assert_eq!(verdict.kind, expected.kind, "{context}");
    if expected.kind == Kind::Unknown {
        assert_eq!(verdict.owner, None, "{context}");
        return;
    }
    assert_eq!(verdict.runtime, Some(runtime), "{context}");
    // A joined thread has no address in the program; musl keeps a barrier's round on a waiter's stack.
    let hidden = expected.kind == Kind::Join || expected.kind == Kind::Barrier && runtime == "musl";
    if !hidden && truth.address != 0 {
        assert_eq!(verdict.address, truth.address, "{context}");
    }
    let owner = verdict.owner.as_ref().map_or(0, |owner| owner.tid);
    let wanted = if expected.owned { truth.owner } else { 0 };
    assert_eq!(owner, wanted, "{context}");
}

/// Without a stack: right where the memory tells, else unknown.
fn check_bare(pid: u32, truth: &Truth, expected: &Expected, runtime: &str) {
    let verdict = ask::<&str>(pid, truth.tid, &[]);
    if expected.bare {
        check(truth, expected, &verdict, runtime);
    } else {
        assert_eq!(verdict.kind, Kind::Unknown, "{truth:?}\n{verdict:?}");
        assert_eq!(verdict.owner, None, "{truth:?}\n{verdict:?}");
    }
}

/// Stack of a waiter as glibc's dynamic symbols name it, and as its debugging symbols do.
fn glibc_stacks(function: &str) -> [Vec<String>; 2] {
    let internal = match function {
        "pthread_mutex_lock" => "__GI___lll_lock_wait",
        "pthread_mutex_timedlock" => "__pthread_mutex_clocklock_common",
        "pthread_cond_wait" | "pthread_cond_timedwait" => "__pthread_cond_wait_common",
        "sem_wait" => "__new_sem_wait_slow64.constprop.0",
        "pthread_join" => "__pthread_clockjoin_ex",
        "pthread_once" => "__pthread_once_slow",
        _ => "__futex_abstimed_wait_common",
    };
    let module = "/usr/lib/x86_64-linux-gnu/libc.so.6";
    [
        vec![
            format!("{module}!"),
            format!("{module}!{function}@@GLIBC_2.34"),
            "/app!waiter_main".to_owned(),
        ],
        vec![
            format!("{module}!{internal}"),
            format!("{module}!___{function}"),
            "/app!waiter_main".to_owned(),
        ],
    ]
}

#[test]
fn glibc() {
    for flags in [
        &["-O2", "-pthread"][..],
        &["-O0", "-g", "-static", "-pthread"],
    ] {
        let running = run(&compile("runtime_c/locks.c", "cc", flags));
        assert_eq!(running.truths.len(), 42, "cases are missing");
        for truth in &running.truths {
            let expected = find(GLIBC, &truth.case);
            check_bare(running.pid, truth, expected, "glibc");
            for mut stack in glibc_stacks(expected.function) {
                let verdict = ask(running.pid, truth.tid, &stack);
                check(truth, expected, &verdict, "glibc");
                assert_eq!(
                    application_frames(&frames(&stack)),
                    frames(&["/app!waiter_main"])
                );
                // Linked statically, the library's functions are the program's own.
                for frame in &mut stack {
                    *frame = format!("/app!{}", frame.split_once('!').unwrap().1);
                }
                if !stack[0].ends_with('!') {
                    let verdict = ask(running.pid, truth.tid, &stack);
                    assert_eq!(verdict.kind, expected.kind, "{truth:?} {verdict:?}");
                }
            }
        }
    }
}

#[test]
fn musl() {
    let flags: [&[&str]; 3] = [&["-O2", "-static"], &["-O0", "-static"], &["-O2"]];
    for (flags, module) in
        flags
            .into_iter()
            .zip(["/app", "/app", "/usr/lib/x86_64-linux-musl/libc.so"])
    {
        let running = run(&compile("runtime_c/locks.c", "musl-gcc", flags));
        assert_eq!(running.truths.len(), 39, "cases are missing");
        let mut rounds = Vec::new();
        for truth in &running.truths {
            let expected = find(MUSL, &truth.case);
            check_bare(running.pid, truth, expected, "musl");
            let stack = [
                format!("{module}!__timedwait_cp"),
                format!("{module}!{}", expected.function),
                "/app!waiter_main".to_owned(),
            ];
            let verdict = ask(running.pid, truth.tid, &stack);
            check(truth, expected, &verdict, "musl");
            if truth.case.starts_with("barrier_crowd") {
                rounds.push(verdict.address);
            }
            assert_eq!(
                application_frames(&frames(&stack)),
                frames(&["/app!waiter_main"])
            );
        }
        assert_eq!(rounds.len(), 2);
        assert_eq!(rounds[0], rounds[1]);
    }
}

#[test]
fn cpp() {
    const C: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
    const CPP: &str = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6";
    let mutex = |function: &str, wrapper: &str| {
        vec![
            format!("{C}!"),
            format!("{C}!{function}"),
            format!("/app!{wrapper}"),
        ]
    };
    let atomic = |function: &str| {
        vec![
            format!("{C}!syscall"),
            format!(
                "/app!void std::__atomic_wait_address_bare<std::{function}::{{lambda()#1}}>(int const*, std::{function}::{{lambda()#1}})"
            ),
        ]
    };
    let glibc = "glibc";
    let own = "libstdcxx";
    let cases = [
        (
            "mutex",
            mutex("pthread_mutex_lock", "std::mutex::lock()"),
            Kind::Mutex,
            true,
            glibc,
        ),
        (
            "recursive_mutex",
            mutex("pthread_mutex_lock", "std::recursive_mutex::lock()"),
            Kind::Mutex,
            true,
            glibc,
        ),
        (
            "timed_mutex",
            mutex(
                "pthread_mutex_clocklock",
                "bool std::__timed_mutex_impl<std::timed_mutex>::_M_try_lock_until<long>(long)",
            ),
            Kind::Mutex,
            true,
            glibc,
        ),
        (
            "shared_mutex_read",
            mutex(
                "pthread_rwlock_rdlock",
                "std::shared_lock<std::shared_mutex>::shared_lock(std::shared_mutex&)",
            ),
            Kind::RwlockRead,
            true,
            glibc,
        ),
        (
            "shared_mutex_write",
            mutex(
                "pthread_rwlock_wrlock",
                "std::__shared_mutex_pthread::lock()",
            ),
            Kind::RwlockWrite,
            true,
            glibc,
        ),
        (
            "shared_mutex_write_behind_reader",
            mutex("pthread_rwlock_wrlock", "std::shared_mutex::lock()"),
            Kind::RwlockWrite,
            false,
            glibc,
        ),
        (
            "condition_variable",
            vec![
                format!("{C}!"),
                format!("{C}!pthread_cond_wait"),
                format!("{CPP}!std::condition_variable::wait(std::unique_lock<std::mutex>&)"),
            ],
            Kind::Condvar,
            false,
            glibc,
        ),
        (
            "condition_variable_for",
            mutex(
                "pthread_cond_clockwait",
                "std::cv_status std::condition_variable::__wait_until_impl<std::chrono::duration<long> >()",
            ),
            Kind::Condvar,
            false,
            glibc,
        ),
        (
            "call_once",
            mutex(
                "pthread_once",
                "void std::call_once<main::{lambda()#1}>(std::once_flag&)",
            ),
            Kind::Once,
            false,
            glibc,
        ),
        (
            "static_guard",
            vec![format!("{C}!syscall"), format!("{CPP}!__cxa_guard_acquire")],
            Kind::Once,
            false,
            own,
        ),
        (
            "counting_semaphore",
            atomic("__atomic_semaphore::_M_acquire()"),
            Kind::Semaphore,
            false,
            own,
        ),
        (
            "latch",
            atomic("latch::wait() const"),
            Kind::Barrier,
            false,
            own,
        ),
        (
            "future",
            vec![
                format!("{C}!syscall"),
                format!(
                    "{CPP}!std::__atomic_futex_unsigned_base::_M_futex_wait_until(unsigned int*)"
                ),
                "/app!std::__basic_future<int>::wait() const".to_owned(),
            ],
            Kind::Condvar,
            false,
            own,
        ),
    ];
    let running = run(&compile(
        "runtime_cpp/locks.cpp",
        "c++",
        &["-std=c++20", "-O2", "-pthread"],
    ));
    assert_eq!(running.truths.len(), cases.len());
    for ((case, mut stack, kind, owned, runtime), truth) in cases.into_iter().zip(&running.truths) {
        assert_eq!(case, truth.case);
        let bare = runtime == glibc && case != "call_once";
        let expected = row(case, kind, owned, bare, "");
        check_bare(running.pid, truth, &expected, runtime);
        stack.push("/app!Cache::refresh(int)".to_owned());
        check(
            truth,
            &expected,
            &ask(running.pid, truth.tid, &stack),
            runtime,
        );
        assert_eq!(
            application_frames(&frames(&stack)),
            frames(&["/app!Cache::refresh(int)"])
        );
    }
}

/// In a container, lock words hold thread ids of the container.
#[test]
fn ids_of_a_pid_namespace_are_translated() {
    let program = compile("runtime_c/locks.c", "cc", &["-O2", "-pthread"]);
    // SAFETY: the call has no arguments and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let arguments: &[&str] = if is_root {
        &["--pid", "--fork"]
    } else {
        &["--user", "--map-root-user", "--pid", "--fork"]
    };
    let running = run_with("unshare", arguments, &program);
    let pid = running.only_child();
    let threads = Threads::of(pid);
    let outer = |inner| threads.find(inner).unwrap();
    for truth in &running.truths {
        assert!(truth.tid < 1000, "not in a namespace of its own: {truth:?}");
        let truth = Truth {
            tid: outer(truth.tid),
            owner: if truth.owner == 0 {
                0
            } else {
                outer(truth.owner)
            },
            ..truth.clone()
        };
        check_bare(pid, &truth, find(GLIBC, &truth.case), "glibc");
    }
    assert_eq!(threads.find(std::process::id()), None);
}

#[test]
fn rust_std() {
    rust::check();
}

#[test]
fn parking_lot() {
    parking_lot_locks::check();
}
