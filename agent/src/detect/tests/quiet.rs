//! Contention that is not a hold-up, and what is one in spite of how it looks.

use super::fixture::{SECOND, Scene, news, only, opened, seconds, with_mutex};
use crate::{
    detect::settings::Settings,
    model::{Kind, incident::Reason},
};

#[test]
fn a_busy_database_pages_nobody() {
    let (mut node, lock) = with_mutex(&Settings::default());
    for tick in 0..3_000_u64 {
        node.pass(seconds(0) + std::time::Duration::from_millis(100));
        node.hand_on(lock);
        // 150 to 650 waiters, none of whom waits for 50 ms.
        node.wait(lock, 150 + tick * 7_919 % 500, 0);
        let at_ns = node.view.at_ns;
        node.change(lock).oldest_since_ns = Some(at_ns - SECOND / 20);
        assert_eq!(node.look(), [], "tick {tick}");
    }
}

#[test]
fn a_hundred_parked_threads_are_noticed() {
    let (mut node, lock) = with_mutex(&Settings::default());
    node.wait(lock, 100, 0);
    let events = node.watch(2);
    assert_eq!(news(&events), [opened("parked", 100)]);
    let (mut node, lock) = with_mutex(&Settings::default());
    node.wait(lock, 99, 0);
    assert_eq!(node.watch(29), []);
}

#[test]
fn waits_of_unknown_age_are_as_old_as_they_were_seen() {
    let (mut node, lock) = with_mutex(&Settings::default());
    node.wait(lock, 200, 0);
    node.change(lock).oldest_since_ns = None;
    for _ in 0..10 {
        node.pass(seconds(1));
        node.hand_on(lock);
        assert_eq!(node.look(), [], "it moves");
    }
    assert_eq!(news(&node.watch(2)), [opened("parked", 200)]);
    assert_eq!(node.only().oldest_wait_ns, None);
}

#[test]
fn a_slow_lock_that_moves_is_never_stalled() {
    let (mut node, lock) = with_mutex(&only("stalled"));
    for second in 0..600 {
        node.pass(seconds(1));
        if second % 25 == 0 {
            node.hand_on(lock);
        }
        node.wait(lock, 40, 300);
        assert_eq!(node.look(), [], "second {second}");
    }
    // And then it does not move any more; the last hand-off was 25 seconds ago.
    let events = node.watch(6);
    assert_eq!(news(&events), [opened("stalled", 40)]);
    assert_eq!(node.only().reason, Reason::Stalled);
}

#[test]
fn nobody_alone_stalls_and_idle_locks_do_not() {
    let (mut node, lock) = with_mutex(&only("stalled"));
    node.wait(lock, 1, 0);
    assert_eq!(node.watch(100), [], "that is a long wait");
    // Unused for an hour; now two threads have just come.
    node.hand_on(lock);
    node.wait(lock, 0, 0);
    node.pass(seconds(3_600));
    node.wait(lock, 2, 0);
    assert_eq!(node.watch(29), []);
    assert_eq!(news(&node.watch(1)), [opened("stalled", 2)]);
}

#[test]
fn waits_that_are_given_up_and_begun_again_stall() {
    let (mut node, lock) = with_mutex(&only("stalled"));
    let mut events = Vec::new();
    for _ in 0..31 {
        node.pass(seconds(1));
        node.wait(lock, 8, 0);
        if let Some(counts) = &mut node.change(lock).counts {
            counts.outcomes.timed_out += 8;
        }
        events.extend(node.look());
    }
    assert_eq!(news(&events), [opened("stalled", 8)]);
}

#[test]
fn in_a_census_a_lock_moves_when_its_longest_waiter_changes() {
    let census = |changes: bool| {
        let (mut node, lock) = with_mutex(&only("stalled"));
        node.change(lock).counts = None;
        let mut events = Vec::new();
        node.wait(lock, 40, 100);
        for _ in 0..31 {
            node.pass(seconds(1));
            if changes {
                node.wait(lock, 40, 100);
            }
            events.extend(node.look());
        }
        news(&events)
    };
    assert_eq!(census(true), []);
    assert_eq!(census(false), [opened("stalled", 40)]);
}

#[test]
fn writers_are_not_stalled_while_readers_go_round() {
    let mut node = Scene::new(&only("stalled"));
    let process = node.process(7, "db");
    let readers = node.lock(process, 0x40, Kind::RwlockRead);
    let writers = node.lock(process, 0x40, Kind::RwlockWrite);
    for _ in 0..100 {
        node.pass(seconds(1));
        node.wait(writers, 5, 100);
        node.hand_on(readers);
        assert_eq!(node.look(), []);
    }
    assert_eq!(news(&node.watch(30)), [opened("stalled", 5)]);
}

#[test]
fn readers_and_writers_of_a_lock_are_one_pile() {
    let mut node = Scene::new(&only("parked"));
    let process = node.process(7, "db");
    let id = "rwlock:3f2a91c0:0x40";
    for kind in [Kind::RwlockRead, Kind::RwlockWrite] {
        let lock = node.lock(process, 0x40, kind);
        node.change(lock).id = id.into();
        node.wait(lock, 50, 1);
    }
    assert_eq!(news(&node.watch(2)), [opened("parked", 100)]);
    assert_eq!(node.only().lock.unwrap().id, id);
}

#[test]
fn a_long_wait_takes_one_thread() {
    let (mut node, lock) = with_mutex(&Settings::default());
    node.wait(lock, 1, 0);
    assert_eq!(node.watch(119), []);
    assert_eq!(news(&node.watch(1)), [opened("long_wait", 1)]);
}

#[test]
fn a_process_whose_threads_wait_for_many_locks_is_one_incident() {
    let mut node = Scene::new(&only("parked"));
    let process = node.process(7, "db");
    for address in 0..299 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, 1, 5);
    }
    assert_eq!(node.watch(10), []);
    let lock = node.lock(process, 299 * 64, Kind::Mutex);
    node.wait(lock, 1, 0);
    assert_eq!(news(&node.watch(2)), [opened("parked", 300)]);
    let incident = node.only();
    assert_eq!((incident.lock, incident.pid), (None, 7));
}

#[test]
fn a_process_whose_one_lock_is_reported_is_not_reported_for_it() {
    let mut node = Scene::new(&only("parked"));
    let process = node.process(7, "db");
    for address in [0x40, 0x80] {
        let lock = node.lock(process, address, Kind::Mutex);
        node.wait(lock, 5_000, 1);
    }
    assert_eq!(news(&node.watch(60)).len(), 2);
    assert!(node.open().iter().all(|incident| incident.lock.is_some()));
}
