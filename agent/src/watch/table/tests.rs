use std::{collections::BTreeMap, time::SystemTime};

use holdup_abi::lock::Lock;
use proptest::prelude::*;

use super::*;
use crate::model::{Holder, explanation::Confidence, watch::Counts};

/// A kernel side with a few slots.
#[derive(Clone, Default)]
struct Kernel(Vec<Option<Lock>>);

impl Statistics for Kernel {
    fn get(&self, place: Place) -> Option<Lock> {
        self.0.get(place as usize).copied().flatten()
    }
}

impl Kernel {
    fn with(count: usize) -> Self {
        Self(vec![None; count])
    }

    fn wait(&mut self, place: usize, key: LockKey, waits: u64) {
        let lock = self.0[place].get_or_insert(Lock { key, ..Lock::EMPTY });
        lock.woken += waits;
        lock.total_ns += 2_000 * waits;
        lock.histogram[1] += waits;
        lock.peak_waiters = lock.peak_waiters.max(1);
    }

    fn scan(&self, table: &mut Table) {
        for (place, lock) in self.0.iter().enumerate() {
            if let Some(lock) = lock {
                table.word(place as Place, lock.key, lock.woken);
            }
        }
    }
}

const fn key(tgid: u32, address: u64) -> LockKey {
    LockKey {
        address,
        tgid,
        generation: 1,
    }
}

fn moment() -> Moment {
    Moment {
        at_ns: 1_000,
        at: SystemTime::UNIX_EPOCH,
        plan: Arc::from([]),
        loss: BTreeMap::new(),
        deadlocks: Vec::new(),
    }
}

fn answer(place: Place, key: LockKey, kind: Kind, address: u64) -> Answer {
    Answer {
        place,
        key,
        identity: Some(Identity {
            address,
            kind,
            id: format!("{}:{address:x}", kind.as_str()).into(),
            runtime: None,
            symbol: None,
            site: Some("here".into()),
        }),
        had_stack: true,
        held: None,
    }
}

const WAITER: Parked = Parked {
    tid: 10,
    since_ns: Some(500),
    at_least: false,
    op: 128,
    value: 2,
};

fn held(tid: u32) -> Held {
    Held {
        holder: Some(Holder {
            pid: Some(1),
            tid,
            goid: None,
            comm: "holder".into(),
            known_by: "a test".into(),
            confidence: Confidence::Exact,
            since_ns: None,
            since_is_at_least: false,
        }),
        abandoned: false,
        from_ns: 600,
        at_ns: 700,
    }
}

fn woken(view: &View) -> Vec<(u64, Kind, u64)> {
    let rows = view.locks.iter();
    rows.map(|lock| {
        let woken = lock
            .counts
            .as_ref()
            .map_or(0, |counts| counts.outcomes.woken);
        (lock.address, lock.kind, woken)
    })
    .collect()
}

#[test]
fn what_has_not_changed_is_the_same_row() {
    let mut kernel = Kernel::with(2);
    let mut table = Table::default();
    kernel.wait(0, key(1, 0x10), 3);
    kernel.wait(1, key(1, 0x20), 4);
    table.begin(1);
    kernel.scan(&mut table);
    for (place, address) in [(0, 0x10), (1, 0x20)] {
        table.told(
            answer(place, key(1, address), Kind::Mutex, address),
            &kernel,
        );
    }
    let first = table.view(&kernel, moment());
    assert_eq!(
        woken(&first),
        [(0x10, Kind::Mutex, 3), (0x20, Kind::Mutex, 4)]
    );
    kernel.wait(1, key(1, 0x20), 1);
    table.begin(2);
    kernel.scan(&mut table);
    let second = table.view(&kernel, moment());
    assert_eq!(
        woken(&second),
        [(0x10, Kind::Mutex, 3), (0x20, Kind::Mutex, 5)]
    );
    assert!(Arc::ptr_eq(&first.locks[0], &second.locks[0]));
    assert!(!Arc::ptr_eq(&first.locks[1], &second.locks[1]));
}

#[test]
fn words_of_one_lock_are_one_row_which_keeps_what_a_word_has_counted() {
    let mut kernel = Kernel::with(2);
    let mut table = Table::default();
    kernel.wait(0, key(1, 0x10), 3);
    kernel.wait(1, key(1, 0x14), 4);
    table.begin(1);
    kernel.scan(&mut table);
    for (place, address) in [(0, 0x10), (1, 0x14)] {
        table.told(answer(place, key(1, address), Kind::Condvar, 0x8), &kernel);
    }
    table.parked(1, &key(1, 0x14), &WAITER);
    let view = table.view(&kernel, moment());
    assert_eq!(woken(&view), [(0x8, Kind::Condvar, 7)]);
    assert_eq!(
        (view.locks[0].waiters, view.locks[0].oldest_since_ns),
        (1, Some(500))
    );
    let process = view.processes.values().next().unwrap();
    assert_eq!(process.parked, BTreeMap::from([(Kind::Condvar, 1)]));
    table.begin(2);
    kernel.scan(&mut table);
    table.finish(0, &kernel);
    kernel.0[0] = None;
    let view = table.view(&kernel, moment());
    assert_eq!(woken(&view), [(0x8, Kind::Condvar, 7)]);
    assert_eq!(view.locks[0].waiters, 0);
}

#[test]
fn a_lock_that_turns_out_to_be_another_starts_at_nothing() {
    let mut kernel = Kernel::with(1);
    let mut table = Table::default();
    let word = key(1, 0x10);
    kernel.wait(0, word, 3);
    table.begin(1);
    kernel.scan(&mut table);
    table.told(answer(0, word, Kind::Unknown, 0x10), &kernel);
    assert_eq!(
        woken(&table.view(&kernel, moment())),
        [(0x10, Kind::Unknown, 3)]
    );
    kernel.wait(0, word, 2);
    table.begin(2);
    kernel.scan(&mut table);
    table.told(answer(0, word, Kind::Mutex, 0x10), &kernel);
    // The old row shows what it had to the end, the new one what comes after.
    let mut rows = woken(&table.view(&kernel, moment()));
    rows.sort_by_key(|(_, kind, _)| *kind);
    assert_eq!(rows, [(0x10, Kind::Mutex, 0), (0x10, Kind::Unknown, 5)]);
    kernel.wait(0, word, 1);
    table.begin(3);
    kernel.scan(&mut table);
    assert_eq!(
        woken(&table.view(&kernel, moment())),
        [(0x10, Kind::Mutex, 1)]
    );
}

#[test]
fn what_nobody_has_judged_is_shown_only_while_somebody_waits() {
    let mut kernel = Kernel::with(1);
    let mut table = Table::default();
    let word = key(1, 0x10);
    kernel.wait(0, word, 3);
    table.begin(1);
    kernel.scan(&mut table);
    assert!(table.view(&kernel, moment()).locks.is_empty());
    table.begin(2);
    kernel.scan(&mut table);
    table.parked(0, &word, &WAITER);
    assert_eq!(
        woken(&table.view(&kernel, moment())),
        [(0x10, Kind::Unknown, 0)]
    );
    table.begin(3);
    kernel.scan(&mut table);
    table.told(answer(0, word, Kind::Mutex, 0x10), &kernel);
    let rows = woken(&table.view(&kernel, moment()));
    assert!(rows.contains(&(0x10, Kind::Mutex, 3)), "{rows:?}");
}

#[test]
fn the_longest_waits_are_asked_first_and_each_question_once() {
    let mut table = Table::default();
    table.begin(1);
    for place in 0..6u32 {
        let word = key(1, u64::from(place));
        table.word(place, word, 0);
        let waiter = Parked {
            tid: place,
            since_ns: Some(1_000 - u64::from(place)),
            ..WAITER
        };
        table.parked(place, &word, &waiter);
    }
    let asked = table.questions(4, 4, 4);
    let places: Vec<Place> = asked.iter().map(|question| question.place).collect();
    assert_eq!(places, [5, 4, 3, 2]);
    assert_eq!(asked[0].waiter, Some((5, 995)));
    let places: Vec<Place> = table.questions(4, 4, 4).iter().map(|q| q.place).collect();
    assert_eq!(places, [1, 0], "the others are on their way");
    table.refused(3);
    table.told(answer(5, key(1, 5), Kind::Mutex, 5), &NotCounted);
    table.told(answer(4, key(1, 4), Kind::Condvar, 4), &NotCounted);
    let places: Vec<Place> = table.questions(4, 4, 4).iter().map(|q| q.place).collect();
    assert_eq!(
        places,
        [3, 5],
        "a name, then the holder of a lock; who waits for news has none"
    );
}

#[test]
fn a_word_that_stays_unknown_is_asked_for_less_and_less() {
    let mut table = Table::default();
    let word = key(1, 0x10);
    let mut asked = 0;
    for now in 0..36_000 {
        table.begin(now);
        table.word(0, word, 0);
        table.parked(0, &word, &WAITER);
        for question in table.questions(8, 8, 8) {
            asked += 1;
            table.told(
                answer(question.place, word, Kind::Unknown, 0x10),
                &NotCounted,
            );
        }
        table.view(&NotCounted, moment());
    }
    assert_eq!(asked, 6, "in an hour");
}

#[test]
fn a_holder_is_shown_while_somebody_waits() {
    let mut table = Table::default();
    let word = key(1, 0x10);
    let mut look = |now, waits: bool, holder: Option<Held>| {
        table.begin(now);
        table.word(0, word, 0);
        if waits {
            table.parked(0, &word, &WAITER);
        }
        if holder.is_some() {
            let answer = Answer {
                held: holder,
                ..answer(0, word, Kind::Mutex, 0x10)
            };
            table.told(answer, &NotCounted);
        }
        let view = table.view(&NotCounted, moment());
        let lock = view.locks.first().map(|lock| lock.holder.clone());
        lock.flatten().map(|holder| holder.tid)
    };
    assert_eq!(look(1, true, Some(held(7))), Some(7));
    assert_eq!(look(2, true, None), Some(7));
    assert_eq!(look(3, true, Some(held(8))), Some(8));
    assert_eq!(look(4, false, None), None);
}

#[test]
fn a_program_that_is_replaced_or_gone_gives_its_words_up() {
    let mut table = Table::default();
    table.begin(1);
    table.word(0, key(1, 0x10), 1);
    table.word(1, key(2, 0x10), 1);
    let newer = LockKey {
        generation: 2,
        ..key(1, 0x10)
    };
    assert!(table.orphans().is_empty());
    table.begin(2);
    table.word(2, newer, 1);
    assert_eq!(table.orphans(), [0]);
    table.processes().check(10, |pid| pid != 2);
    assert_eq!(table.orphans(), [0, 1]);
    table.finish(0, &NotCounted);
    table.finish(1, &NotCounted);
    assert!(table.orphans().is_empty());
    assert_eq!((table.live(), table.process_count()), (1, 1));
    // The id is used again: that is a program of its own.
    table.begin(3);
    table.word(0, key(2, 0x20), 1);
    assert!(table.orphans().is_empty());
}

#[test]
fn the_idlest_go_first() {
    let mut table = Table::default();
    for now in 1..=5u32 {
        table.begin(now * 10);
        table.word(now, key(1, u64::from(now)), 1);
    }
    table.parked(2, &key(1, 2), &WAITER);
    assert_eq!(table.idle(10, 10), [1, 3, 4]);
    assert_eq!(table.idle(10, 1), [1]);
    assert_eq!(table.idle(31, 10), [1]);
}

/// What can happen between two views.
#[derive(Clone, Debug)]
enum Event {
    Wait {
        place: usize,
        waits: u64,
    },
    Judge {
        place: usize,
        kind: usize,
        address: u64,
    },
    Fail {
        place: usize,
    },
    Take {
        place: usize,
    },
    Park {
        place: usize,
    },
    Look,
}

const PLACES: usize = 6;
const KINDS: [Kind; 3] = [Kind::Unknown, Kind::Mutex, Kind::Condvar];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..PLACES, 1..5u64).prop_map(|(place, waits)| Event::Wait { place, waits }),
        2 => (0..PLACES, 0..KINDS.len(), 0..3u64)
            .prop_map(|(place, kind, address)| Event::Judge { place, kind, address }),
        1 => (0..PLACES).prop_map(|place| Event::Fail { place }),
        2 => (0..PLACES).prop_map(|place| Event::Take { place }),
        1 => (0..PLACES).prop_map(|place| Event::Park { place }),
        3 => Just(Event::Look),
    ]
}

/// Adds up the growth of every row, as whoever reads the views does.
#[derive(Default)]
struct Totals {
    last: BTreeMap<Name, u64>,
    sum: u64,
}

impl Totals {
    fn add(&mut self, view: &View) {
        let mut now = BTreeMap::new();
        for lock in &view.locks {
            let name = Name {
                process: lock.process,
                address: lock.address,
                kind: lock.kind,
            };
            let counts: &Counts = lock.counts.as_ref().unwrap();
            let woken = counts.outcomes.woken;
            let before = self.last.get(&name).copied().unwrap_or(0);
            assert!(woken >= before, "{name:?}: {before}, then {woken}");
            assert_eq!(counts.histogram.iter().sum::<u64>(), woken);
            assert_eq!(counts.wait_ns, 2_000 * woken);
            self.sum += woken - before;
            assert!(now.insert(name, woken).is_none(), "two rows of one name");
        }
        self.last = now;
    }
}

proptest! {
    /// Every wait is shown in one row and counted once, whatever words turn out to be and whenever their slots are taken
    /// back and given to others.
    #[test]
    fn whoever_adds_up_the_growth_of_rows_counts_every_wait_once(
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let mut kernel = Kernel::with(PLACES);
        let mut table = Table::default();
        let mut totals = Totals::default();
        let mut truth = 0;
        let mut now = 0;
        let mut look = |kernel: &mut Kernel, table: &mut Table, taken: &mut Vec<usize>| {
            now += 1;
            table.begin(now);
            kernel.scan(table);
            for place in taken.drain(..) {
                table.finish(place as Place, kernel);
                kernel.0[place] = None;
            }
            totals.add(&table.view(kernel, moment()));
            totals.sum
        };
        let mut taken = Vec::new();
        for event in events {
            match event {
                Event::Wait { place, waits } => {
                    // A word may have another slot than before: of two, both count.
                    let key = key(1 + place as u32 % 2, 0x10 * (place as u64 / 4));
                    kernel.wait(place, key, waits);
                    truth += waits;
                }
                Event::Judge { place, kind, address } => {
                    if let Some(lock) = kernel.get(place as Place) {
                        table.told(answer(place as Place, lock.key, KINDS[kind], address), &kernel);
                    }
                }
                Event::Fail { place } => {
                    if let Some(lock) = kernel.get(place as Place) {
                        let mut answer = answer(place as Place, lock.key, Kind::Unknown, 0);
                        answer.identity = None;
                        table.told(answer, &kernel);
                    }
                }
                Event::Take { place } => taken.push(place),
                Event::Park { place } => {
                    if let Some(lock) = kernel.get(place as Place) {
                        table.parked(place as Place, &lock.key, &WAITER);
                    }
                }
                Event::Look => {
                    look(&mut kernel, &mut table, &mut taken);
                }
            }
        }
        taken.extend(0..PLACES);
        look(&mut kernel, &mut table, &mut taken);
        let sum = look(&mut kernel, &mut table, &mut taken);
        prop_assert_eq!(sum, truth);
        let sum = look(&mut kernel, &mut table, &mut taken);
        prop_assert_eq!(sum, truth);
        prop_assert_eq!((table.live(), table.process_count(), table.names.len()), (0, 0, 0));
        prop_assert_eq!(table.rows.len(), table.free_rows.len());
    }
}
