//! Which rule decides, and what it changes.

use std::sync::Arc;

use super::fixture::{Scene, news, opened, seconds, told};
use crate::{
    detect::{Rule, settings::Settings},
    model::{
        Kind,
        health::HeldBack,
        incident::{Change, HeldBackBy, Reason},
        workload::Workload,
    },
};

fn settings(rules: &str) -> Settings {
    #[derive(serde::Deserialize)]
    struct File {
        rule: Vec<Rule>,
    }
    let file: File = toml::from_str(rules).unwrap();
    let settings = Settings {
        rules: file.rule,
        ..Settings::default()
    };
    settings.check().unwrap();
    settings
}

/// A process in a pod with 150 waiters.
fn pod(settings: &Settings) -> (Scene, usize) {
    let mut node = Scene::new(settings);
    let process = node.process(7, "importer");
    let workload = Workload {
        cgroup: Some(
            "/kubepods.slice/kubepods-besteffort.slice/cri-containerd-c0ffee.scope".into(),
        ),
        container_id: Some("c0ffee".into()),
        container_runtime: Some("containerd".into()),
        pod_uid: Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427".into()),
        qos_class: Some("besteffort".into()),
        unit: Some("importer.service".into()),
    };
    node.view.processes.get_mut(&process).unwrap().workload = Arc::new(workload);
    let lock = node.lock(process, 0x40, Kind::Mutex);
    node.wait(lock, 150, 5);
    (node, lock)
}

/// Whether a mute rule that says this, too, matches.
fn matches(condition: &str) -> bool {
    let (mut node, _) = pod(&settings(&format!("[[rule]]\nmute = true\n{condition}")));
    assert_eq!(
        news(&node.watch(2)),
        [opened("parked", 150)],
        "muted or not, it exists"
    );
    node.only().held_back == Some(HeldBackBy::Muted)
}

#[test]
fn all_that_is_given_must_match() {
    for (condition, expected) in [
        ("", true),
        ("process = \"importer\"", true),
        ("process = \"imp*\"", true),
        ("process = \"import\"", false),
        ("cgroup = \"/kubepods*containerd-*\"", true),
        ("cgroup = \"/kubepods.slice\"", false),
        ("unit = \"{importer,exporter}.service\"", true),
        ("container = \"c0ff??\"", true),
        ("container = \"c0ff?\"", false),
        ("pod = \"1b4e28ba-*\"", true),
        ("lock = \"mutex:3f2a91c0:*\"", true),
        ("lock = \"rwlock:*\"", false),
        ("kinds = [\"rwlock_read\", \"mutex\"]", true),
        ("kinds = [\"semaphore\"]", false),
        ("reasons = [\"parked\"]", true),
        ("reasons = [\"stalled\"]", false),
        ("process = \"imp*\"\npod = \"2*\"", false),
        ("process = \"imp*\"\npod = \"1*\"\nlock = \"*0x40\"", true),
        ("until = \"2026-11-26T12:01:00Z\"", true),
        ("until = \"2026-11-26T11:59:59Z\"", false),
    ] {
        assert_eq!(matches(condition), expected, "{condition}");
    }
}

#[test]
fn what_is_not_known_of_a_process_matches_no_pattern() {
    let settings = settings("[[rule]]\nmute = true\npod = \"*\"");
    let mut node = Scene::new(&settings);
    let process = node.process(7, "db");
    let lock = node.lock(process, 0x40, Kind::Mutex);
    node.wait(lock, 150, 5);
    node.watch(2);
    assert_eq!(node.only().held_back, None);
}

#[test]
fn the_first_that_matches_decides_for_each_reason() {
    let rules = "
        [[rule]]
        process = \"imp*\"
        parked.waiters = 151
        [[rule]]
        process = \"importer\"
        reasons = [\"parked\", \"long_wait\"]
        parked.waiters = 10
        long_wait.for = \"10s\"
        [[rule]]
        process = \"importer\"
        mute = true
    ";
    let (mut node, lock) = pod(&settings(rules));
    assert_eq!(
        news(&node.watch(24)),
        [],
        "the first one has raised the threshold"
    );
    node.wait(lock, 151, 5);
    let events = node.watch(2);
    assert_eq!(news(&events), [opened("parked", 151)]);
    assert_eq!(node.only().held_back, None, "it does not mute");
    let (mut node, _) = pod(&settings(
        &rules.replace("process = \"imp*\"", "process = \"x\""),
    ));
    node.watch(2);
    assert_eq!(node.only().reason, Reason::Parked);
    node.watch(4);
    assert_eq!(
        node.only_of(Reason::LongWait).held_back,
        Some(HeldBackBy::SameLock)
    );
    node.watch(30);
    assert_eq!(
        node.only_of(Reason::Stalled).held_back,
        Some(HeldBackBy::Muted)
    );
}

#[test]
fn thresholds_of_a_process_as_a_whole_come_from_rules_about_processes() {
    let rules = "
        [[rule]]
        process = \"db\"
        lock = \"mutex:*\"
        parked.process_waiters = 1
        parked.waiters = 1000
        [[rule]]
        process = \"db\"
        parked.process_waiters = 500
    ";
    let mut node = Scene::new(&settings(rules));
    let process = node.process(7, "db");
    for address in 0..400 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, 1, 5);
    }
    assert_eq!(news(&node.watch(20)), []);
    for address in 400..500 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, 1, 5);
    }
    assert_eq!(news(&node.watch(2)), [opened("parked", 500)]);
}

#[test]
fn a_mute_that_ends_lets_the_alert_go() {
    let (mut node, _) = pod(&settings(
        "[[rule]]\nmute = true\nuntil = \"2026-11-26T12:00:10Z\"",
    ));
    node.watch(9);
    assert_eq!(node.only().held_back, Some(HeldBackBy::Muted));
    let held_back = HeldBack {
        muted: 1,
        ..HeldBack::default()
    };
    assert_eq!(node.detectors.held_back(), held_back);
    let events = node.watch(1);
    assert_eq!(told(&events), [opened("parked", 150)]);
    assert_eq!(node.only().held_back, None);
}

#[test]
fn a_mute_that_comes_later_is_for_what_is_open_too() {
    let (mut node, lock) = pod(&Settings::default());
    node.watch(2);
    assert_eq!(node.only().held_back, None);
    node.detectors
        .reconfigure(&settings("[[rule]]\nmute = true\nprocess = \"imp*\""));
    node.watch(1);
    assert_eq!(node.only().held_back, Some(HeldBackBy::Muted));
    node.wait(lock, 0, 0);
    let events = node.watch(60);
    assert_eq!(events.last().unwrap().change, Change::Resolved);
    assert_eq!(
        events.last().unwrap().incident.held_back,
        Some(HeldBackBy::Muted)
    );
}

#[test]
fn unknown_waits_count_for_one_program() {
    let mut node = Scene::new(&settings(
        "[[rule]]\nprocess = \"python\"\ncount_unknown = true",
    ));
    for (pid, comm) in [(7, "python"), (8, "node")] {
        let process = node.process(pid, comm);
        let lock = node.lock(process, 0x40, Kind::Unknown);
        node.wait(lock, 150, 5);
    }
    assert_eq!(news(&node.watch(2)), [opened("parked", 150)]);
    assert_eq!(node.only().comm, "python");
}

#[test]
fn a_process_that_changes_its_name_is_matched_anew() {
    let (mut node, _) = pod(&settings("[[rule]]\nmute = true\nprocess = \"worker\""));
    node.watch(2);
    assert_eq!(node.only().held_back, None);
    let process = super::fixture::process(7);
    node.view.processes.get_mut(&process).unwrap().comm = "worker".into();
    node.pass(seconds(1));
    node.look();
    assert_eq!(node.only().held_back, Some(HeldBackBy::Muted));
}
