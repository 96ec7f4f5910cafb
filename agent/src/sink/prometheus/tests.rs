//! Totals against a node that knows its own counts.

mod goroutines;
mod hostile;
mod incidents;
mod node;
mod property;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use node::{Node, Place};

use super::{Exposition, Format, Http, Settings, Totals, exposition::Value};
use crate::model::{Kind, health::Health, watch::View};

/// Series by name and labels.
type Series<T> = BTreeMap<(String, String), T>;

/// What one scrape shows.
#[derive(Debug, Default)]
struct Shown {
    counters: Series<f64>,
    /// Waits, nanoseconds.
    waits: Series<(u64, u128)>,
    gauges: Series<f64>,
}

fn shown(exposition: &Exposition) -> Shown {
    let mut shown = Shown::default();
    for family in exposition.0.iter() {
        for (labels, value) in &family.series {
            let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
            let labels: Vec<_> = labels.collect();
            let key = (family.name.to_owned(), labels.join(","));
            #[expect(clippy::cast_precision_loss, reason = "test values are small")]
            let twice = match value {
                Value::Count(value) => shown.counters.insert(key, *value as f64).is_some(),
                Value::CountSeconds(value) => shown.counters.insert(key, *value).is_some(),
                Value::Now(value) => shown.gauges.insert(key, *value as f64).is_some(),
                Value::NowFloat(value) => shown.gauges.insert(key, *value).is_some(),
                Value::Info => false,
                Value::Waits(amounts, _) => {
                    let waits = (amounts.waits(), amounts.wait_ns);
                    shown.waits.insert(key, waits).is_some()
                }
            };
            assert!(
                !twice,
                "{} has the same labels twice: {labels:?}",
                family.name
            );
        }
    }
    shown
}

fn scrape(totals: &mut Totals) -> Shown {
    shown(&totals.scrape(&Health::default(), &[], Http::default()))
}

fn waits_of(shown: &Shown) -> BTreeMap<&str, u64> {
    let waits = shown.waits.iter();
    waits
        .map(|((_, labels), (waits, _))| (labels.as_str(), *waits))
        .collect()
}

fn settings(top_locks: usize) -> Settings {
    Settings {
        top_locks,
        linger: Duration::from_secs(60),
        ..Settings::default()
    }
}

#[test]
fn the_top_has_series_and_the_rest_is_exact() {
    let mut totals = Totals::new(settings(1));
    let mut node = Node::default();
    node.start(1, "server");
    let (big, small) = (Place::new(1, 1, Kind::Mutex), Place::new(1, 2, Kind::Mutex));
    node.wait(big, 10, 1_000_000_000, 0);
    node.wait(small, 3, 1000, 2);
    totals.observe(&node.view(1));
    let first = scrape(&mut totals);
    let own = "process=server,kind=mutex,lock=mutex:1,site=site 1";
    let rest = "process=server,kind=mutex,lock=other";
    assert_eq!(waits_of(&first), [(own, 10), (rest, 3)].into());
    let waiters = ("holdup_lock_waiters".to_owned(), rest.to_owned());
    assert_eq!(first.gauges[&waiters], 2.0);

    // The other one takes the lead: what it counted before stays where it was counted.
    node.wait(small, 100, 1_000_000_000, 0);
    totals.observe(&node.view(2));
    let new = "process=server,kind=mutex,lock=mutex:2,site=site 2";
    assert_eq!(
        waits_of(&scrape(&mut totals)),
        [(own, 10), (new, 100), (rest, 3)].into()
    );

    // Out of the top, but still shown and counted on its own.
    node.wait(big, 1, 10, 0);
    totals.observe(&node.view(3));
    assert_eq!(
        waits_of(&scrape(&mut totals)),
        [(own, 11), (new, 100), (rest, 3)].into()
    );

    // After a while it is dropped, and its counts are kept.
    totals.observe(&node.view(70));
    let last = scrape(&mut totals);
    assert_eq!(waits_of(&last), [(new, 100), (rest, 3)].into());
    let expired = ("holdup_expired_waits".to_owned(), String::new());
    assert_eq!(last.counters[&expired], 11.0);
}

#[test]
fn a_lock_that_hangs_is_in_the_top_before_one_that_was_slow_for_months() {
    let mut totals = Totals::new(settings(1));
    let mut node = Node::default();
    node.start(1, "server");
    let (old, hung) = (Place::new(1, 1, Kind::Mutex), Place::new(1, 2, Kind::Mutex));
    node.wait(old, 1_000_000, 10_000_000_000, 0);
    totals.observe(&node.view(1));
    node.wait(hung, 0, 0, 50);
    totals.observe(&node.view(3 * 3600));
    let hung = "process=server,kind=mutex,lock=mutex:2,site=site 2".to_owned();
    let oldest = scrape(&mut totals).gauges[&("holdup_lock_oldest_wait".to_owned(), hung)];
    assert_eq!(oldest, f64::from(3 * 3600 - 1));
}

#[test]
fn kinds_that_are_no_locks_are_only_parked() {
    let mut totals = Totals::new(settings(10));
    let mut node = Node::default();
    node.start(1, "pool");
    node.wait(Place::new(1, 1, Kind::Idle), 5, 100, 1000);
    node.wait(Place::new(1, 2, Kind::Unknown), 7, 100, 1);
    totals.observe(&node.view(1));
    let shown = scrape(&mut totals);
    let unknown = "process=pool,kind=unknown,lock=other";
    assert_eq!(waits_of(&shown), [(unknown, 7)].into());
    let parked = |labels: &str| {
        let key = ("holdup_parked_threads".to_owned(), labels.to_owned());
        shown.gauges[&key]
    };
    assert_eq!(parked("process=pool,kind=idle"), 1000.0);
    assert_eq!(parked("process=pool,kind=unknown"), 1.0);
}

#[test]
fn what_is_not_counted_is_absent_and_comes_back_where_it_was() {
    let mut totals = Totals::new(settings(10));
    let mut node = Node::default();
    node.start(1, "server");
    let lock = Place::new(1, 1, Kind::Mutex);
    node.wait(lock, 10, 1000, 3);
    totals.observe(&node.view(1));
    assert_eq!(scrape(&mut totals).waits.len(), 1);

    node.census(true);
    totals.observe(&node.view(2));
    let exposition = totals.scrape(&Health::default(), &[], Http::default());
    let text = exposition.encode(Format::OpenMetrics).unwrap();
    for absent in [
        "holdup_lock_wait_seconds",
        "holdup_lock_handoffs",
        "holdup_expired",
    ] {
        assert!(!text.contains(absent), "{absent} in\n{text}");
    }
    assert!(text.contains("holdup_lock_waiters{"), "{text}");

    node.census(false);
    node.wait(lock, 2, 1000, 3);
    totals.observe(&node.view(3));
    let waits: Vec<_> = scrape(&mut totals).waits.into_values().collect();
    // Attached anew: the kernel's table was empty.
    assert_eq!(waits, [(12, 12_000)]);
}

#[test]
fn the_last_counts_of_a_process_are_its_own() {
    let mut totals = Totals::new(settings(10));
    let mut node = Node::default();
    node.start(1, "server");
    let lock = Place::new(1, 1, Kind::Mutex);
    node.wait(lock, 10, 1000, 3);
    totals.observe(&node.view(1));
    node.wait(lock, 5, 1000, 0);
    let mut last = View::clone(&node.view(2));
    last.processes.clear();
    totals.observe(&Arc::new(last));
    let own = "process=server,kind=mutex,lock=mutex:1,site=site 1";
    assert_eq!(waits_of(&scrape(&mut totals)), [(own, 15)].into());
}

#[test]
fn more_processes_than_places_share_one_and_the_dead_make_room() {
    let mut totals = Totals::new(Settings {
        max_processes: 2,
        ..settings(10)
    });
    let mut node = Node::default();
    for (pid, comm) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        node.start(pid, comm);
        node.wait(Place::new(pid, 1, Kind::Mutex), pid.into(), 10, 1);
    }
    totals.observe(&node.view(1));
    let shown = scrape(&mut totals);
    let waits = waits_of(&shown);
    assert_eq!(waits["process=other,kind=mutex,lock=other"], 7);
    assert_eq!(waits.len(), 3);
    let folded = ("holdup_folded".to_owned(), "what=process".to_owned());
    assert_eq!(shown.gauges[&folded], 2.0);

    node.exit(1);
    totals.observe(&node.view(2));
    node.wait(Place::new(3, 1, Kind::Mutex), 5, 10, 1);
    totals.observe(&node.view(3));
    let shown = scrape(&mut totals);
    let waits = waits_of(&shown);
    assert_eq!(waits["process=c,kind=mutex,lock=mutex:1,site=site 1"], 5);
    let expired = ("holdup_expired_waits".to_owned(), String::new());
    assert_eq!(shown.counters[&expired], 1.0);
    assert_eq!(shown.gauges[&folded], 1.0);
}
