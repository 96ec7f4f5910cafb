//! What must never raise anything.

use super::fixture::{SECOND, Scene, holder, seconds};
use crate::{
    detect::settings::Settings,
    model::{Kind, explanation::Confidence, incident::Reason},
};

/// 1,000 of a kind wait for an hour, and nothing is ever handed on.
fn pool(kind: Kind) -> Scene {
    let mut node = Scene::new(&Settings::default());
    let process = node.process(7, "pool");
    let lock = node.lock(process, 0x40, kind);
    for minute in 0..60 {
        node.wait(lock, 1_000, minute * 60 + 1);
        node.pass(seconds(60));
        assert_eq!(node.look(), [], "{kind:?}");
    }
    node
}

#[test]
fn idle_kinds_are_no_lock_waits() {
    for kind in [
        Kind::Condvar,
        Kind::Barrier,
        Kind::Join,
        Kind::Idle,
        Kind::Runtime,
        Kind::Unknown,
    ] {
        let node = pool(kind);
        assert_eq!(node.open().len(), 0);
    }
}

#[test]
fn a_thousand_idle_processes_of_a_worker_each_are_quiet() {
    let mut node = Scene::new(&Settings::default());
    for pid in 1..=1_000 {
        let process = node.process(pid, "worker");
        let lock = node.lock(process, 0x40, Kind::Condvar);
        node.wait(lock, 1, 3_600);
    }
    assert_eq!(node.watch(200), []);
}

#[test]
fn an_unknown_lock_counts_when_memory_knows_its_owner() {
    for (confidence, is_abandoned, reasons) in [
        (
            Some(Confidence::Exact),
            false,
            &[Reason::Parked, Reason::Stalled][..],
        ),
        (None, true, &[Reason::Parked, Reason::Stalled][..]),
        (Some(Confidence::Observed), false, &[]),
        (Some(Confidence::Inferred), false, &[]),
        (None, false, &[]),
    ] {
        let mut node = Scene::new(&Settings::default());
        let process = node.process(7, "db");
        let lock = node.lock(process, 0x40, Kind::Unknown);
        node.change(lock).holder = confidence.map(|confidence| holder(1, confidence));
        node.change(lock).abandoned = is_abandoned;
        node.wait(lock, 200, 0);
        node.watch(40);
        let found: Vec<_> = node.open().iter().map(|incident| incident.reason).collect();
        assert_eq!(found, reasons, "{confidence:?}");
    }
}

#[test]
fn unknown_waits_count_when_asked_to() {
    let settings = Settings {
        count_unknown: true,
        ..Settings::default()
    };
    let mut node = Scene::new(&settings);
    let process = node.process(7, "db");
    let lock = node.lock(process, 0x40, Kind::Unknown);
    node.wait(lock, 200, 0);
    node.watch(5);
    assert_eq!(node.only().reason, Reason::Parked);
}

#[test]
fn a_main_thread_waits_for_its_stop_signal() {
    let mut node = Scene::new(&Settings::default());
    let process = node.process(7, "server");
    let lock = node.lock(process, 0x40, Kind::Semaphore);
    node.wait(lock, 1, 24 * 3_600);
    assert_eq!(node.watch(200), []);
    node.change(lock).holder = Some(holder(4711, Confidence::Observed));
    node.watch(1);
    assert_eq!(node.only().reason, Reason::LongWait, "somebody holds it");
    assert!(node.only().oldest_wait_ns >= Some(24 * 3_600 * SECOND));
}
