//! What hovers about a threshold, what flaps, and what is too much at once.

use super::fixture::{Scene, news, only, opened, resolved, seconds, told, with_mutex};
use crate::model::{
    Kind,
    health::HeldBack,
    incident::{Change, HeldBackBy},
};

#[test]
fn between_the_thresholds_nothing_begins_and_nothing_ends() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 99, 0);
    assert_eq!(node.watch(60), []);
    node.wait(lock, 100, 60);
    assert_eq!(news(&node.watch(2)), [opened("parked", 100)]);
    for waiters in [50, 99, 60, 100, 51] {
        node.wait(lock, waiters, 60);
        assert_eq!(news(&node.watch(60)), [], "{waiters}");
    }
    node.wait(lock, 49, 60);
    assert_eq!(news(&node.watch(29)), []);
    assert_eq!(news(&node.watch(1)), [resolved("parked", 49)]);
}

#[test]
fn it_must_last_to_begin() {
    let mut settings = only("parked");
    settings.parked.r#for = seconds(10);
    let (mut node, lock) = with_mutex(&settings);
    for _ in 0..20 {
        node.wait(lock, 100, 5);
        assert_eq!(node.watch(10), []);
        node.wait(lock, 60, 5);
        assert_eq!(node.watch(1), []);
    }
    node.wait(lock, 100, 5);
    assert_eq!(news(&node.watch(11)), [opened("parked", 100)]);
}

#[test]
fn a_short_rest_does_not_end_it() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 100, 5);
    node.watch(2);
    for _ in 0..10 {
        node.wait(lock, 0, 0);
        assert_eq!(news(&node.watch(29)), []);
        node.wait(lock, 100, 5);
        assert_eq!(news(&node.watch(1)), []);
    }
}

/// A lock that is held up for 10 seconds in every 60.
#[test]
fn what_flaps_alerts_once_in_a_cool_down() {
    let (mut node, lock) = with_mutex(&only("parked"));
    let mut alerts = 0;
    let mut opened = 0;
    for _ in 0..60 {
        for (waiters, time) in [(200, 10), (0, 50)] {
            node.wait(lock, waiters, 5);
            for event in node.watch(time) {
                if event.change == (Change::Opened { again: false }) {
                    opened += 1;
                    alerts += u64::from(event.incident.held_back.is_none());
                }
            }
        }
    }
    // An hour; each alert is followed by ten minutes of cool-down, counted from its end.
    assert_eq!((opened, alerts), (60, 6));
    let held_back = HeldBack {
        cool_down: 54,
        ..HeldBack::default()
    };
    assert_eq!(node.detectors.held_back(), held_back);
}

#[test]
fn what_goes_on_after_its_cool_down_is_told() {
    let (mut node, lock) = with_mutex(&only("parked"));
    for waiters in [200, 0] {
        node.wait(lock, waiters, 5);
        node.watch(32);
    }
    node.wait(lock, 200, 5);
    let events = node.watch(2);
    assert_eq!(news(&events), [opened("parked", 200)]);
    assert_eq!(node.only().held_back, Some(HeldBackBy::CoolDown));
    // 600 seconds from the end of the first; 4 of them are over.
    let events = node.watch(595);
    assert_eq!(news(&events), []);
    assert!(
        events
            .iter()
            .all(|event| event.incident.held_back.is_some())
    );
    let events = node.watch(1);
    assert_eq!(told(&events), [opened("parked", 200)]);
    assert_eq!(node.only().held_back, None);
    assert_eq!(news(&node.watch(600)), []);
}

#[test]
fn the_rate_limit_holds_back_and_says_so() {
    let mut settings = only("parked");
    settings.alerts = 3;
    settings.alerts_within = seconds(60);
    let mut node = Scene::new(&settings);
    let process = node.process(7, "db");
    for address in 0..10 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, 100, 5);
    }
    let events = node.watch(2);
    assert_eq!(news(&events).len(), 10, "all exist");
    let alerts = |events: &[crate::model::incident::Event]| {
        let alerts = events.iter().filter(|event| {
            event.change == Change::Opened { again: false } && event.incident.held_back.is_none()
        });
        alerts.count()
    };
    assert_eq!(alerts(&events), 3);
    let held_back = HeldBack {
        rate_limit: 7,
        ..HeldBack::default()
    };
    assert_eq!(node.detectors.held_back(), held_back);
    assert_eq!(alerts(&node.watch(58)), 0);
    assert_eq!(alerts(&node.watch(1)), 3, "three more have room");
    assert_eq!(alerts(&node.watch(120)), 4);
    assert_eq!(node.detectors.held_back(), held_back, "each counts once");
    assert!(
        node.open()
            .iter()
            .all(|incident| incident.held_back.is_none())
    );
}

#[test]
fn there_is_an_end_to_open_incidents_and_room_comes_by_itself() {
    let mut settings = only("parked");
    settings.open_max = 4;
    let mut node = Scene::new(&settings);
    let process = node.process(7, "db");
    let locks: Vec<_> = (0..10)
        .map(|address| node.lock(process, address * 64, Kind::Mutex))
        .collect();
    for &lock in &locks {
        node.wait(lock, 100, 5);
    }
    assert_eq!(news(&node.watch(100)).len(), 4);
    assert_eq!(node.open().len(), 4);
    assert_eq!(node.detectors.left_out(), 6);
    let first = node.open();
    for &lock in &locks {
        let id = &node.view.locks[lock].id;
        if first
            .iter()
            .any(|incident| incident.lock.as_ref().unwrap().id == **id)
        {
            node.wait(lock, 0, 0);
        }
    }
    // Nothing is resolved by anything but time, however full it is.
    let events = news(&node.watch(30));
    let ends = |change: &Change| events.iter().filter(|event| event.0 == *change).count();
    assert_eq!(ends(&Change::Resolved), 4);
    assert_eq!(ends(&Change::Opened { again: false }), 4);
    assert_eq!(node.open().len(), 4);
    assert_eq!(node.detectors.left_out(), 6, "each counts once");
}
