//! Calls of lock functions against programs that count their own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

#[path = "entry/scene.rs"]
mod scene;

use holdup::{
    pipeline::Watch,
    probe::uprobe::asked::{Probes, UserFunction},
};
use holdup_abi::entry::{DESTROYED, KIND_NAMED};
use scene::{Program, Watching, alone, build, play};

const COUNTS: &str = "entry_counts.c";

#[test]
fn every_call_is_counted() {
    let _alone = alone();
    let scenes = [
        "tries",
        "timed",
        "recursive",
        "rwlock",
        "spin",
        "condvar",
        "semaphore",
        "barrier",
        "c11",
    ];
    let mut program = Program::start(&build("cc", COUNTS, &[]), &scenes);
    let played = play(&mut program, scenes.len(), Probes::default());
    played.check();
    played.lost(&[]);
}

#[test]
fn a_million_acquisitions_are_counted() {
    let _alone = alone();
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["million"]);
    let played = play(&mut program, 1, Probes::default());
    assert_eq!(played.truths[0].values["acquisitions"], 1_000_000);
    played.check();
    played.lost(&[]);
    let lock = played.lock(played.truths[0].address);
    assert_eq!((lock.unmatched, lock.holder_tid, lock.users), (0, 0, 0));
    assert!(lock.contended > 0, "four threads on two processors");
}

#[test]
fn holds_are_as_long_as_the_program_says() {
    let _alone = alone();
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["hold"]);
    let played = play(&mut program, 1, Probes::default());
    played.check();
    played.lost(&[]);
    let truth = &played.truths[0];
    let lock = played.lock(truth.address);
    let (hold_ns, longest_ns) = (truth.values["hold_ns"], truth.values["longest_ns"]);
    // The program reads its clock inside: what is measured is never shorter. It is longer by a return, a call and two traps,
    // which a busy machine may stretch by some preemptions.
    let slack_ns = 100 * 20_000 + 50_000_000;
    assert!(
        lock.hold_total_ns >= hold_ns,
        "{} {hold_ns}",
        lock.hold_total_ns
    );
    assert!(
        lock.hold_total_ns <= hold_ns + slack_ns,
        "{} {hold_ns}",
        lock.hold_total_ns
    );
    assert!(lock.hold_max_ns >= longest_ns);
    // Ten holds of 20 ms and more, ninety of 1 ms and more.
    let above = |limit_ns: u64| -> u64 {
        let first = holdup_abi::lock::bucket(limit_ns);
        lock.hold_histogram[first..].iter().sum()
    };
    assert_eq!(above(1_000_000), 100);
    assert!(above(20_000_000) >= 10, "{:?}", lock.hold_histogram);
    let [longest] = played.data.long_holds.as_slice() else {
        panic!("{:?}", played.data.long_holds)
    };
    assert!(longest.held_ns >= 20_000_000 && longest.held_ns <= lock.hold_max_ns);
    assert!(!longest.acquired.is_empty() && !longest.released.is_empty());
}

#[test]
fn a_lock_that_is_destroyed_is_not_the_next_one() {
    let _alone = alone();
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["reuse"]);
    let played = play(&mut program, 1, Probes::default());
    played.check();
    played.lost(&[]);
    let address = played.truths[0].address;
    let lives = played
        .data
        .locks
        .values()
        .filter(|lock| lock.key.address == address);
    let mut lives: Vec<_> = lives
        .map(|lock| (lock.acquisitions, lock.flags & DESTROYED))
        .collect();
    lives.sort_unstable();
    assert_eq!(lives, [(100, DESTROYED), (200, DESTROYED), (300, 0)]);
}

#[test]
fn what_is_beyond_eight_locks_is_counted_as_lost() {
    let _alone = alone();
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["many"]);
    let played = play(&mut program, 1, Probes::default());
    played.check();
    played.lost(&[("entry_held_full", 100)]);
    // Each of eight with each that came before it.
    assert_eq!(played.data.edges.len(), 8 * 7 / 2);
    assert!(played.data.edges.iter().all(|edge| edge.count == 50));
    for edge in &played.data.edges {
        assert!(!edge.held_stack.is_empty() && !edge.asked_stack.is_empty());
        assert!(edge.set.as_ref().unwrap().contains(&edge.held));
    }
}

#[test]
fn musl_and_static_programs() {
    let _alone = alone();
    let ways: [(&str, &[&str]); 3] = [
        ("musl-gcc", &[]),
        ("musl-gcc", &["-static"]),
        ("cc", &["-static"]),
    ];
    for (compiler, arguments) in ways {
        let scenes = [
            "tries",
            "timed",
            "recursive",
            "rwlock",
            "condvar",
            "semaphore",
            "barrier",
            "c11",
            "reuse",
        ];
        let mut program = Program::start(&build(compiler, COUNTS, arguments), &scenes);
        let played = play(&mut program, scenes.len(), Probes::default());
        played.check();
        played.lost(&[]);
    }
}

#[test]
fn a_library_that_is_loaded_later() {
    let _alone = alone();
    let plugin = build("cc", "entry_plugin.c", &["-shared", "-fPIC"]);
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["load", "plugin"]);
    let function = |name: &str| UserFunction {
        name: name.to_owned(),
        argument: 1,
    };
    let probes = Probes {
        lock_functions: vec![function("plugin_lock")],
        unlock_functions: vec![function("plugin_unlock")],
        ..Probes::default()
    };
    let mut watching = Watching::of(&program, probes);
    program.tell(plugin.to_str().unwrap());
    watching.play(&mut program);
    watching.until_attached("entry_plugin");
    watching.play(&mut program);
    let played = watching.finish();
    played.check();
    played.lost(&[]);
    let lock = played.lock(played.truths[0].address);
    assert_eq!(lock.kind, KIND_NAMED);
    // A plan row for each file, once.
    let rows = |name: &str| {
        played
            .plan
            .iter()
            .filter(|row| row.probe.contains(name))
            .count()
    };
    assert_eq!((rows("libc.so.6 in"), rows("entry_plugin")), (1, 1));
}

#[test]
fn locks_that_are_held_now() {
    let _alone = alone();
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["keep"]);
    let played = play(&mut program, 1, Probes::default());
    played.check();
    let truth = |name: &str| {
        played
            .truths
            .iter()
            .find(|truth| truth.name == name)
            .unwrap()
    };
    let (kept, wanted) = (truth("kept"), truth("wanted"));
    let (keeper, waiter) = (kept.values["holder"] as u32, wanted.values["waiter"] as u32);
    let lock = played.lock(kept.address);
    assert_eq!(lock.holder_tid, keeper);
    assert!(lock.holder_since_ns > lock.born_ns - 1);
    let now = |tid: u32| played.data.now.iter().filter(move |now| now.tid == tid);
    let key = |slot: u32| played.data.locks[&slot].key.address;
    let held: Vec<_> = now(keeper)
        .filter(|now| now.is_held)
        .map(|now| key(now.lock.slot))
        .collect();
    assert_eq!(held, [kept.address]);
    // The one who waits holds `wanted` and asks for `kept`: an edge, though it never came to it.
    let mut doing: Vec<_> = now(waiter)
        .map(|now| (key(now.lock.slot), now.is_held))
        .collect();
    doing.sort_by_key(|(_, is_held)| *is_held);
    assert_eq!(doing, [(kept.address, false), (wanted.address, true)]);
    let between = (wanted.address, kept.address);
    let edges = played.data.edges.iter();
    let edges: Vec<_> = edges
        .filter(|edge| (key(edge.held.slot), key(edge.asked.slot)) == between)
        .map(|edge| (edge.count, edge.tid))
        .collect();
    assert_eq!(edges, [(1, waiter)]);
}

#[test]
fn children_have_locks_of_their_own() {
    let _alone = alone();
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["family", "child"]);
    let watch = Watch::Family(vec![program.pid()]);
    let mut watching = Watching::start(watch, Probes::default());
    watching.play(&mut program);
    let child = watching.truths()[0].values["child"];
    watching.until_attached(&format!("libc.so.6 in {child} "));
    watching.play(&mut program);
    let played = watching.finish();
    played.check();
    played.lost(&[]);
}

#[test]
fn destroyed_locks_make_room() {
    let _alone = alone();
    // 24,000 locks, where there is room for 16,384.
    let mut program = Program::start(&build("cc", COUNTS, &[]), &["churn"; 6]);
    let mut watching = Watching::of(&program, Probes::default());
    for _ in 0..6 {
        watching.until_locks(12_288);
        watching.play(&mut program);
    }
    let played = watching.finish();
    played.lost(&[]);
    assert!(played.data.forgotten > 0);
    let all = played.data.locks.values();
    let once = all.filter(|lock| lock.acquisitions == 1 && lock.flags & DESTROYED != 0);
    assert_eq!(once.count() as u64 + played.data.forgotten, 24_000);
}
