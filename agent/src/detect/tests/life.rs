//! From the first event to the last.

use super::fixture::{
    SECOND, Scene, circle, explanation, news, only, opened, process, resolved, seconds, told,
    with_mutex,
};
use crate::{
    detect::settings::Settings,
    model::{
        Kind,
        explanation::Progress,
        incident::{Change, HeldBackBy, Reason, SCHEMA, Status},
        watch::ProcessKey,
    },
};

#[test]
fn ten_thousand_waiters_are_one_incident() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 10_000, 41);
    assert_eq!(told(&node.watch(1)), [opened("parked", 10_000)]);
    let incident = node.only();
    assert_eq!(incident.schema, SCHEMA);
    assert_eq!(incident.status, Status::Open);
    assert_eq!((incident.pid, incident.comm.as_str()), (7, "db"));
    assert_eq!(incident.workload.unit.as_deref(), Some("db.service"));
    assert_eq!(incident.opened_at, "2026-11-26T12:00:01.000Z");
    assert_eq!(incident.refreshed_at, incident.opened_at);
    assert_eq!((incident.waiters, incident.waiters_peak), (10_000, 10_000));
    assert_eq!(incident.oldest_wait_ns, Some(42 * SECOND));
    let lock = incident.lock.unwrap();
    assert_eq!(
        (lock.id.as_str(), lock.address),
        ("mutex:3f2a91c0:0x4080", 0x4080)
    );
}

#[test]
fn it_gives_signs_of_life_and_one_end() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    let mut events = node.watch(2);
    events.extend(node.watch(35));
    node.wait(lock, 0, 0);
    events.extend(node.watch(100));
    let beat = (Change::Refreshed, "parked".to_owned(), 150);
    assert_eq!(
        told(&events),
        [
            opened("parked", 150),
            beat.clone(),
            beat.clone(),
            beat,
            resolved("parked", 0)
        ]
    );
    let end = &events.last().unwrap().incident;
    assert_eq!(end.status, Status::Resolved);
    assert_eq!(
        end.refreshed_at, "2026-11-26T12:00:37.000Z",
        "last seen to be true"
    );
    assert_eq!(end.resolved_at.as_deref(), Some("2026-11-26T12:01:07.000Z"));
    assert_eq!(end.waiters_peak, 150);
    assert!(events.iter().all(|event| event.incident.key == end.key));
}

#[test]
fn each_doubling_is_told_once() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 100, 5);
    node.watch(2);
    let mut events = Vec::new();
    for waiters in [199, 200, 300, 399, 400, 120, 400, 799, 2_000, 3_999] {
        node.wait(lock, waiters, 5);
        events.extend(node.watch(1));
    }
    let doubled = |waiters| (Change::Doubled, "parked".to_owned(), waiters);
    assert_eq!(news(&events), [doubled(200), doubled(400), doubled(2_000)]);
}

#[test]
fn processes_of_one_program_are_one_incident() {
    let mut node = Scene::new(&only("parked"));
    for (pid, waiters) in [(7, 100), (8, 300), (9, 99), (10, 300)] {
        node.process(pid, "db");
        let lock = node.lock(process(pid), 0x4080, Kind::Mutex);
        node.wait(lock, waiters, 5);
    }
    assert_eq!(told(&node.watch(2)), [opened("parked", 700)]);
    let incident = node.only();
    assert_eq!(incident.pid, 8, "the worst; of equals, the first");
    // The one that is near its threshold belongs to what is open.
    node.watch(1);
    assert_eq!(node.only().waiters, 799);
}

#[test]
fn programs_and_places_are_told_apart() {
    let mut node = Scene::new(&only("parked"));
    for (pid, comm) in [(7, "db"), (8, "web")] {
        node.process(pid, comm);
        let lock = node.lock(process(pid), 0x4080, Kind::Mutex);
        node.wait(lock, 100, 5);
    }
    assert_eq!(news(&node.watch(2)).len(), 2);
    let keys: Vec<_> = node
        .open()
        .into_iter()
        .map(|incident| incident.key)
        .collect();
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_key_outlives_the_process() {
    let run = |pid, generation, address| {
        let mut node = Scene::new(&only("parked"));
        node.process(pid, "db");
        let old = node.view.processes.remove(&process(pid)).unwrap();
        let key = ProcessKey { pid, generation };
        let moved = crate::model::watch::Process { key, ..old };
        node.view.processes.insert(key, moved);
        let lock = node.lock(key, address, Kind::Mutex);
        node.change(lock).id = "mutex:3f2a91c0:0x4080".into();
        node.wait(lock, 100, 5);
        node.watch(2);
        node.only().key
    };
    assert_eq!(run(7, 1, 0x5555_0000_4080), run(4_711, 9, 0x5678_0000_4080));
}

#[test]
fn a_lock_that_gets_another_id_keeps_its_incident() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 100, 5);
    node.watch(2);
    node.change(lock).id = "mutex@9c1f04d2a7b35e68".into();
    assert_eq!(news(&node.watch(100)), []);
    assert_eq!(node.only().lock.unwrap().id, "mutex@9c1f04d2a7b35e68");
}

#[test]
fn a_process_that_is_gone_is_said_to_be() {
    for (is_counted, words) in [
        (true, "process 7 is gone;"),
        (false, "process 7 is gone or waits for nothing;"),
    ] {
        let (mut node, lock) = with_mutex(&only("parked"));
        if !is_counted {
            node.change(lock).counts = None;
        }
        node.wait(lock, 100, 5);
        node.watch(2);
        node.clear();
        let events = node.watch(60);
        assert_eq!(news(&events), [resolved("parked", 0)]);
        let text = &events.last().unwrap().incident.text;
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_deadlock_is_certain_at_once_and_explains_itself() {
    let mut node = Scene::new(&Settings::default());
    let owner = node.process(7, "db");
    for address in [0x80, 0x40] {
        let lock = node.lock(owner, address, Kind::Mutex);
        node.wait(lock, 1, 3);
    }
    node.view.deadlocks.push(circle((7, 0x80), (7, 0x40)));
    assert_eq!(told(&node.look()), [opened("deadlock", 2)]);
    let incident = node.only();
    assert_eq!(
        incident.lock.unwrap().id,
        "mutex:3f2a91c0:0x40",
        "the first by id"
    );
    let explanation = incident.explanation.unwrap();
    assert!(explanation.deadlock && explanation.progress == Progress::Stuck);
    assert_eq!(explanation.chain.len(), 4);
    // Both of its locks have long waits, too, of which nobody needs to hear.
    node.watch(150);
    let open = node.open();
    assert_eq!(open.len(), 3);
    for incident in open {
        let is_lead = incident.reason == Reason::Deadlock;
        assert_eq!(
            incident.held_back,
            (!is_lead).then_some(HeldBackBy::SameLock)
        );
    }
    node.clear();
    let events = node.watch(60);
    assert_eq!(news(&events).len(), 3);
    assert_eq!(node.open(), []);
}

#[test]
fn the_same_circle_begun_elsewhere_is_the_same() {
    let key = |first: (u32, u64), second: (u32, u64)| {
        let mut node = Scene::new(&Settings::default());
        for pid in [7, 8] {
            node.process(pid, if pid == 7 { "db" } else { "web" });
            node.lock(process(pid), 0x40, Kind::Mutex);
        }
        node.view.deadlocks.push(circle(first, second));
        node.look();
        node.only().key
    };
    assert_eq!(key((7, 0x40), (8, 0x40)), key((8, 0x40), (7, 0x40)));
}

#[test]
fn the_one_that_alerted_stays_until_all_of_the_lock_is_over() {
    let mut settings = Settings::default();
    settings.growing.enabled = false;
    let (mut node, lock) = with_mutex(&settings);
    node.wait(lock, 200, 5);
    node.watch(40);
    let marks = |node: &Scene| -> Vec<_> {
        let open = node.open().into_iter();
        open.map(|incident| (incident.reason, incident.held_back))
            .collect()
    };
    let both = [
        (Reason::Parked, None),
        (Reason::Stalled, Some(HeldBackBy::SameLock)),
    ];
    assert_eq!(marks(&node), both);
    // Not many any more, but they are stuck as before.
    node.wait(lock, 10, 40);
    assert_eq!(news(&node.watch(60)), []);
    assert_eq!(marks(&node), both);
    assert_eq!(node.only_of(Reason::Parked).waiters, 10);
    node.hand_on(lock);
    node.wait(lock, 0, 0);
    let events = node.watch(60);
    assert_eq!(news(&events).len(), 2);
    assert_eq!(node.open(), []);
}

#[test]
fn what_was_found_out_is_kept_and_told() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 212, 39);
    node.watch(2);
    let key = node.only().key;
    let explained = Some(explanation(Progress::Stuck));
    let event = node
        .detectors
        .explained(&key, explained.clone(), Some("a.json".into()))
        .unwrap();
    assert_eq!(event.change, Change::Explained);
    assert_eq!(event.incident.snapshots, ["a.json"]);
    assert_eq!(
        event.incident.text,
        "`db` (process 7, db.service): 212 threads wait for mutex `cache_lock`, oldest 41.0 s; held by thread 4711"
    );
    node.wait(lock, 300, 50);
    node.watch(1);
    let incident = node.only();
    assert_eq!(incident.explanation, explained);
    assert_eq!(
        incident.text,
        "`db` (process 7, db.service): 212 threads wait for mutex `cache_lock`, oldest 41.0 s; held by thread 4711; \
         now 300 threads wait, oldest 51.0 s"
    );
    for number in 0..100 {
        node.detectors
            .explained(&key, None, Some(format!("{number}.json")));
        node.detectors
            .explained(&key, None, Some(format!("{number}.json")));
    }
    let snapshots = node.only().snapshots;
    assert_eq!(
        (snapshots.len(), snapshots.last().unwrap().as_str()),
        (32, "99.json")
    );
    node.clear();
    node.watch(60);
    assert_eq!(
        node.detectors.explained(&key, explained, None),
        None,
        "it is over"
    );
}

#[test]
fn other_settings_keep_what_is_open() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.wait(lock, 150, 5);
    node.watch(2);
    let mut settings = only("parked");
    settings.parked.waiters = 200;
    node.detectors.reconfigure(&settings);
    assert_eq!(
        news(&node.watch(60)),
        [],
        "150 is above the new lower threshold"
    );
    settings.parked.waiters = 400;
    node.detectors.reconfigure(&settings);
    assert_eq!(news(&node.watch(60)), [resolved("parked", 150)]);
    settings.resolve_after = seconds(1);
    settings.heartbeat = seconds(1);
    node.detectors.reconfigure(&settings);
    node.wait(lock, 400, 5);
    assert_eq!(news(&node.watch(2)), [opened("parked", 400)]);
    node.wait(lock, 0, 0);
    assert_eq!(news(&node.watch(2)), [resolved("parked", 0)]);
}
