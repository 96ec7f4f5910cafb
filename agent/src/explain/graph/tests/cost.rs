//! Bounds on work, in steps rather than in time.

use super::{super::result::explain_within, *};

#[test]
fn ten_thousand_waiters_on_fifty_locks() {
    let mut world = World::default();
    for lock in 0..50_u32 {
        world = world
            .lock(lock.into(), 200)
            .held(lock.into(), 100_000 + lock);
        for waiter in 0..200 {
            world = world.waits(lock * 200 + waiter, lock.into());
        }
        // Every holder but the last waits for the next lock.
        if lock < 49 {
            world = world.waits(100_000 + lock, u64::from(lock) + 1);
        }
    }
    let explained = world.explain();
    assert_eq!(of(&explained, 0).waiters_total, 10_049);
    let size = (world.0.waits.len() + world.0.holds.len() + world.0.locks.len()) as u64;
    assert!(
        explained.visits < 10 * size,
        "{} steps for {size} facts",
        explained.visits
    );
}

#[test]
fn two_hundred_thousand_links_deep() {
    let mut world = World::default();
    for n in 0..100_000_u32 {
        world = world.held(n.into(), n).waits(n, u64::from(n) + 1);
    }
    let world = world.lock(0, 1);
    let explained = world.explain();
    let explanation = of(&explained, 0);
    assert_eq!(explanation.chain_left_out, 200_000 - 32);
    // One waits for the first lock and is not named.
    assert_eq!(explanation.waiters_total, 100_001);
    // And as a circle, which must not be gone round anew for each of its locks.
    let world = (1..20_000).fold(world, |world, lock| world.lock(lock, 1));
    let world = world.held(100_000, 100_000).waits(100_000, 0);
    let explained = world.explain();
    assert_eq!(explained.deadlocks.len(), 1);
    assert_eq!(explained.deadlocks[0].threads, 100_001);
    assert!(explained.deadlocks[0].links.len() <= 256);
    assert!(explained.deadlocks[0].text.len() < 4_000);
}

#[test]
fn counting_ends_early_and_says_so() {
    // Every lock is held by every thread.
    let mut world = World::default();
    for lock in 0..40 {
        world = world.lock(lock, 0).waits(1_000 + lock as u32, lock);
        for thread in 0..40 {
            world = world.held(lock, thread);
        }
    }
    let whole = world.explain();
    assert!(
        whole
            .root_blockers
            .iter()
            .all(|r| !r.waiters_is_at_least && r.waiters_total == 40)
    );
    let explained = explain_within(&world.0, 5_000);
    assert!(explained.visits < 5_000 + 40 * 50 + 2 * 40 * 41);
    assert!(
        explained
            .root_blockers
            .iter()
            .any(|r| r.waiters_is_at_least)
    );
    assert!(
        explained
            .root_blockers
            .iter()
            .all(|r| r.waiters_total <= 40)
    );
}
