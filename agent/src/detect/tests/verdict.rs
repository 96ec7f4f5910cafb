//! When somebody may be restarted.

use super::fixture::{Scene, circle, explanation, process, seconds, with_mutex};
use crate::{
    detect::{settings::Settings, verdict},
    model::{
        Kind,
        explanation::Progress,
        verdict::{Health, Selector, Verdict},
    },
};

fn ask(node: &Scene, selector: &Selector) -> Verdict {
    verdict(&node.view, None, node.detectors.open(), selector)
}

fn of(node: &Scene, pid: u32) -> Health {
    ask(node, &Selector::Pid(pid)).health
}

/// A mutex for which 8 threads have waited for so long, and nothing moves.
fn stuck(time: u64) -> (Scene, usize) {
    let (mut node, lock) = with_mutex(&Settings::default());
    node.process(8, "web");
    node.wait(lock, 8, 0);
    node.watch(time);
    (node, lock)
}

#[test]
fn stuck_is_wedged_and_nobody_else_is() {
    let (node, _) = stuck(29);
    assert_eq!(of(&node, 7), Health::Healthy);
    let (node, _) = stuck(31);
    let verdict = ask(&node, &Selector::Pid(7));
    assert_eq!(verdict.health, Health::Wedged);
    assert_eq!(verdict.schema, "holdup.verdict/v1");
    assert_eq!(verdict.at, "2026-11-26T12:00:31.000Z");
    assert_eq!(verdict.incidents, node.open());
    assert_eq!(
        verdict.text,
        "process 7: wedged: `db` (process 7, db.service): 8 threads wait for mutex at refresh config.c:88, oldest \
         31.0 s, nothing handed on for 31.0 s; who holds it is not known yet"
    );
    assert_eq!(of(&node, 8), Health::Healthy);
    assert_eq!(of(&node, 9), Health::Unknown);
}

#[test]
fn groups_and_pods_are_wedged_with_their_processes() {
    let (mut node, _) = stuck(31);
    let uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    let mut workload = (*node.view.processes[&process(8)].workload).clone();
    workload.pod_uid = Some(uid.into());
    node.view.processes.get_mut(&process(8)).unwrap().workload = workload.into();
    for (selector, health) in [
        (
            Selector::Cgroup("/system.slice/db.service".into()),
            Health::Wedged,
        ),
        (Selector::Cgroup("/system.slice/".into()), Health::Wedged),
        (Selector::Cgroup("/".into()), Health::Wedged),
        (Selector::Cgroup("/system.slice/db".into()), Health::Unknown),
        (
            Selector::Cgroup("/system.slice/web.service".into()),
            Health::Healthy,
        ),
        (Selector::Pod(uid.into()), Health::Healthy),
        (Selector::Pod("another".into()), Health::Unknown),
    ] {
        assert_eq!(ask(&node, &selector).health, health, "{selector:?}");
    }
}

#[test]
fn doubt_is_never_a_reason() {
    let (node, _) = stuck(31);
    let verdict = verdict(
        &node.view,
        Some("the last view is 12 s old"),
        node.detectors.open(),
        &Selector::Pid(7),
    );
    assert_eq!(verdict.health, Health::Unknown);
    assert_eq!(
        verdict.text,
        "process 7: not known: the last view is 12 s old"
    );
    assert_eq!(verdict.incidents, []);
}

#[test]
fn a_slow_holder_that_moves_is_not_wedged() {
    let (mut node, lock) = stuck(31);
    let key = node.only().key;
    for (progress, health) in [
        (Progress::Progressing, Health::Healthy),
        (Progress::Unknown, Health::Wedged),
        (Progress::Stuck, Health::Wedged),
    ] {
        node.detectors
            .explained(&key, Some(explanation(progress)), None);
        assert_eq!(of(&node, 7), health, "{progress:?}");
    }
    // The lock itself moves; the incident is not over yet.
    node.hand_on(lock);
    node.watch(1);
    assert_eq!(node.open().len(), 1);
    assert_eq!(of(&node, 7), Health::Healthy);
    node.wait(lock, 0, 0);
    node.pass(seconds(100));
    assert_eq!(of(&node, 7), Health::Healthy, "nobody waits");
}

#[test]
fn many_waiters_alone_wedge_nobody() {
    let (mut node, lock) = with_mutex(&Settings::default());
    for _ in 0..60 {
        node.wait(lock, 5_000, 5);
        node.hand_on(lock);
        node.watch(1);
    }
    assert_eq!(node.open().len(), 1);
    assert_eq!(of(&node, 7), Health::Healthy);
}

#[test]
fn a_semaphore_needs_a_holder_that_is_stuck() {
    let mut node = Scene::new(&Settings::default());
    let pool = node.process(7, "pool");
    let lock = node.lock(pool, 0x40, Kind::Semaphore);
    node.wait(lock, 8, 0);
    node.watch(31);
    let key = node.only().key;
    assert_eq!(
        of(&node, 7),
        Health::Healthy,
        "perhaps there is nothing to do"
    );
    node.detectors
        .explained(&key, Some(explanation(Progress::Stuck)), None);
    assert_eq!(of(&node, 7), Health::Wedged);
}

#[test]
fn a_deadlock_wedges_all_that_take_part() {
    let mut node = Scene::new(&Settings::default());
    for pid in [7, 8, 9] {
        node.process(pid, "db");
        node.lock(process(pid), 0x40, Kind::Mutex);
    }
    node.view.deadlocks.push(circle((7, 0x40), (8, 0x40)));
    node.look();
    assert_eq!(
        [7, 8, 9].map(|pid| of(&node, pid)),
        [Health::Wedged, Health::Wedged, Health::Healthy]
    );
    // It has just been broken; the incident is not over yet.
    node.view.deadlocks.clear();
    node.watch(1);
    assert_eq!(node.open().len(), 1);
    assert_eq!(of(&node, 7), Health::Healthy);
}

#[test]
fn each_process_of_an_incident_is_asked_for_itself() {
    let mut node = Scene::new(&Settings::default());
    for (pid, waiters) in [(7, 9), (8, 5), (9, 3), (10, 2)] {
        node.process(pid, "db");
        let lock = node.lock(process(pid), 0x40, Kind::Mutex);
        node.wait(lock, waiters, 0);
    }
    node.watch(31);
    assert_eq!(node.only().waiters, 19);
    node.hand_on(2);
    node.wait(3, 1, 3);
    node.look();
    let health = [7, 8, 9, 10].map(|pid| of(&node, pid));
    use Health::{Healthy, Wedged};
    assert_eq!(health, [Wedged, Wedged, Healthy, Healthy]);
}
