//! How many wait behind a root, and which root comes first.

use super::*;

#[test]
fn a_diamond_counts_each_thread_once() {
    // Two readers hold lock 1; both wait for lock 2.
    let explained = World::default()
        .lock(1, 1)
        .lock(2, 2)
        .waits(9, 1)
        .held(1, 10)
        .held(1, 11)
        .waits(10, 2)
        .waits(11, 2)
        .held(2, 12)
        .thread(12, Activity::Runs, "")
        .explain();
    assert_eq!(of(&explained, 1).waiters_total, 3);
    assert_eq!(explained.root_blockers.len(), 1);
    assert_eq!(explained.root_blockers[0].waiters_total, 3);
    assert_eq!(explained.root_blockers[0].locks, [at(1), at(2)]);
}

#[test]
fn the_root_with_most_behind_it_comes_first_not_the_longest_wait() {
    let mut world = World::default()
        .lock(1, 3)
        .held(1, 20)
        .lock(2, 5)
        .held(2, 20)
        .lock(3, 1)
        .held(3, 21);
    world.0.locks[2].oldest_wait_ns = Some(900 * SECOND);
    world.0.locks[0].oldest_wait_ns = Some(2 * SECOND);
    let explained = world.explain();
    let roots: Vec<_> = explained
        .root_blockers
        .iter()
        .map(|blocker| (blocker.waiters_total, blocker.oldest_wait_ns))
        .collect();
    assert_eq!(roots, [(8, Some(2 * SECOND)), (1, Some(900 * SECOND))]);
}

#[test]
fn equal_totals_are_ranked_by_age() {
    let mut world = World::default()
        .lock(1, 3)
        .held(1, 20)
        .lock(2, 3)
        .held(2, 21);
    world.0.locks[1].oldest_wait_ns = Some(SECOND);
    let explained = world.explain();
    assert!(matches!(
        explained.root_blockers[0].root,
        Node::Thread { tid: 21, .. }
    ));
}

#[test]
fn named_waiters_are_not_counted_again_among_the_others() {
    let world = World::default()
        .lock(1, 5)
        .waits(10, 1)
        .waits(11, 1)
        .held(1, 12);
    assert_eq!(of(&world.explain(), 1).waiters_total, 5);
    // More are named than were counted.
    let world = World::default()
        .lock(1, 1)
        .waits(10, 1)
        .waits(11, 1)
        .held(1, 12);
    assert_eq!(of(&world.explain(), 1).waiters_total, 2);
}

#[test]
fn roots_without_waiters_are_not_ranked() {
    let explained = World::default()
        .lock(1, 0)
        .held(1, 10)
        .thread(11, Activity::Runs, "")
        .explain();
    assert_eq!(explained.root_blockers, []);
    assert_eq!(of(&explained, 1).waiters_total, 0);
}

#[test]
fn readers_and_writers_of_one_lock_are_one_lock() {
    let mut world = World::default()
        .lock(1, 3)
        .lock(2, 1)
        .lock(1, 2)
        .held(1, 20)
        .held(2, 20);
    world.0.locks[0].kind = Kind::RwlockRead;
    world.0.locks[2].kind = Kind::RwlockWrite;
    let explained = world.explain();
    assert_eq!(of(&explained, 1).waiters_total, 6);
    assert_eq!(explained.root_blockers[0].locks, [at(1), at(2)]);
}
