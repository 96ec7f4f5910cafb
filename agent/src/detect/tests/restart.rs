//! The agent ends and begins again.

use super::fixture::{Scene, circle, news, only, opened, resolved, seconds, told, with_mutex};
use crate::{
    detect::settings::Settings,
    model::{
        Kind,
        incident::{Change, Event, HeldBackBy, Incident, Reason},
    },
};

/// Another agent on the same node, a minute later.
fn restart(node: Scene, settings: &Settings) -> Scene {
    let mut open = node.open();
    // They come back from a file.
    for incident in &mut open {
        let text = serde_json::to_string(incident).unwrap();
        *incident = serde_json::from_str(&text).unwrap();
    }
    let mut next = Scene::after(settings, open);
    next.view = node.view;
    next.pass(seconds(60));
    next
}

#[test]
fn what_is_still_true_is_open_again_without_an_alert() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    let before = node.only();
    let mut node = restart(node, &only("parked"));
    let events = node.look();
    let again = (Change::Opened { again: true }, "parked".to_owned(), 150);
    assert_eq!(told(&events), [again]);
    let incident = node.only();
    assert_eq!(incident.key, before.key);
    assert_eq!(incident.opened_at, before.opened_at);
    assert_eq!(news(&node.watch(600)), []);
    node.wait(lock, 0, 0);
    let events = node.watch(60);
    assert_eq!(news(&events).len(), 1);
    let text = &events.last().unwrap().incident.text;
    assert!(
        text.contains("resolved after 11m 31s, threads go on"),
        "{text}"
    );
}

#[test]
fn the_lower_threshold_is_enough_to_go_on() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    node.wait(lock, 60, 5);
    let mut node = restart(node, &only("parked"));
    assert_eq!(told(&node.look())[0].0, Change::Opened { again: true });
}

#[test]
fn what_is_not_true_any_more_is_over_after_its_grace() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    node.wait(lock, 0, 0);
    let mut node = restart(node, &only("parked"));
    assert_eq!(node.look(), []);
    assert_eq!(node.watch(59), []);
    let events = node.watch(1);
    assert_eq!(told(&events), [(Change::Resolved, "parked".to_owned(), 0)]);
    let incident = &events[0].incident;
    assert_eq!(
        incident.text,
        "`db` (process 7, db.service): resolved after 2m 01s, it was not found again after a restart of the agent; \
         at most 150 threads waited for mutex at refresh config.c:88"
    );
    assert_eq!(node.watch(600), []);
}

/// A new agent counts hand-offs and waits from its own beginning.
#[test]
fn a_stall_goes_on_though_its_age_is_not_known_any_more() {
    let settings = Settings::default();
    let (mut node, lock) = with_mutex(&settings);
    node.wait(lock, 8, 0);
    node.watch(130);
    let reasons = |node: &Scene| -> Vec<_> {
        let open = node.open().into_iter();
        open.map(|incident| (incident.reason, incident.held_back))
            .collect()
    };
    let all = [
        (Reason::LongWait, Some(HeldBackBy::SameLock)),
        (Reason::Stalled, None),
    ];
    assert_eq!(reasons(&node), all);
    let mut node = restart(node, &settings);
    node.wait(lock, 8, 0);
    node.change(lock).oldest_is_at_least = true;
    let mut events = node.look();
    events.extend(node.watch(200));
    let again = |reason: &str| (Change::Opened { again: true }, reason.to_owned(), 8);
    assert_eq!(news(&events), [again("stalled"), again("long_wait")]);
    assert_eq!(reasons(&node), all);
}

/// The governor has detached the probes and attached them again.
#[test]
fn a_stall_goes_on_though_its_lock_is_counted_anew() {
    let (mut node, lock) = with_mutex(&only("stalled"));
    node.wait(lock, 8, 0);
    node.watch(40);
    node.wait(lock, 8, 0);
    node.change(lock).oldest_is_at_least = true;
    assert_eq!(news(&node.watch(600)), []);
    assert_eq!(node.open().len(), 1);
    node.hand_on(lock);
    assert_eq!(news(&node.watch(29)), []);
    node.hand_on(lock);
    assert_eq!(news(&node.watch(2)), [resolved("stalled", 8)]);
}

#[test]
fn what_follows_one_from_before_is_held_back_for_it() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 50);
    node.watch(2);
    let mut settings = only("parked");
    settings.stalled.enabled = true;
    settings.parked.waiters = 1_000;
    let mut node = restart(node, &settings);
    assert_eq!(news(&node.look()), [opened("stalled", 150)]);
    assert_eq!(node.only().held_back, Some(HeldBackBy::SameLock));
    // Nobody else has an alert for it in the end.
    let events = node.watch(61);
    let changes: Vec<_> = news(&events)
        .into_iter()
        .map(|event| (event.0, event.1))
        .collect();
    assert_eq!(
        changes,
        [
            (Change::Resolved, "parked".to_owned()),
            (Change::Opened { again: false }, "stalled".to_owned())
        ]
    );
    assert_eq!(node.only().held_back, None);
}

#[test]
fn a_late_view_is_not_too_late() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(1);
    let mut node = restart(node, &only("parked"));
    let full = std::mem::take(&mut node.view.locks);
    assert_eq!(node.look(), []);
    node.view.locks = full;
    node.pass(seconds(3_600));
    assert_eq!(told(&node.look())[0].0, Change::Opened { again: true });
}

/// The watch has to look twice to find a circle; until then nothing says what the other incidents belong to.
#[test]
fn what_follows_a_circle_waits_for_it() {
    let settings = Settings::default();
    let mut node = Scene::new(&settings);
    let owner = node.process(7, "db");
    for address in [0x40, 0x80] {
        let lock = node.lock(owner, address, Kind::Mutex);
        node.wait(lock, 4, 0);
    }
    node.view.deadlocks.push(circle((7, 0x40), (7, 0x80)));
    node.watch(60);
    assert_eq!(node.open().len(), 3);
    let mut node = restart(node, &settings);
    let circles = std::mem::take(&mut node.view.deadlocks);
    let mut events = node.look();
    node.view.deadlocks = circles;
    events.extend(node.watch(30));
    let is_alert = |event: &&Event| {
        event.change == Change::Opened { again: false } && event.incident.held_back.is_none()
    };
    assert_eq!(events.iter().filter(is_alert).count(), 0);
    assert_eq!(node.open().len(), 5, "two long waits have come, too");
    assert_eq!(node.only_of(Reason::Deadlock).held_back, None);
}

#[test]
fn a_thousand_are_open_again_at_once() {
    let mut settings = only("parked");
    settings.open_max = 1_000;
    settings.alerts = 5;
    let mut node = Scene::new(&settings);
    let process = node.process(7, "db");
    for address in 0..1_000 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, 100, 5);
    }
    node.watch(2);
    let mut node = restart(node, &settings);
    let events = node.look();
    let again = events
        .iter()
        .filter(|event| event.change == Change::Opened { again: true });
    assert_eq!(again.count(), 1_000);
    let alerts = events.iter().filter(|event| {
        event.change == Change::Opened { again: false } && event.incident.held_back.is_none()
    });
    assert_eq!(alerts.count(), 5, "of those that never had one");
}

#[test]
fn a_key_from_elsewhere_is_made_anew() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    let key = node.only().key;
    let incident = Incident {
        key: "of another version".to_owned(),
        ..node.only()
    };
    let mut next = Scene::after(&only("parked"), vec![incident]);
    next.view = node.view;
    assert_eq!(told(&next.look())[0].0, Change::Opened { again: true });
    assert_eq!(next.only().key, key);
}
