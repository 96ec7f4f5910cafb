//! Names and frames of applications.

use super::*;

#[test]
fn what_an_application_calls_its_functions_is_no_evidence() {
    for names in [
        &["app::wait", "pthread_mutex_lock"][..],
        &["timedwait", "__timedwait"],
        &["mylib::std::sync::Mutex::lock"],
        &["Lock::sem_wait()"],
    ] {
        let verdict = wait(&Bytes::default(), LOCK, PRIVATE_WAIT, 2, names);
        assert_eq!(summary(&verdict), UNKNOWN, "{names:?}");
    }
}

#[test]
fn application_frames_begin_where_the_lock_is_taken() {
    for (names, expected) in [
        (
            &["/lib/libc.so.6!", "/lib/libc.so.6!malloc", "work", "main"][..],
            2,
        ),
        (&["__lll_lock_wait", "___pthread_mutex_lock", "work"], 2),
        (
            &[
                "/lib/libstdc++.so.6!std::condition_variable::wait(std::unique_lock<std::mutex>&)",
                "work",
            ],
            1,
        ),
        (&["/lib/ld-musl-x86_64.so.1!", "work"], 1),
        (&["__wait", "pthread_once", "work"], 2),
        (
            &[
                "/lib/libjvm.so!Unsafe_Park",
                "void jdk.internal.misc.Unsafe.park(boolean, long)",
                "int java.util.concurrent.locks.AbstractQueuedSynchronizer.acquire(int, boolean)",
                "void Shop.pay()",
            ],
            3,
        ),
        (&["work", "__lll_lock_wait"], 0),
        (&["!", "work"], 0),
        // All machinery: nothing to strip down to.
        (&["/lib/libc.so.6!", "/lib/libc.so.6!start_thread"], 0),
        (&[], 0),
    ] {
        let frames = fake::frames(names);
        assert_eq!(
            application_frames(&frames),
            &frames[expected..],
            "{names:?}"
        );
    }
}

#[test]
fn guessed_frames_are_labelled() {
    let ask = |guessed| {
        let mut frames = fake::frames(&["__timedwait", "pthread_mutex_timedlock", "work"]);
        frames[1].guessed = guessed;
        classify(&Wait {
            address: LOCK,
            op: PRIVATE_WAIT,
            value: 2,
            sp: 0,
            frames: &frames,
            comm: "",
            memory: &Bytes::default(),
            thread: &fake::thread,
            dead: &|_| false,
        })
        .evidence
    };
    assert!(ask(true).ends_with("(by guessed frames)"));
    assert!(!ask(false).contains("guessed"));
}
