//! Goroutines beside threads: the same families, told apart by a label.

use std::collections::BTreeMap;

use super::*;
use crate::model::{
    go::Goroutines,
    watch::{GO, Go, Lock},
};

/// A process with a mutex that three threads wait for, and one with the same id that five goroutines wait for.
fn view() -> Arc<View> {
    let mut node = Node::default();
    node.start(1, "server");
    let place = Place::new(1, 1, Kind::Mutex);
    node.wait(place, 1, 1_000, 3);
    let mut view = View::clone(&node.view(1));
    let threads = Lock::clone(&view.locks[0]);
    view.locks.push(Arc::new(Lock {
        address: 2,
        runtime: Some(GO.into()),
        waiters: 5,
        counts: None,
        ..threads
    }));
    let words = |words: &[(&str, u64)]| -> BTreeMap<String, u64> {
        words
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count))
            .collect()
    };
    let many: Vec<(String, u64)> = (0..100).map(|n| (format!("reason {n:03}"), 1)).collect();
    let process = view.processes.values_mut().next().unwrap();
    process.go = Some(Arc::new(Go {
        version: "go1.22.10".to_owned(),
        error: None,
        parked: BTreeMap::from([(Kind::Mutex, 5), (Kind::Join, 2)]),
        peak: 200,
        all: Some(Goroutines {
            total: 107,
            by_status: words(&[("waiting", 107)]),
            by_reason: many.into_iter().collect(),
        }),
    }));
    Arc::new(view)
}

#[test]
fn they_are_told_apart_from_threads() {
    let mut totals = Totals::new(settings(10));
    totals.observe(&view());
    let shown = scrape(&mut totals);
    let of = |name: &str| -> Vec<(&str, f64)> {
        let all = shown
            .gauges
            .iter()
            .filter(|((family, _), _)| family == name);
        all.map(|((_, labels), value)| (labels.as_str(), *value))
            .collect()
    };
    let site = "lock=mutex:1,site=site 1";
    assert_eq!(
        of("holdup_lock_waiters"),
        [
            (format!("process=server,kind=mutex,{site}").as_str(), 3.0),
            (
                format!("process=server,kind=mutex,runtime=go,{site}").as_str(),
                5.0
            ),
        ]
    );
    assert_eq!(
        of("holdup_parked_threads"),
        [
            ("process=server,kind=join,runtime=go", 2.0),
            ("process=server,kind=mutex", 3.0),
            ("process=server,kind=mutex,runtime=go", 5.0),
        ]
    );
    assert_eq!(
        of("holdup_goroutines"),
        [("process=server,status=waiting", 107.0)]
    );
    // A program may say anything of itself: what is too much is counted together.
    let reasons = of("holdup_goroutines_waiting");
    assert_eq!(reasons.iter().map(|(_, count)| count).sum::<f64>(), 100.0);
    assert_eq!(reasons.len(), 65);
    assert!(reasons.contains(&("process=server,reason=other", 36.0)));
    // Nobody counts how they end.
    assert!(
        shown
            .waits
            .keys()
            .all(|(_, labels)| !labels.contains("runtime=go"))
    );
}
