//! Clocks that jump, views that are empty, ids that are used again.

use std::time::{Duration, UNIX_EPOCH};

use super::fixture::{Scene, circle, news, only, opened, process, resolved, seconds, with_mutex};
use crate::{
    detect::settings::Settings,
    model::{Kind, incident::Change, watch::ProcessKey},
};

#[test]
fn a_view_without_anything_is_no_news() {
    let mut node = Scene::new(&Settings::default());
    assert_eq!(node.watch(100), []);
}

#[test]
fn one_empty_view_resolves_nothing_even_after_a_gap() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    let full = node.view.clone();
    node.clear();
    node.pass(seconds(3_600));
    assert_eq!(node.look(), [], "it may be the only one of its kind");
    let (at_ns, at) = (node.view.at_ns, node.view.at);
    node.view = full;
    (node.view.at_ns, node.view.at) = (at_ns, at);
    assert_eq!(news(&node.watch(1)), []);
    node.clear();
    node.pass(seconds(3_600));
    node.look();
    assert_eq!(news(&node.watch(1)), [resolved("parked", 0)]);
}

#[test]
fn a_clock_that_goes_back_stops_nothing() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    node.view.at_ns -= 100_000 * super::fixture::SECOND;
    node.view.at = UNIX_EPOCH;
    node.wait(lock, 150, 5);
    assert_eq!(news(&node.look()), []);
    node.wait(lock, 0, 0);
    assert_eq!(news(&node.watch(29)), []);
    assert_eq!(news(&node.watch(1)), [resolved("parked", 0)]);
}

#[test]
fn a_clock_at_its_ends_does_no_harm() {
    for at_ns in [0, 1, u64::MAX - 1, u64::MAX] {
        let (mut node, lock) = with_mutex(&Settings::default());
        node.wait(lock, 150, 5);
        for moment in [at_ns, 0, u64::MAX, at_ns] {
            node.view.at_ns = moment;
            node.view.at = UNIX_EPOCH - Duration::from_secs(moment % 1_000_000);
            node.look();
        }
    }
}

#[test]
fn waits_from_the_future_are_young() {
    let (mut node, lock) = with_mutex(&Settings::default());
    node.wait(lock, 10_000, 0);
    node.change(lock).oldest_since_ns = Some(u64::MAX);
    assert_eq!(node.watch(29), []);
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    node.clear();
    let other = node.process(7, "web");
    let old = node.view.processes.remove(&other).unwrap();
    let key = ProcessKey {
        pid: 7,
        generation: 2,
    };
    node.view
        .processes
        .insert(key, crate::model::watch::Process { key, ..old });
    let lock = node.lock(key, 0x4080, Kind::Mutex);
    node.wait(lock, 150, 5);
    let events = node.watch(60);
    assert_eq!(
        news(&events),
        [opened("parked", 150), resolved("parked", 0)]
    );
    let mut ends = events
        .iter()
        .filter(|event| event.change == Change::Resolved);
    let text = &ends.next().unwrap().incident.text;
    assert!(text.contains("process 7 is gone"), "{text}");
    assert_eq!(node.only().comm, "web");
}

#[test]
fn locks_whose_process_is_not_in_the_view_are_passed_over() {
    let mut node = Scene::new(&Settings::default());
    let lock = node.lock(process(9), 0x40, Kind::Mutex);
    node.wait(lock, 10_000, 500);
    node.view.deadlocks.push(circle((9, 0x40), (9, 0x80)));
    assert_eq!(node.watch(200), []);
}

#[test]
fn a_circle_without_links_is_nothing() {
    let mut node = Scene::new(&Settings::default());
    node.process(7, "db");
    let mut empty = circle((7, 0x40), (7, 0x80));
    empty.links.clear();
    node.view.deadlocks.push(empty);
    assert_eq!(node.watch(2), []);
}

#[test]
fn numbers_at_their_ends_do_no_harm() {
    let mut node = Scene::new(&Settings::default());
    for pid in 1..4 {
        node.process(pid, "db");
        for address in [0, u64::MAX] {
            let lock = node.lock(process(pid), address, Kind::Mutex);
            node.wait(lock, u64::MAX, 1_000);
        }
    }
    let events = node.watch(200);
    assert!(
        events
            .iter()
            .any(|event| event.change == Change::Opened { again: false })
    );
}

/// 200,000 locks that nobody waits for, or for a moment only, leave nothing behind.
#[test]
fn quiet_locks_are_not_remembered() {
    let mut node = Scene::new(&Settings::default());
    let process = node.process(7, "db");
    for address in 0..200_000_u64 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, address % 4, 0);
    }
    assert_eq!(node.look(), []);
    assert_eq!(node.detectors.locks.len(), 0);
    let busy = 7;
    node.wait(busy, 3, 2);
    node.look();
    assert_eq!(node.detectors.locks.len(), 1);
    node.wait(busy, 0, 0);
    node.look();
    assert_eq!(node.detectors.locks.len(), 0);
    node.clear();
    node.look();
    assert_eq!(node.detectors.processes.len(), 0);
}
