//! From what the kernel side tells to what is reported. Addresses stand for themselves: there are no symbols.

use std::rc::Rc;

use holdup_abi::{
    entry::{KIND_CONDVAR, KIND_MUTEX, KIND_RWLOCK, Lock, MODE_READ, MODE_TIMED, MODE_TRY},
    lock::LockKey,
};

use super::build;
use crate::{
    ingest::entry::{Edge, EntryData, Held, LongHold, Mistake, Mode, Now, Stack, What},
    model::{
        EntryReport, RawFrame,
        entry::{MistakeKind, Price},
    },
    report::engine::Engine,
    symbol::Space,
};

/// No process has this id.
const TGID: u32 = u32::MAX - 1;
const SPACE: Space = Space {
    pid: TGID,
    generation: 0,
};

fn stack(address: u64) -> Stack {
    Rc::new([RawFrame {
        address,
        guessed: false,
    }])
}

fn lock(address: u64, kind: u32) -> Lock {
    Lock {
        key: LockKey {
            address,
            tgid: TGID,
            generation: 0,
        },
        kind,
        ..Lock::EMPTY
    }
}

/// Mutexes in the slots 1 to 4, at 0x10 to 0x40.
fn data(edges: Vec<Edge>) -> EntryData {
    let mutex = |slot: u32| (slot, lock(u64::from(slot) * 16, KIND_MUTEX));
    EntryData {
        locks: (1..=4).map(mutex).collect(),
        edges,
        ..EntryData::default()
    }
}

fn held(slot: u32, mode: u32) -> Held {
    Held {
        slot,
        mode: Mode(mode),
    }
}

fn edge(tid: u32, from: u32, to: u32, at: u64) -> Edge {
    Edge {
        held: held(from, 0),
        asked: held(to, 0),
        count: 3,
        first_ns: 0,
        tid,
        others: Vec::new(),
        more: false,
        set: Some(vec![held(from, 0)]),
        comm: format!("worker-{tid}"),
        held_stack: stack(at - 1),
        asked_stack: stack(at),
    }
}

fn report(data: &EntryData) -> EntryReport {
    build(data, &mut Engine::default(), None, 1_000)
}

fn texts(data: &EntryData) -> Vec<String> {
    let report = report(data);
    let found = report.potential_deadlocks.into_iter();
    found.map(|deadlock| deadlock.text).collect()
}

#[test]
fn both_orders_are_told_once_with_both_places() {
    let report = report(&data(vec![
        edge(7, 1, 2, 0x100),
        edge(8, 2, 1, 0x200),
        edge(9, 2, 3, 0x300),
    ]));
    let [deadlock] = report.potential_deadlocks.as_slice() else {
        panic!("{:?}", report.potential_deadlocks);
    };
    assert_eq!(
        deadlock.text,
        "mutex 0x10 then mutex 0x20 at 0x100, mutex 0x20 then mutex 0x10 at 0x200"
    );
    assert_eq!(
        (deadlock.count, deadlock.threads, deadlock.alike),
        (3, 2, 0)
    );
    let [first, second] = deadlock.edges.as_slice() else {
        panic!("{:?}", deadlock.edges);
    };
    assert_eq!(first.threads[0].comm, "worker-7");
    assert_eq!(second.held_frames[0].offset, 0x1ff);
    assert!(first.gates.is_empty());
    assert_eq!(report.order.len(), 3);
    assert_eq!((report.order_check.locks, report.order_check.edges), (3, 3));
}

#[test]
fn a_held_set_tells_of_gates_and_of_recursion() {
    let gated = |mut edge: Edge| {
        let set = edge.set.as_mut().unwrap();
        set.push(held(4, 0));
        edge
    };
    let both = vec![gated(edge(7, 1, 2, 0x100)), gated(edge(8, 2, 1, 0x200))];
    let report = report(&data(both));
    assert!(report.potential_deadlocks.is_empty());
    assert_eq!(report.order_check.gated, 1);
    assert_eq!(report.order[0].gates[0].address, 0x40);
    // It has 2 already, and takes it again.
    let mut again = edge(7, 1, 2, 0x100);
    again.set = Some(vec![held(1, 0), held(2, 0)]);
    assert!(texts(&data(vec![again, edge(8, 2, 1, 0x200)])).is_empty());
}

#[test]
fn one_thread_is_told_from_several() {
    let both = vec![edge(7, 1, 2, 0x100), edge(7, 2, 1, 0x200)];
    let alone = report(&data(both.clone()));
    assert!(alone.potential_deadlocks.is_empty());
    assert_eq!(alone.order_check.one_thread, 1);
    let mut joined = data(both);
    joined.edges[1].others = vec![8];
    let joined = report(&joined);
    assert_eq!(joined.potential_deadlocks[0].threads, 2);
    assert_eq!(joined.potential_deadlocks[0].edges[1].threads.len(), 2);
}

#[test]
fn tries_readers_and_timeouts_are_told_apart() {
    let mut tried = edge(7, 1, 2, 0x100);
    tried.asked = held(2, MODE_TRY);
    assert!(texts(&data(vec![tried, edge(8, 2, 1, 0x200)])).is_empty());

    let mut readers = data(vec![edge(7, 1, 2, 0x100), edge(8, 2, 1, 0x200)]);
    readers.locks.insert(2, lock(0x20, KIND_RWLOCK));
    readers.edges[0].asked = held(2, MODE_READ);
    assert_eq!(
        texts(&readers),
        ["mutex 0x10 then rwlock 0x20 (read) at 0x100, rwlock 0x20 then mutex 0x10 at 0x200"]
    );
    readers.edges[1].held = held(2, MODE_READ);
    assert!(texts(&readers).is_empty());

    let mut timed = edge(7, 1, 2, 0x100);
    timed.asked = held(2, MODE_TIMED);
    assert_eq!(
        texts(&data(vec![timed, edge(8, 2, 1, 0x200)])),
        ["mutex 0x10 then mutex 0x20 for a time at 0x100, mutex 0x20 then mutex 0x10 at 0x200"]
    );
}

#[test]
fn a_lock_made_anew_is_another_one() {
    let mut data = data(vec![edge(7, 1, 2, 0x100), edge(8, 3, 1, 0x200)]);
    // The same address as the lock in slot 2, later.
    let mut anew = lock(0x20, KIND_MUTEX);
    anew.born_ns = 5;
    data.locks.insert(3, anew);
    assert!(texts(&data).is_empty());
    let report = report(&data);
    let at = report.locks.iter().filter(|lock| lock.address == 0x20);
    let mut generations: Vec<u32> = at.map(|lock| lock.generation).collect();
    generations.sort_unstable();
    assert_eq!(generations, [0, 1]);
}

/// Without its record it has no place; without what else was held it has no meaning.
#[test]
fn an_edge_whose_record_was_lost_still_counts() {
    let mut bare = edge(7, 1, 2, 0x100);
    bare.comm.clear();
    (bare.held_stack, bare.asked_stack) = Default::default();
    let others = [edge(8, 2, 1, 0x200), edge(9, 2, 99, 0x300)];
    let edges = |first: &Edge| [&[first.clone()][..], &others].concat();
    assert_eq!(
        texts(&data(edges(&bare))),
        ["mutex 0x10 then mutex 0x20, mutex 0x20 then mutex 0x10 at 0x200"]
    );
    bare.set = None;
    let report = report(&data(edges(&bare)));
    assert!(report.potential_deadlocks.is_empty());
    assert_eq!((report.order_check.unjudged, report.order.len()), (1, 1));
}

#[test]
fn numbers_of_a_lock_are_those_counted() {
    let mut data = data(Vec::new());
    let counted = data.locks.get_mut(&1).unwrap();
    counted.acquisitions = 10;
    counted.contended = 2;
    counted.wait_total_ns = 50;
    counted.wait_histogram[0] = 2;
    counted.hold_total_ns = 900;
    counted.hold_max_ns = 400;
    counted.hold_histogram[0] = 9;
    counted.holder_tid = 5;
    counted.holder_since_ns = 400;
    data.now.push(Now {
        tid: 5,
        space: SPACE,
        lock: held(1, 0),
        is_held: true,
        since_ns: 400,
        depth: 0,
        stack: stack(0x500),
    });
    for (held_ns, at) in [(100, 0x600), (400, 0x700), (200, 0x800)] {
        data.long_holds.push(LongHold {
            slot: 1,
            tid: 6,
            comm: "slow".to_owned(),
            held_ns,
            at_ns: 0,
            acquired: stack(at),
            released: stack(at + 1),
        });
    }
    let report = report(&data);
    // What was waited for comes first.
    let lock = &report.locks[0];
    assert_eq!(
        (lock.address, lock.acquisitions, lock.contended),
        (16, 10, 2)
    );
    assert_eq!((lock.wait.count, lock.wait.total_ns), (2, 50));
    assert_eq!((lock.hold.count, lock.hold.max_ns), (9, 400));
    let holder = lock.holder.as_ref().unwrap();
    assert_eq!((holder.tid, holder.since_ns), (5, 600));
    assert_eq!(holder.frames[0].offset, 0x500);
    let longest = lock.longest_hold.as_ref().unwrap();
    assert_eq!(
        (longest.held_ns, longest.acquired_frames[0].offset),
        (400, 0x700)
    );
    assert_eq!(longest.released_frames[0].offset, 0x701);
    assert_eq!(report.locks.len(), 4);
}

#[test]
fn what_goes_on_is_not_known_once_probes_are_off() {
    let mut data = data(Vec::new());
    let held = data.locks.get_mut(&1).unwrap();
    (held.holder_tid, held.users, held.acquisitions) = (5, 2, 7);
    let price = Price {
        detached_by_governor: true,
        ..Price::default()
    };
    let report = build(&data, &mut Engine::default(), Some(price), 1_000);
    let lock = report.locks.iter().find(|lock| lock.address == 16).unwrap();
    assert_eq!((&lock.holder, lock.users, lock.acquisitions), (&None, 0, 7));
}

#[test]
fn mistakes_are_sentences_and_each_place_is_told_once() {
    let mut data = data(Vec::new());
    data.locks.insert(9, lock(0x90, KIND_CONDVAR));
    let mistake = |what| Mistake {
        what,
        tid: 5,
        comm: "main".to_owned(),
        space: SPACE,
        at_ns: 100,
        set: vec![held(1, 0)],
        acquired: stack(0x100),
        stack: stack(0x200),
    };
    let waits = What::WaitHolding {
        held: 1,
        condvar: 9,
    };
    data.mistakes = vec![
        mistake(waits.clone()),
        mistake(waits),
        mistake(What::ForkHolding { held: 1 }),
        mistake(What::ExitHolding { held: 1 }),
        mistake(What::LostWakeup {
            condvar: 9,
            waiter_tid: 6,
            waits_since_ns: 400,
            waits: stack(0x300),
        }),
    ];
    data.mistakes[3].stack = Stack::default();
    let report = report(&data);
    let found = report.mistakes.iter();
    let found: Vec<_> = found
        .map(|mistake| {
            (
                mistake.kind,
                mistake.tid,
                mistake.count,
                mistake.text.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                MistakeKind::WaitWithLockHeld,
                5,
                2,
                "main (5) waits on condvar 0x90 at 0x200 with mutex 0x10 held, taken at 0x100: \
                 who needs it to get to the signal cannot come"
            ),
            (
                MistakeKind::HeldAcrossFork,
                5,
                1,
                "main (5) forked at 0x200 with mutex 0x10 held, taken at 0x100: nobody will release it in the child"
            ),
            (
                MistakeKind::HeldAtThreadExit,
                5,
                1,
                "main (5) ended with mutex 0x10 held, taken at 0x100: nobody will release it"
            ),
            (
                MistakeKind::LostWakeupSuspect,
                6,
                1,
                "a thread that is gone (6) has waited on condvar 0x90 at 0x300 for 600 ns: the last signal at 0x200 \
                 came before, when nobody waited"
            ),
        ]
    );
}
