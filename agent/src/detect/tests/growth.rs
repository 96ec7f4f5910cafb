//! Waiters that become more.

use super::fixture::{news, only, opened, resolved, with_mutex};
use crate::{
    detect::settings::Settings,
    model::incident::Change::{Doubled, Opened, Refreshed, Resolved},
};

/// Looks once a second while `waiters` tells how many wait; how often it was found.
fn found(seconds: u64, waiters: impl Fn(u64) -> u64) -> Vec<(u64, u64)> {
    let (mut node, lock) = with_mutex(&only("growing"));
    let mut found = Vec::new();
    for second in 0..seconds {
        node.wait(lock, waiters(second), 5);
        for event in news(&node.watch(1)) {
            if event.0 != Doubled {
                assert_eq!(event, opened("growing", event.2));
                found.push((second, event.2));
            }
        }
    }
    found
}

#[test]
fn a_steady_rise_is_found_long_before_it_is_parked() {
    // Half a thread a second, from 5.
    assert_eq!(found(170, |second| 5 + second / 2), [(60, 35)]);
}

#[test]
fn noise_on_a_rise_does_not_hide_it() {
    let noisy = |second: u64| 5 + second / 2 + second * 7_919 % 12;
    assert_eq!(found(150, noisy).len(), 1);
}

#[test]
fn noise_bursts_plateaus_and_falls_are_no_rise() {
    let flat = |second: u64| 30 + second * 7_919 % 40;
    assert_eq!(found(3_600, flat), []);
    let bursts = |second: u64| if second.is_multiple_of(10) { 90 } else { 3 };
    assert_eq!(found(3_600, bursts), []);
    let saw = |second: u64| 10 + second % 30 * 2;
    assert_eq!(found(3_600, saw), []);
    assert_eq!(found(600, |_| 99), []);
    assert_eq!(found(90, |second| 95 - second), []);
}

#[test]
fn a_rise_below_the_threshold_is_nothing() {
    assert_eq!(found(600, |second| (2 + second / 20).min(19)), []);
}

#[test]
fn it_is_over_when_the_waiters_have_gone_not_when_they_stay() {
    let (mut node, lock) = with_mutex(&only("growing"));
    for second in 0..100 {
        node.wait(lock, (5 + second / 2).min(40), 5);
        node.watch(1);
    }
    assert_eq!(node.open().len(), 1);
    node.wait(lock, 40, 5);
    assert_eq!(news(&node.watch(600)), []);
    node.wait(lock, 9, 5);
    assert_eq!(news(&node.watch(30)), [resolved("growing", 9)]);
}

#[test]
fn one_hold_up_is_one_alert_from_its_beginning_to_its_end() {
    let (mut node, lock) = with_mutex(&Settings::default());
    let mut events = Vec::new();
    for second in 0..400 {
        node.wait(lock, (second * 5).min(2_000), second);
        events.extend(node.watch(1));
    }
    node.wait(lock, 0, 0);
    events.extend(node.watch(60));
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.change != Refreshed)
        .map(|event| {
            (
                event.change.clone(),
                event.incident.reason.as_str(),
                event.incident.held_back,
            )
        })
        .collect();
    let alerts: Vec<_> = told
        .iter()
        .filter(|(.., held_back)| held_back.is_none())
        .map(|(change, reason, _)| (change.clone(), *reason))
        .collect();
    let mut expected = vec![(Opened { again: false }, "parked")];
    expected.extend([const { (Doubled, "parked") }; 4]);
    expected.push((Resolved, "parked"));
    assert_eq!(alerts, expected);
    let opened: Vec<_> = told
        .iter()
        .filter(|(change, ..)| *change == Opened { again: false })
        .map(|(_, reason, _)| *reason)
        .collect();
    assert_eq!(opened, ["parked", "stalled", "growing", "long_wait"]);
    assert_eq!(node.open(), []);
}
