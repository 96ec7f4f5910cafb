use std::{collections::BTreeMap, sync::Arc};

use holdup_abi::lock::BUCKETS;

use super::*;
use crate::model::{
    Kind, Outcomes,
    bundle::LockMoved,
    watch::{Counts, Lock},
};

const SECOND: u64 = 1_000_000_000;
const OURS: ProcessKey = ProcessKey {
    pid: 7,
    generation: 1,
};

fn lock(process: ProcessKey, address: u64, waiters: u64, waits: u64, wait_ns: u64) -> Lock {
    Lock {
        process,
        address,
        id: Arc::from("id"),
        kind: Kind::Mutex,
        runtime: None,
        symbol: None,
        site: None,
        waiters,
        waiters_peak: waiters,
        oldest_since_ns: None,
        oldest_is_at_least: false,
        seen_ns: None,
        holder: None,
        abandoned: false,
        counts: Some(Box::new(Counts {
            outcomes: Outcomes {
                woken: waits / 2,
                timed_out: waits - waits / 2,
                ..Outcomes::default()
            },
            value_changed: 0,
            wakes: 0,
            wait_ns,
            wait_max_ns: 0,
            last_handoff_ns: None,
            histogram: [0; BUCKETS],
        })),
    }
}

fn view(at_ns: u64, locks: Vec<Lock>) -> View {
    View {
        at_ns,
        at: SystemTime::UNIX_EPOCH + Duration::from_nanos(at_ns),
        processes: BTreeMap::new(),
        locks: locks.into_iter().map(Arc::new).collect(),
        deadlocks: Vec::new(),
        plan: Arc::from([]),
        loss: BTreeMap::new(),
    }
}

fn settings(intervals: u64, max_bytes: usize) -> Settings {
    Settings {
        interval: Duration::from_secs(1),
        length: Duration::from_secs(intervals),
        max_bytes,
    }
}

#[test]
fn what_moved_between_two_views() {
    let mut recorder = Recorder::new(&settings(3, 1 << 20));
    recorder.record(&view(SECOND, vec![lock(OURS, 16, 1, 100, 5_000)]));
    assert_eq!(recorder.slice(OURS, None), Flight::default(), "no interval");
    // A tick within the interval.
    recorder.record(&view(SECOND + 100, vec![lock(OURS, 16, 9, 900, 9_000)]));
    let mut idle = lock(OURS, 48, 50, 3, 7);
    idle.kind = Kind::Condvar;
    recorder.record(&view(
        2 * SECOND,
        vec![
            lock(OURS, 16, 2, 110, 5_700),
            lock(OURS, 32, 0, 4, 40),
            idle,
        ],
    ));
    // Lost its place and came back.
    recorder.record(&view(
        3 * SECOND,
        vec![lock(OURS, 16, 0, 6, 60), lock(OURS, 32, 0, 4, 40)],
    ));
    let flight = recorder.slice(OURS, Some(32));
    let moved = |waiters, waits, handoffs, wait_ns| Moved {
        waiters,
        waits,
        handoffs,
        wait_ns,
    };
    let [first, second] = flight.intervals.as_slice() else {
        panic!("{flight:?}");
    };
    assert_eq!(first.at, "1970-01-01T00:00:02.000Z");
    assert_eq!((first.duration_ns, first.is_partial), (SECOND, false));
    assert_eq!(first.process, Some(moved(2, 14, 7, 740)));
    let of = |kind, address, moved| LockMoved {
        address,
        kind,
        moved,
    };
    let row = |address, moved| of(Kind::Mutex, address, moved);
    assert_eq!(
        first.locks,
        [
            row(32, moved(0, 4, 2, 40)),
            row(16, moved(2, 10, 5, 700)),
            of(Kind::Condvar, 48, moved(50, 3, 1, 7)),
        ],
        "the one asked for, then locks, then idle workers"
    );
    assert_eq!(second.process, Some(moved(0, 6, 3, 60)));
    assert_eq!(second.locks, [row(16, moved(0, 6, 3, 60))]);
    let other = ProcessKey { pid: 8, ..OURS };
    let none = recorder.slice(other, None);
    assert_eq!(none.intervals.len(), 2);
    assert!(
        none.intervals
            .iter()
            .all(|it| it.process.is_none() && it.locks.is_empty())
    );
}

#[test]
fn the_oldest_interval_makes_room() {
    let mut recorder = Recorder::new(&settings(3, 1 << 20));
    for second in 1..=10 {
        recorder.record(&view(second * SECOND, vec![lock(OURS, 16, 1, second, 0)]));
    }
    let flight = recorder.slice(OURS, None);
    let ends: Vec<&str> = flight.intervals.iter().map(|it| it.at.as_str()).collect();
    assert_eq!(
        ends,
        [
            "1970-01-01T00:00:08.000Z",
            "1970-01-01T00:00:09.000Z",
            "1970-01-01T00:00:10.000Z"
        ]
    );
}

#[test]
fn memory_is_the_same_before_and_after_the_worst() {
    let settings = settings(10, 1 << 20);
    let mut recorder = Recorder::new(&settings);
    let bytes = recorder.bytes();
    assert!(bytes <= settings.max_bytes, "{bytes}");
    assert!(bytes > settings.max_bytes * 9 / 10, "{bytes}: room unused");
    for second in 1..=25_u64 {
        let locks = (0..50_000).map(|index| {
            let process = ProcessKey {
                pid: u32::try_from(index % 3_000).unwrap(),
                generation: 0,
            };
            lock(process, index, index % 50, second * 10, second * index)
        });
        recorder.record(&view(second * SECOND, locks.collect()));
        assert_eq!(recorder.bytes(), bytes, "after {second} s");
    }
    let busiest = ProcessKey {
        pid: 2_999,
        generation: 0,
    };
    let flight = recorder.slice(busiest, None);
    assert_eq!(flight.intervals.len(), 10);
    assert!(flight.intervals.iter().all(|it| it.is_partial));
}

#[test]
fn the_rows_kept_are_those_that_matter_most() {
    let room = settings(2, 64 << 10).room();
    let mut recorder = Recorder::new(&settings(2, 64 << 10));
    let count = room.locks as u64 * 3;
    // In an order that is neither ascending nor descending.
    let locks = |waits| {
        (0..count)
            .map(|index| index * 7_919 % count)
            .map(|waiters| lock(OURS, waiters, waiters, waits, 0))
            .collect()
    };
    recorder.record(&view(SECOND, locks(0)));
    recorder.record(&view(2 * SECOND, locks(1)));
    let slot = recorder.slots.back().unwrap();
    let kept: Vec<u64> = slot.locks.iter().map(|row| row.moved.waiters).collect();
    let expected: Vec<u64> = (count - kept.len() as u64..count).rev().collect();
    assert_eq!(kept, expected);
    assert!(kept.len() >= room.locks && slot.is_partial);
    let sum = slot.processes.first().unwrap().moved;
    assert_eq!(sum.waiters, count * (count - 1) / 2, "sums have all locks");
}
