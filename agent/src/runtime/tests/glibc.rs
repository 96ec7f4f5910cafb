//! glibc, by layout and by name.

use super::*;

#[test]
fn a_glibc_mutex_needs_every_field_to_be_told_by_memory() {
    let ask = |memory: &Bytes, op| summary(&wait(memory, LOCK, op, 2, &[]));
    let known = (Kind::Mutex, Some("glibc"), LOCK, 8001);
    let good = glibc_mutex(2, 1001, 1, 0, [0, 0]);
    assert_eq!(ask(&good, PRIVATE_WAIT), known);
    assert_eq!(ask(&good, PRIVATE_ABSOLUTE), known);
    assert_eq!(
        ask(&glibc_mutex(2, 1001, 1, 128, [0, 0]), futex::WAIT),
        known
    );

    assert_eq!(
        ask(&good, futex::WAIT),
        UNKNOWN,
        "shared wait for a private mutex"
    );
    for (what, bad) in [
        ("released since", glibc_mutex(0, 1001, 1, 0, [0, 0])),
        ("a dead owner", glibc_mutex(2, 4711, 1, 0, [0, 0])),
        ("no owner", glibc_mutex(2, 0, 1, 0, [0, 0])),
        ("no users", glibc_mutex(2, 1001, 0, 0, [0, 0])),
        ("too many users", glibc_mutex(2, 1001, 1 << 30, 0, [0, 0])),
        ("an unknown kind", glibc_mutex(2, 1001, 1, 4, [0, 0])),
        (
            "a list it has no use for",
            glibc_mutex(2, 1001, 1, 0, [1, 0]),
        ),
        ("unreadable", Bytes::default().words(LOCK, &[2, 0, 1001, 1])),
    ] {
        assert_eq!(ask(&bad, PRIVATE_WAIT), UNKNOWN, "{what}");
    }
}

#[test]
fn robust_mutexes_are_known_by_their_owner_bits() {
    let word = WAITERS | 1002;
    let memory = glibc_mutex(word, 1002, 1, 16, [STACK, STACK]);
    let verdict = wait(&memory, LOCK, futex::WAIT, word, &[]);
    assert_eq!(summary(&verdict), (Kind::Mutex, Some("glibc"), LOCK, 8002));
    let other = glibc_mutex(word, 1003, 1, 16, [STACK, STACK]);
    assert_eq!(
        summary(&wait(&other, LOCK, futex::WAIT, word, &[])),
        UNKNOWN
    );
}

#[test]
fn a_named_mutex_is_one_whatever_its_memory_says_and_only_live_owners_count() {
    let stack = &[
        "/lib/libc.so.6!",
        "/lib/libc.so.6!pthread_mutex_lock@@GLIBC_2.2.5",
        "work",
    ];
    let ask = |memory: &Bytes| summary(&wait(memory, LOCK, PRIVATE_WAIT, 2, stack));
    let known = |tid| (Kind::Mutex, Some("glibc"), LOCK, tid);
    assert_eq!(ask(&glibc_mutex(2, 1001, 1, 0, [0, 0])), known(8001));
    assert_eq!(ask(&glibc_mutex(1, 1001, 1, 0, [0, 0])), known(8001));
    assert_eq!(
        ask(&glibc_mutex(0, 1001, 1, 0, [0, 0])),
        known(0),
        "in hand-over"
    );
    assert_eq!(ask(&glibc_mutex(2, 4711, 1, 0, [0, 0])), known(0), "dead");
    let dead = wait(
        &glibc_mutex(2, 4711, 1, 0, [0, 0]),
        LOCK,
        PRIVATE_WAIT,
        2,
        stack,
    );
    assert_eq!(
        dead.evidence,
        "called from pthread_mutex_lock; owner 4711 is no live thread of the process"
    );
    assert_eq!(ask(&Bytes::default()), known(0), "unreadable");
}

#[test]
fn locks_of_glibc_itself_have_no_owner_word() {
    let memory = glibc_mutex(1, 1001, 1, 0, [0, 0]);
    let stack = &[
        "/lib/libc.so.6!__lll_lock_wait_private",
        "/lib/libc.so.6!malloc",
        "work",
    ];
    let verdict = wait(&memory, LOCK, PRIVATE_WAIT, 2, stack);
    assert_eq!(summary(&verdict), (Kind::Mutex, Some("glibc"), LOCK, 0));
}

#[test]
fn glibc_rwlocks_are_told_by_state_and_futex() {
    let lock = |readers, phase, writers, writer, flags| {
        Bytes::default().words(
            LOCK,
            &[
                readers, 0, phase, writers, 0, 0, writer, 0, 0, 0, 0, 0, flags,
            ],
        )
    };
    let ask = |memory: &Bytes, offset: u64, value| {
        summary(&wait(memory, LOCK + offset, PRIVATE_ABSOLUTE, value, &[]))
    };
    let glibc = Some("glibc");
    let written = lock(0xb, 3, 3, 1001, 0);
    assert_eq!(ask(&written, 8, 3), (Kind::RwlockRead, glibc, LOCK, 8001));
    assert_eq!(ask(&written, 12, 3), (Kind::RwlockWrite, glibc, LOCK, 8001));
    let read = lock(0xa, 2, 3, 0, 0);
    assert_eq!(ask(&read, 8, 2), (Kind::RwlockWrite, glibc, LOCK, 0));
    assert_eq!(
        ask(&lock(0xe, 2, 1, 0, 2), 0, 0xe),
        (Kind::RwlockRead, glibc, LOCK, 0)
    );

    let unknown = |offset| (Kind::Unknown, None, LOCK + offset, 0);
    assert_eq!(
        ask(&lock(0xb, 3, 3, 4711, 0), 8, 3),
        unknown(8),
        "dead writer"
    );
    assert_eq!(
        ask(&lock(0x2, 2, 1, 0, 0), 8, 2),
        unknown(8),
        "nobody reads"
    );
    assert_eq!(
        ask(&lock(0xb, 3, 3, 1001, 7), 8, 3),
        unknown(8),
        "unknown flags"
    );
    assert_eq!(
        ask(&written.clone().words(LOCK + 36, &[1]), 8, 3),
        unknown(8),
        "dirty padding"
    );
    // Named, the kind stays even if the writer has just left.
    let stack = &["/lib/libc.so.6!pthread_rwlock_rdlock", "work"];
    let verdict = wait(&lock(0, 1, 0, 0, 0), LOCK + 8, PRIVATE_ABSOLUTE, 3, stack);
    assert_eq!(summary(&verdict), (Kind::RwlockRead, glibc, LOCK, 0));
}

#[test]
fn glibc_condition_variables_of_all_versions_are_told() {
    let known = (Kind::Condvar, Some("glibc"), LOCK, 0);
    // One waiter in group 0; three in group 1 after a switch.
    let first = Bytes::default().words(LOCK, &[2, 0, 0, 0, 2, 0, 0, 0, 0, 8, 0, 0]);
    let second = Bytes::default().words(LOCK, &[11, 0, 4, 0, 0, 6, 0, 3, 4, 24, 0, 0]);
    for op in [PRIVATE_WAIT, PRIVATE_BITSET, PRIVATE_ABSOLUTE] {
        assert_eq!(summary(&wait(&first, LOCK + 40, op, 0, &[])), known);
        assert_eq!(summary(&wait(&second, LOCK + 44, op, 0, &[])), known);
    }
    let newer = Bytes::default()
        .words(LOCK - 16, &[0x31, 0, 0x31, 0])
        .words(LOCK, &[2, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
    assert_eq!(
        summary(&wait(&newer, LOCK + 32, PRIVATE_ABSOLUTE, 0, &[])),
        known
    );

    let unknown = (Kind::Unknown, None, LOCK + 40, 0);
    let ask = |words: &[u32]| {
        summary(&wait(
            &Bytes::default().words(LOCK, words),
            LOCK + 40,
            PRIVATE_ABSOLUTE,
            0,
            &[],
        ))
    };
    assert_eq!(ask(&[0; 12]), unknown, "zeros");
    assert_eq!(
        ask(&[2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0]),
        unknown,
        "shared, waited for privately"
    );
    assert_eq!(
        ask(&[2, 0, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0]),
        unknown,
        "nobody in this group"
    );
    // The waiter has left since it was sampled.
    let left = Bytes::default().words(LOCK, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let stack = &[
        "/lib/libc.so.6!",
        "/lib/libc.so.6!pthread_cond_timedwait",
        "work",
    ];
    assert_eq!(
        summary(&wait(&left, LOCK + 40, PRIVATE_ABSOLUTE, 0, stack)),
        known
    );
}

/// A word of a program's own in static storage, after `stdout` and the table of functions.
#[test]
fn pointers_before_a_word_make_no_condition_variable() {
    let memory = Bytes::default()
        .pointers(
            LOCK,
            &[0x7f12_3456_7890, 0, 0x55aa_0000_4050, 0x7f12_3456_8888],
        )
        .words(LOCK + 32, &[0, 0, 0, 0]);
    let unknown = (Kind::Unknown, None, LOCK + 36, 0);
    let found = wait(&memory, LOCK + 36, PRIVATE_WAIT, 0, &[]);
    assert_eq!(summary(&found), unknown);
}

#[test]
fn locks_of_the_library_do_not_use_its_syscall_function() {
    let memory = glibc_mutex(2, 1001, 2, 0, [0, 0]);
    let stack = &["/lib/libc.so.6!syscall", "work"];
    let verdict = wait(&memory, LOCK, PRIVATE_WAIT, 2, stack);
    assert_eq!(summary(&verdict), UNKNOWN);
    let verdict = wait(&memory, LOCK, PRIVATE_WAIT, 2, &[]);
    assert_eq!(summary(&verdict), (Kind::Mutex, Some("glibc"), LOCK, 8001));
}

#[test]
fn a_woken_waiter_waits_for_the_mutex() {
    let stack = &[
        "/lib/libc.so.6!",
        "/lib/libc.so.6!",
        "/lib/libc.so.6!pthread_cond_wait",
        "work",
    ];
    let memory = glibc_mutex(2, 1001, 2, 0, [0, 0]);
    let verdict = wait(&memory, LOCK, PRIVATE_WAIT, 2, stack);
    assert_eq!(summary(&verdict), (Kind::Mutex, Some("glibc"), LOCK, 8001));
}

#[test]
fn joins_need_links_that_lead_back() {
    let thread = Bytes::default()
        .pointers(LOCK - 16, &[STACK, STACK + 64])
        .words(LOCK, &[1004, 0])
        .pointers(STACK + 8, &[LOCK - 16])
        .pointers(STACK + 64, &[LOCK - 16]);
    let op = futex::WAIT_BITSET | futex::CLOCK_REALTIME_FLAG;
    assert_eq!(
        summary(&wait(&thread, LOCK, op, 1004, &[])),
        (Kind::Join, Some("glibc"), LOCK, 8004)
    );
    assert_eq!(
        summary(&wait(&thread, LOCK, PRIVATE_ABSOLUTE, 1004, &[])),
        UNKNOWN
    );
    let counter = Bytes::default().words(LOCK - 16, &[0, 0, 0, 0, 1004, 0, 0]);
    assert_eq!(summary(&wait(&counter, LOCK, op, 1004, &[])), UNKNOWN);
}
