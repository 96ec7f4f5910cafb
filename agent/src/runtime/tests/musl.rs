//! musl, by layout and by name.

use super::*;

#[test]
fn musl_mutexes_are_told_by_type_and_word() {
    let mutex = |kind, word, waiters, list: [u64; 2]| {
        Bytes::default()
            .words(LOCK, &[kind, word, waiters, 0, 0, 0])
            .pointers(LOCK + 24, &list)
    };
    let ask = |memory: &Bytes, value| summary(&wait(memory, LOCK + 4, PRIVATE_WAIT, value, &[]));
    let known = |tid| (Kind::Mutex, Some("musl"), LOCK, tid);
    let unknown = (Kind::Unknown, None, LOCK + 4, 0);
    let busy = WAITERS | 16;
    assert_eq!(ask(&mutex(0, busy, 1, [0, 0]), busy), known(0));
    assert_eq!(
        ask(&mutex(2, WAITERS | 1005, 3, [STACK; 2]), WAITERS | 1005),
        known(8005)
    );
    assert_eq!(ask(&mutex(0, busy, 0, [0, 0]), busy), unknown, "no waiters");
    assert_eq!(
        ask(&mutex(1, busy, 1, [STACK; 2]), busy),
        unknown,
        "EBUSY is no owner"
    );
    assert_eq!(
        ask(&mutex(7, WAITERS | 1005, 1, [STACK; 2]), WAITERS | 1005),
        unknown
    );
    assert_eq!(
        ask(&mutex(2, WAITERS | 4711, 1, [STACK; 2]), WAITERS | 4711),
        unknown
    );
}

#[test]
fn musl_condition_variables_are_found_from_the_waiters_stack() {
    let (node, other, cond) = (STACK + 0x400, STACK + 0x900, LOCK);
    let memory = Bytes::default()
        .pointers(STACK, &[8, 0x3000, cond, 0])
        .pointers(node, &[other, 0])
        .words(node + 16, &[0, 2])
        .pointers(other, &[0, node])
        .pointers(cond, &[0, other, 0, 0, 0, STACK + 0x999]);
    let stack = &["__timedwait_cp", "pthread_cond_timedwait", "work"];
    let ask = |memory: &Bytes, sp| summary(&wait_at(memory, node + 20, PRIVATE_WAIT, 2, sp, stack));
    assert_eq!(ask(&memory, STACK), (Kind::Condvar, Some("musl"), cond, 0));
    assert_eq!(ask(&memory, 0), (Kind::Condvar, Some("musl"), node + 20, 0));
    // A queue that never ends.
    let circle = memory.pointers(other, &[0, other]);
    assert_eq!(
        ask(&circle, STACK),
        (Kind::Condvar, Some("musl"), node + 20, 0)
    );
}
