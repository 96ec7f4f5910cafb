//! What hand-offs and signals tell, on small records with a known answer.

use std::collections::BTreeMap;

use holdup_abi::{
    census::Task,
    lock::LockKey,
    record::Regs,
    thread::{IDLE, Thread, WAITING},
};

use super::{
    history::{History, Trace},
    looks,
    parts::{Parts, Sleeper},
    *,
};
use crate::{explain::graph::facts::Look, report::lock::Wait, symbol::Space};

const PID: u32 = 100;
const WORD: u64 = 0x1000;
const OTHER: u64 = 0x2000;
const NOW_NS: u64 = 1_000;

const fn key(address: u64) -> LockKey {
    LockKey {
        address,
        tgid: PID,
        generation: 7,
    }
}

fn seen(tid: u32) -> Seen {
    Seen {
        task: Task {
            tid,
            tgid: PID,
            generation: 7,
            state: 1,
            syscall: libc::SYS_futex,
            args: [WORD, 0, 0, 0, 0, 0],
            regs: Regs::default(),
            last_ran_ns: 5,
            since_ns: 0,
            wait_state: 0,
            wait_flags: 0,
            comm: [0; 16],
        },
        asleep_since_ns: Some(5),
    }
}

/// A lock that threads 1 and 2 wait for, the first since 100, with what is on record.
struct World {
    lock: model::Lock,
    assembled: Assembled,
    history: History,
    seen: Vec<Seen>,
}

impl World {
    fn new(kind: Kind, runtime: &str) -> Self {
        let mut lock = crate::sink::fixture::lock(PID, WORD, kind);
        lock.runtime = Some(runtime.to_owned());
        lock.waiters = 2;
        let sleeper = |tid, since_ns| Sleeper {
            tid,
            since_ns: Some(since_ns),
            stack: std::rc::Rc::default(),
        };
        let parts = Parts {
            space: Space {
                pid: PID,
                generation: 7,
            },
            words: vec![key(WORD)],
            waiters: vec![sleeper(1, 100), sleeper(2, 600)],
        };
        let mut assembled = Assembled::default();
        let name = LockRef {
            pid: PID,
            address: WORD,
        };
        assembled.parts.insert((name, kind), parts);
        let trace = Trace {
            handoffs: 9,
            waiters: 2,
            last_handoff_ns: 500,
            last_woken_tid: 3,
            last_waker_tid: 4,
        };
        let mut world = Self {
            lock,
            assembled,
            history: History {
                at_ns: NOW_NS,
                words: [(key(WORD), trace)].into(),
                handed: HashMap::new(),
                threads: BTreeMap::new(),
            },
            seen: [1, 2, 3, 4].map(seen).into(),
        };
        for tid in [1, 2] {
            world.waits(tid, WORD, kind);
        }
        world.last_waited(3, WORD, IDLE);
        world.last_waited(4, WORD, IDLE);
        world
    }

    fn waits(&mut self, tid: u32, address: u64, kind: Kind) {
        let wait = Wait {
            pid: PID,
            address,
            kind,
            age_ns: Some(1),
            at_least: false,
            steady: true,
        };
        self.assembled.threads.insert(tid, wait);
    }

    fn last_waited(&mut self, tid: u32, address: u64, state: u32) {
        let thread = Thread {
            address,
            state,
            tgid: PID,
            generation: 7,
            ..Thread::default()
        };
        self.history.threads.insert(tid, thread);
    }

    fn trace(&mut self) -> &mut Trace {
        self.history.words.get_mut(&key(WORD)).unwrap()
    }

    fn ask<T>(&self, ask: impl FnOnce(&Question<'_>, &History, &Tasks<'_>) -> T) -> T {
        let name = LockRef {
            pid: PID,
            address: WORD,
        };
        let tasks = self.seen.iter().map(|seen| (seen.task.tid, seen)).collect();
        let question = Question {
            lock: &self.lock,
            parts: &self.assembled.parts[&(name, self.lock.kind)],
            assembled: &self.assembled,
        };
        ask(&question, &self.history, &tasks)
    }

    fn holder(&self) -> Option<Found> {
        self.ask(|question, history, tasks| handoff::holder(question, history, tasks, NOW_NS))
    }

    fn signaller(&self) -> Option<u32> {
        self.ask(waker::signaller).map(|found| found.tid)
    }
}

#[test]
fn given_and_not_passed_on() {
    let found = World::new(Kind::Mutex, "rust-std").holder().unwrap();
    assert_eq!(
        (found.tid, found.confidence, found.since_ns),
        (3, Confidence::Observed, Some(500))
    );
}

#[test]
fn passed_on_or_elsewhere() {
    let mut world = World::new(Kind::Mutex, "rust-std");
    world.trace().last_woken_tid = 0;
    assert_eq!(world.holder(), None, "it woke the word");
    for (address, state) in [(WORD, WAITING), (OTHER, IDLE), (OTHER, WAITING)] {
        let mut world = World::new(Kind::Mutex, "rust-std");
        world.last_waited(3, address, state);
        assert_eq!(world.holder(), None, "it has begun another wait");
    }
    let mut world = World::new(Kind::Mutex, "rust-std");
    world.waits(3, WORD, Kind::Mutex);
    assert_eq!(world.holder(), None, "a waiter is no holder");
    let mut world = World::new(Kind::Mutex, "rust-std");
    world.history.threads.get_mut(&3).unwrap().generation = 8;
    assert_eq!(world.holder(), None, "another program's thread");
}

/// Without waiters, some runtimes let go in silence.
#[test]
fn a_moment_without_waiters() {
    for (runtime, kind, known) in [
        ("rust-std", Kind::Mutex, true),
        ("musl", Kind::Mutex, false),
        ("rust-std", Kind::RwlockWrite, false),
    ] {
        let mut world = World::new(kind, runtime);
        world.trace().last_handoff_ns = 99;
        assert_eq!(world.holder().is_some(), known, "{runtime} {kind:?}");
        world.trace().last_handoff_ns = 100;
        assert!(world.holder().is_some(), "one has waited ever since");
    }
}

#[test]
fn who_ended_with_it() {
    let mut world = World::new(Kind::Mutex, "rust-std");
    world.seen.retain(|seen| seen.task.tid != 3);
    assert_eq!(world.holder(), None, "its entry would be gone too");
    world.history.threads.remove(&3);
    assert_eq!(world.holder().unwrap().tid, 3);
    world.trace().last_handoff_ns = 99;
    assert_eq!(world.holder(), None, "it may have let go before");
}

/// A semaphore that others post than those who wait for it counts things to do.
#[test]
fn semaphores_in_turns_or_not() {
    let mut world = World::new(Kind::Semaphore, "glibc");
    assert_eq!(world.holder().unwrap().tid, 3);
    world.last_waited(4, OTHER, IDLE);
    assert_eq!((world.holder(), world.signaller()), (None, Some(4)));
}

#[test]
fn readers_may_have_left() {
    let found = World::new(Kind::RwlockRead, "rust-std").holder().unwrap();
    assert_eq!(found.confidence, Confidence::Inferred);
}

#[test]
fn the_last_to_signal() {
    let mut world = World::new(Kind::Condvar, "glibc");
    assert_eq!((world.holder(), world.signaller()), (None, Some(4)));
    world.waits(4, OTHER, Kind::Mutex);
    assert_eq!(world.signaller(), Some(4), "it is held up itself");
    for kind in [Kind::Condvar, Kind::Idle, Kind::Semaphore, Kind::Join] {
        world.waits(4, OTHER, kind);
        assert_eq!(world.signaller(), None, "{kind:?} is no reason");
    }
    let mut world = World::new(Kind::Condvar, "glibc");
    world.seen.retain(|seen| seen.task.tid != 4);
    assert_eq!(world.signaller(), None, "it is gone");
    let idle = World::new(Kind::Idle, "glibc");
    assert_eq!((idle.holder(), idle.signaller()), (None, None));
}

/// In a snapshot, a waiter that has run was let in or beaten to it, unless its time may have been up.
#[test]
fn looks_of_threads() {
    let world = World::new(Kind::Mutex, "musl");
    let first = [seen(1), seen(2)];
    let look = |first: &[Seen], second: &[Task]| {
        let looks = looks::of_threads(&world.assembled, 7, first, second);
        *looks.values().next().unwrap()
    };
    let same = [first[0].task, first[1].task];
    let (before, after) = look(&first, &same);
    assert_eq!(
        before,
        Look {
            at_ns: 7,
            handoffs: 0,
            waiters: 2
        }
    );
    assert_eq!((after.handoffs, after.waiters), (0, 2));
    let mut moved = same;
    moved[0].last_ran_ns = 900;
    moved[1].last_ran_ns = 900;
    moved[1].args[0] = OTHER;
    let (_, after) = look(&first, &moved);
    assert_eq!((after.handoffs, after.waiters), (2, 1));
    let mut timed = first;
    timed[0].task.args[3] = 1;
    assert_eq!(look(&timed, &moved).1.handoffs, 1);
}

#[test]
fn looks_of_a_recording() {
    let world = World::new(Kind::Mutex, "musl");
    let mut later = world.history.clone();
    later.at_ns += 50;
    later.words.get_mut(&key(WORD)).unwrap().handoffs += 4;
    let looks = looks::recorded(&world.assembled, &world.history, &later);
    let (first, second) = looks.values().next().unwrap();
    assert_eq!(second.handoffs - first.handoffs, 4);
    assert_eq!((first.waiters, second.at_ns - first.at_ns), (2, 50));
    let idle = World::new(Kind::Idle, "glibc");
    assert!(looks::rows(&idle.assembled).next().is_none());
}
