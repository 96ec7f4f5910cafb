//! Language runtimes, which mostly names tell.

use super::*;

#[test]
fn rust_locks_are_told_by_name_in_all_versions_of_the_library() {
    let ask = |names: &[&str]| summary(&wait(&Bytes::default(), LOCK, PRIVATE_BITSET, 2, names));
    let rust = Some("rust-std");
    for path in [
        "std::sys::unix::locks::futex_mutex",
        "std::sys::sync::mutex::futex",
    ] {
        let name = format!("{path}::Mutex::lock_contended");
        let stack = [name.as_str(), "std::sync::mutex::Mutex<T>::lock", "work"];
        assert_eq!(ask(&stack), (Kind::Mutex, rust, LOCK, 0));
    }
    let writer = [
        "std::sys::sync::rwlock::futex::RwLock::write_contended",
        "work",
    ];
    assert_eq!(ask(&writer), (Kind::RwlockWrite, rust, LOCK - 4, 0));
    let park = "std::sys::sync::thread_parking::futex::Parker::park";
    let receiver = [
        park,
        "std::thread::park",
        "std::sync::mpmc::context::Context::wait_until",
        "work",
    ];
    assert_eq!(ask(&receiver), (Kind::Condvar, rust, LOCK, 0));
    assert_eq!(
        ask(&[park, "std::thread::park", "work"]),
        (Kind::Unknown, rust, LOCK, 0)
    );
    // Woken from the condition variable, waiting for the mutex.
    let woken = [
        "std::sys::sync::mutex::futex::Mutex::lock_contended",
        "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout",
        "work",
    ];
    assert_eq!(ask(&woken), (Kind::Mutex, rust, LOCK, 0));
    // An application's own lock of that name.
    assert_eq!(ask(&["app::futex::Mutex::lock_contended", "work"]), UNKNOWN);
}

#[test]
fn parking_lot_keys_count_only_with_a_parked_lock_and_a_pointer_on_the_stack() {
    let futex_word = STACK + 0x8000;
    let memory = |state: u32, on_stack: u64| {
        Bytes::default()
            .words(LOCK, &[state, 0])
            .pointers(futex_word - 32, &[LOCK, 0, 0, 0, 1])
            .pointers(STACK, &[0, on_stack, 0])
    };
    let stack = &["parking_lot::raw_mutex::RawMutex::lock_slow", "work"];
    let ask = |memory: &Bytes, sp| wait_at(memory, futex_word, PRIVATE_WAIT, 1, sp, stack).address;
    assert_eq!(ask(&memory(3, LOCK), STACK), LOCK);
    assert_eq!(ask(&memory(3, LOCK), 0), LOCK);
    assert_eq!(ask(&memory(1, LOCK), STACK), futex_word, "nobody is parked");
    assert_eq!(ask(&memory(0x73, LOCK), STACK), futex_word, "not a mutex");
    assert_eq!(
        ask(&memory(3, LOCK + 8), STACK),
        futex_word,
        "not on the stack"
    );
    let verdict = wait(
        &memory(3, LOCK),
        futex_word,
        PRIVATE_WAIT,
        1,
        &["parking_lot_core::parking_lot::park", "work"],
    );
    assert_eq!(
        (verdict.kind, verdict.runtime),
        (Kind::Unknown, Some("parking_lot"))
    );
}

#[test]
fn python_locks_are_told_apart_as_far_as_names_go() {
    let libc = [
        "/lib/libc.so.6!",
        "/lib/libc.so.6!sem_wait",
        "/usr/bin/python3.11!PyThread_acquire_lock_timed",
    ];
    let ask = |more: &[&str]| {
        let stack: Vec<&str> = libc.iter().chain(more).copied().collect();
        let verdict = wait(&Bytes::default(), LOCK, PRIVATE_ABSOLUTE, 0, &stack);
        assert_eq!((verdict.runtime, verdict.address), (Some("python"), LOCK));
        verdict.kind
    };
    assert_eq!(
        ask(&["/usr/bin/python3.11!", "/usr/bin/python3.11!PyObject_Call"]),
        Kind::Unknown
    );
    assert_eq!(ask(&["/usr/bin/python3.11!rlock_acquire"]), Kind::Mutex);
    assert_eq!(
        ask(&[
            "/lib/_queue.cpython-311-x86_64-linux-gnu.so!",
            "x!_PyEval_EvalFrameDefault"
        ]),
        Kind::Condvar
    );
    let gil = [
        "/lib/libc.so.6!",
        "/lib/libc.so.6!pthread_cond_timedwait",
        "/usr/bin/python3.11!",
        "/usr/bin/python3.11!PyEval_RestoreThread",
    ];
    let cond = Bytes::default().words(LOCK, &[2, 0, 0, 0, 2, 0, 0, 0, 0, 8, 0, 0]);
    let verdict = wait(&cond, LOCK + 40, PRIVATE_BITSET, 0, &gil);
    assert_eq!(summary(&verdict), (Kind::Mutex, Some("python"), LOCK, 0));
    // The same call by another program is a condition variable.
    let other = gil.map(|frame| {
        if frame.contains("python") {
            "/usr/bin/mongod!"
        } else {
            frame
        }
    });
    assert_eq!(
        wait(&cond, LOCK + 40, PRIVATE_BITSET, 0, &other).kind,
        Kind::Condvar
    );
}

#[test]
fn hotspot_waits_are_told_by_the_innermost_function() {
    let ask = |names: &[&str]| {
        let mut stack = vec![
            "/lib/libc.so.6!".to_owned(),
            "/lib/libc.so.6!pthread_cond_wait".to_owned(),
        ];
        stack.extend(names.iter().map(|name| format!("/jvm/libjvm.so!{name}")));
        stack.push("!".to_owned());
        let stack: Vec<&str> = stack.iter().map(String::as_str).collect();
        wait(&Bytes::default(), LOCK, PRIVATE_ABSOLUTE, 0, &stack).kind
    };
    assert_eq!(
        ask(&[
            "os::PlatformEvent::park()",
            "ObjectMonitor::wait(long, bool, JavaThread*)"
        ]),
        Kind::Condvar
    );
    assert_eq!(
        ask(&[
            "os::PlatformEvent::park(long)",
            "ObjectMonitor::EnterI(JavaThread*)",
            "ObjectMonitor::enter(JavaThread*)"
        ]),
        Kind::Mutex
    );
    assert_eq!(
        ask(&[
            "ObjectMonitor::ReenterI(JavaThread*, ObjectWaiter*)",
            "ObjectMonitor::wait(long, bool, JavaThread*)"
        ]),
        Kind::Mutex
    );
    assert_eq!(
        ask(&["os::PlatformMonitor::wait(long)", "Monitor::wait(long)"]),
        Kind::Runtime
    );
    assert_eq!(
        ask(&["PosixSemaphore::wait()", "GangWorker::loop()"]),
        Kind::Runtime
    );
    assert_eq!(
        ask(&["Parker::park(bool, long)", "Unsafe_Park"]),
        Kind::Unknown
    );
    assert_eq!(ask(&[""]), Kind::Unknown, "stripped");
}

#[test]
fn thread_names_count_only_without_an_application() {
    let ask = |comm, names: &[&str]| {
        classify(&Wait {
            address: LOCK,
            op: PRIVATE_ABSOLUTE,
            value: 0,
            sp: 0,
            frames: &fake::frames(names),
            comm,
            memory: &Bytes::default(),
            thread: &fake::thread,
            dead: &|_| false,
        })
        .kind
    };
    assert_eq!(ask("GC Thread#3", &[]), Kind::Runtime);
    assert_eq!(
        ask("GC Thread#3", &["/lib/libc.so.6!sem_wait"]),
        Kind::Runtime
    );
    assert_eq!(
        ask("GC Thread#3", &["/lib/libc.so.6!sem_wait", "work"]),
        Kind::Semaphore
    );
    assert_eq!(ask("worker", &[]), Kind::Unknown);
    // The runtime's own thread may wait for a lock.
    assert_eq!(
        ask("VM Thread", &["/lib/libc.so.6!pthread_mutex_lock"]),
        Kind::Mutex
    );
}

#[test]
fn go_threads_are_idle_or_the_runtimes_own() {
    let ask = |names: &[&str]| summary(&wait(&Bytes::default(), LOCK, PRIVATE_WAIT, 0, names));
    let go = Some("go");
    let idle = [
        "runtime.futex.abi0",
        "runtime.futexsleep",
        "runtime.notesleep",
        "runtime.mPark",
        "runtime.stopm",
    ];
    assert_eq!(ask(&idle), (Kind::Idle, go, LOCK, 0));
    assert_eq!(
        ask(&["runtime.futex", "runtime.futexsleep", "runtime.lock2"]),
        (Kind::Runtime, go, LOCK, 0)
    );
    assert_eq!(
        ask(&[
            "runtime.futex",
            "runtime.futexsleep",
            "runtime.notetsleep_internal",
            "runtime.sysmon"
        ]),
        (Kind::Runtime, go, LOCK, 0)
    );
    assert_eq!(ask(&["runtime.mallocgc", "main.main"]), UNKNOWN);
}

#[test]
fn idle_workers_of_known_pools_are_idle_unless_they_wait_for_a_lock() {
    let ask = |names: &[&str]| wait(&Bytes::default(), LOCK, PRIVATE_BITSET, 0, names).kind;
    let condvar = "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout";
    let mutex = "std::sys::sync::mutex::futex::Mutex::lock_contended";
    let pool = "tokio::runtime::blocking::pool::Inner::run";
    assert_eq!(ask(&[condvar, pool, "work"]), Kind::Idle);
    assert_eq!(ask(&[mutex, pool, "work"]), Kind::Mutex);
    assert_eq!(
        ask(&[condvar, "work", pool]),
        Kind::Condvar,
        "a job that waits is not an idle worker"
    );
    assert_eq!(
        ask(&[
            "std::sys::sync::thread_parking::futex::Parker::park",
            "rayon_core::sleep::Sleep::sleep"
        ]),
        Kind::Idle
    );
}

/// The waiter's stack points to the lock's object, which names the owner's `struct pthread`, which has its id.
#[test]
fn python_rlocks_say_who_owns_them() {
    const STACK: u64 = 0x7f00_0000_1000;
    const OBJECT: u64 = 0x7f00_0010_0000;
    const THREAD: u64 = 0x7f00_0020_0000;
    let called = ["/usr/bin/python3.11!PyThread_acquire_lock_timed"];
    let stack = Bytes::default().pointers(STACK, &[7, THREAD, OBJECT + 1, OBJECT, 0]);
    let rlock = |semaphore, thread, count| {
        let object = [1, 0x5000, semaphore, thread, count];
        let memory = stack.clone().pointers(OBJECT, &object);
        let memory = memory.pointers(THREAD, &[THREAD, 0, THREAD]);
        memory.words(THREAD + 720, &[1003])
    };
    let ask = |memory: &Bytes| wait_at(memory, LOCK, PRIVATE_ABSOLUTE, 0, STACK, &called);
    let verdict = ask(&rlock(LOCK, THREAD, 2));
    assert_eq!(
        (verdict.kind, verdict.runtime),
        (Kind::Mutex, Some("python"))
    );
    let owner = verdict.owner.unwrap();
    assert_eq!((owner.tid, owner.known_by), (8003, "CPython RLock owner"));
    for (wrong, memory) in [
        ("another semaphore", rlock(LOCK + 32, THREAD, 2)),
        ("not held", rlock(LOCK, THREAD, 0)),
        ("no thread", rlock(LOCK, THREAD + 8, 1)),
        ("nothing there", stack.clone()),
    ] {
        let verdict = ask(&memory);
        assert_eq!(
            (verdict.kind, verdict.owner),
            (Kind::Unknown, None),
            "{wrong}"
        );
    }
}
