//! What people read.

use super::fixture::{SECOND, Scene, holder, only, with_mutex};
use crate::model::{Kind, explanation::Confidence, workload::Workload};

#[test]
fn what_who_since_when_and_where() {
    let (mut node, lock) = with_mutex(&only("parked"));
    node.change(lock).symbol = Some("cache_lock".into());
    node.change(lock).site = Some("config.c:88".into());
    node.change(lock).holder = Some(holder(4711, Confidence::Exact));
    node.wait(lock, 212, 39);
    node.watch(2);
    assert_eq!(
        node.only().text,
        "`db` (process 7, db.service): 212 threads wait for mutex `cache_lock` (config.c:88), oldest 41.0 s; held by \
         thread 4711 `sync-worker` (glibc mutex owner word)"
    );
    node.change(lock).abandoned = true;
    node.change(lock).oldest_is_at_least = true;
    node.change(lock).site = None;
    node.watch(1);
    assert_eq!(
        node.only().text,
        "`db` (process 7, db.service): 212 threads wait for mutex `cache_lock`, oldest >= 42.0 s; whoever held it has \
         ended without letting go"
    );
}

#[test]
fn each_reason_says_what_it_saw() {
    let (mut node, lock) = with_mutex(&only("stalled"));
    node.wait(lock, 2, 0);
    node.watch(30);
    let text = node.only().text;
    assert_eq!(
        text,
        "`db` (process 7, db.service): 2 threads wait for mutex at refresh config.c:88, oldest 30.0 s, nothing handed \
         on for 30.0 s; who holds it is not known yet"
    );
    let (mut node, lock) = with_mutex(&only("growing"));
    node.change(lock).site = None;
    for second in 0..80 {
        node.wait(lock, 5 + second / 2, 2);
        node.watch(1);
    }
    let text = node.only().text;
    assert!(
        text.starts_with("`db` (process 7, db.service): 44 threads wait for mutex mutex:3f2a91c0:0x4080, oldest 3.00 s, up from 1"),
        "{text}"
    );
}

#[test]
fn several_locks_and_whole_processes_are_counted() {
    let mut node = Scene::new(&only("parked"));
    for pid in [7, 8, 9] {
        let process = node.process(pid, "db");
        let lock = node.lock(process, 0x40, Kind::RwlockWrite);
        node.wait(lock, 400, 3);
    }
    node.watch(2);
    let text = node.only().text;
    assert!(
        text.contains("1,200 threads wait for rwlock write at refresh config.c:88, the same in 3 places, oldest 5.00 s"),
        "{text}"
    );
    let mut node = Scene::new(&only("parked"));
    let process = node.process(7, "db");
    for address in 0..300 {
        let lock = node.lock(process, address * 64, Kind::Mutex);
        node.wait(lock, 1, 5);
    }
    node.watch(2);
    assert_eq!(
        node.only().text,
        "`db` (process 7, db.service): 300 threads wait for 300 locks, oldest 7.00 s"
    );
}

#[test]
fn places_are_named_as_people_name_them() {
    let words = |workload| crate::detect::text::in_words(&workload);
    assert_eq!(words(Workload::default()), "");
    let mut workload = Workload {
        container_id: Some("c0ffee0123456789".into()),
        ..Workload::default()
    };
    assert_eq!(words(workload.clone()), "container c0ffee012345");
    workload.pod_uid = Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427".into());
    assert_eq!(words(workload), "pod 1b4e28ba-2fa1-11d2-883f-0016d3cca427");
}

#[test]
fn names_of_a_target_cannot_harm_a_line() {
    let (mut node, lock) = with_mutex(&only("parked"));
    let evil = format!("a\u{1b}[31m\n{}", "b".repeat(10_000));
    let process = super::fixture::process(7);
    node.view
        .processes
        .get_mut(&process)
        .unwrap()
        .comm
        .clone_from(&evil);
    let at_ns = node.view.at_ns;
    let lock = node.change(lock);
    lock.symbol = Some(evil.as_str().into());
    lock.site = Some(evil.as_str().into());
    let mut holder = holder(1, Confidence::Exact);
    holder.comm.clone_from(&evil);
    lock.holder = Some(holder);
    lock.waiters = 100;
    lock.oldest_since_ns = Some(at_ns - 10 * SECOND);
    node.watch(2);
    let text = node.only().text;
    assert!(
        text.len() < 1_000 && !text.contains(['\n', '\u{1b}']),
        "{text}"
    );
}
