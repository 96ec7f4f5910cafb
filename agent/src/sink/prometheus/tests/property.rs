//! Whatever happens, in whatever order.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::{Settings, Totals},
    Series, Shown,
    node::{Node, Place, Truth},
    scrape,
};
use crate::model::Kind;

#[derive(Clone, Debug)]
enum Step {
    Start(u32, usize),
    Exit(u32),
    Wait(Place, u64, u64, u64),
    Reclaim(Place),
    Census(bool),
    Tick(u64),
}

/// Two names for six processes: some share one.
const NAMES: [&str; 3] = ["a", "b", "other"];

fn place() -> impl Strategy<Value = Place> {
    let kinds = vec![Kind::Mutex, Kind::RwlockRead, Kind::Condvar, Kind::Unknown];
    (0..6_u32, 0..5_u64, prop::sample::select(kinds))
        .prop_map(|(pid, address, kind)| Place::new(pid, address, kind))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..6_u32, 0..NAMES.len()).prop_map(|(pid, name)| Step::Start(pid, name)),
        1 => (0..6_u32).prop_map(Step::Exit),
        8 => (place(), 0..50_u64, 0..5_000_000_000_u64, 0..9_u64)
            .prop_map(|(place, waits, each_ns, waiters)| Step::Wait(place, waits, each_ns, waiters)),
        2 => place().prop_map(Step::Reclaim),
        1 => any::<bool>().prop_map(Step::Census),
        6 => (1..40_u64).prop_map(Step::Tick),
    ]
}

fn limits() -> impl Strategy<Value = Settings> {
    (0..4_usize, 0..6_usize, 1..4_usize, 0..60_u64).prop_map(
        |(top_locks, max_locks, max_processes, linger_s)| Settings {
            top_locks,
            max_locks,
            max_processes,
            linger: Duration::from_secs(linger_s),
            ..Settings::default()
        },
    )
}

/// What all series have counted, and those that are gone. Hand-offs and waits are small enough for an `f64`.
fn sum(shown: &Shown, wait_ns_expired: u128) -> Truth {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of this test"
    )]
    let counter = |name: &str| -> u64 {
        let series = shown
            .counters
            .iter()
            .filter(|((family, _), _)| family == name);
        series.map(|(_, value)| *value as u64).sum()
    };
    Truth {
        waits: shown.waits.values().map(|(waits, _)| waits).sum::<u64>()
            + counter("holdup_expired_waits"),
        wait_ns: shown
            .waits
            .values()
            .map(|(_, wait_ns)| wait_ns)
            .sum::<u128>()
            + wait_ns_expired,
        handoffs: counter("holdup_lock_handoffs") + counter("holdup_expired_handoffs"),
    }
}

/// No series that is in both has less than it had.
fn never_less<T: PartialOrd + std::fmt::Debug>(before: &Series<T>, now: &Series<T>) {
    for (key, now) in now {
        if let Some(before) = before.get(key) {
            assert!(now >= before, "{key:?} went from {before:?} to {now:?}");
        }
    }
}

proptest! {
    #[test]
    fn counters_only_grow_and_nothing_is_lost(
        limits in limits(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut totals = Totals::new(limits.clone());
        let mut node = Node::default();
        let mut at_s = 0;
        // Of the last scrape, and of the last one that counted.
        let mut last = Shown::default();
        for step in steps {
            match step {
                Step::Start(pid, name) => node.start(pid, NAMES[name]),
                Step::Exit(pid) => node.exit(pid),
                Step::Wait(place, waits, each_ns, waiters) => {
                    node.wait(place, waits, each_ns, waiters);
                }
                Step::Reclaim(place) => node.reclaim(place),
                Step::Census(census) => node.census(census),
                Step::Tick(seconds) => at_s += seconds,
            }
            // After each step: what is never seen by a tick cannot be counted.
            at_s += 1;
            totals.observe(&node.view(at_s));
            let now = scrape(&mut totals);
            prop_assert!(totals.shown.len() <= limits.max_locks);
            prop_assert!(totals.owners.iter().count() <= limits.max_processes + 1);
            never_less(&last.counters, &now.counters);
            never_less(&last.waits, &now.waits);
            if node.is_counting() {
                prop_assert_eq!(sum(&now, totals.expired.wait_ns), node.truth);
            }
            let waiters: f64 = now
                .gauges
                .iter()
                .filter(|((family, _), _)| family == "holdup_lock_waiters")
                .map(|(_, waiters)| waiters)
                .sum();
            #[expect(clippy::cast_precision_loss, reason = "counts of this test")]
            let truth = node.waiters() as f64;
            prop_assert_eq!(waiters, truth);
            last = now;
        }
    }
}
