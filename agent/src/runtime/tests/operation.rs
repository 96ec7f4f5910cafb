//! What the operation alone proves.

use super::*;

#[test]
fn priority_inheritance_words_name_their_holder_in_any_runtime() {
    for op in [futex::LOCK_PI, futex::LOCK_PI2 | futex::PRIVATE_FLAG] {
        let ask = |word| wait(&Bytes::default().words(LOCK, &[word]), LOCK, op, 0, &[]);
        let held = ask(WAITERS | 1003);
        assert_eq!(summary(&held), (Kind::Mutex, None, LOCK, 8003));
        assert_eq!(
            held.owner.map(|owner| owner.known_by),
            Some("priority-inheritance futex word")
        );
        assert_eq!(
            summary(&ask(WAITERS | OWNER_DIED)),
            (Kind::Mutex, None, LOCK, 0)
        );
        let dead = ask(WAITERS | OWNER_DIED | 4711);
        assert_eq!(summary(&dead), (Kind::Mutex, None, LOCK, 0));
        assert!(dead.evidence.contains("4711"), "{dead:?}");
        // Nothing is readable.
        assert_eq!(
            summary(&wait(&Bytes::default(), LOCK, op, 0, &[])),
            (Kind::Mutex, None, LOCK, 0)
        );
    }
}

#[test]
fn priority_inheritance_mutexes_belong_to_the_library_whose_layout_fits() {
    let op = futex::LOCK_PI | futex::PRIVATE_FLAG;
    let glibc = glibc_mutex(WAITERS | 1001, 1001, 1, 32, [0, 0]);
    assert_eq!(
        summary(&wait(&glibc, LOCK, op, 0, &[])),
        (Kind::Mutex, Some("glibc"), LOCK, 8001)
    );
    let musl = Bytes::default()
        .words(LOCK, &[8, WAITERS | 1001, 0, 0, 0, 0])
        .pointers(LOCK + 24, &[STACK, STACK]);
    assert_eq!(
        summary(&wait(&musl, LOCK + 4, op, 0, &[])),
        (Kind::Mutex, Some("musl"), LOCK, 8001)
    );
}

#[test]
fn requeued_waits_are_condition_variables() {
    let verdict = wait(&Bytes::default(), LOCK, futex::WAIT_REQUEUE_PI, 0, &[]);
    assert_eq!(summary(&verdict), (Kind::Condvar, None, LOCK, 0));
}
