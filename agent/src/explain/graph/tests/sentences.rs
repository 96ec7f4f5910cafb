//! The words themselves.

use super::*;

#[test]
fn a_holder_in_a_system_call() {
    let mut world = World::default().lock(1, 212).held(1, 4711).thread(
        4711,
        Activity::Blocked,
        "waits in recv() on fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 41 s",
    );
    world.0.locks[0].name = "cache_lock".to_owned();
    world.0.locks[0].site = Some("config.c:88".to_owned());
    world.0.locks[0].oldest_wait_ns = Some(41 * SECOND);
    world.0.threads[0].comm = "sync-worker".to_owned();
    world.0.holds[0].since_ns = Some(41 * SECOND);
    world.0.holds[0].at_least = true;
    let expected = "212 threads wait for mutex `cache_lock` (config.c:88), oldest 41.0 s; \
        held by thread 4711 `sync-worker` since >= 41.0 s, \
        which waits in recv() on fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 41 s";
    assert_eq!(of(&world.explain(), 1).text, expected);
    // The same when the graph leads on to the peer.
    let world = world.block(
        Id::Thread(tid(4711)),
        Id::Endpoint("TCP to 10.0.3.7:6379".to_owned()),
        LinkKind::BlockedIn,
    );
    let total = "; in all 213 threads wait behind it";
    assert_eq!(of(&world.explain(), 1).text, format!("{expected}{total}"));
}

#[test]
fn a_deadlock_names_who_took_what_where() {
    let mut world = World::default()
        .lock(1, 1)
        .lock(2, 1)
        .held(1, 10)
        .waits(10, 2)
        .held(2, 11)
        .waits(11, 1);
    world.0.holds[0].site = Some("f.c:3".to_owned());
    world.0.waits[0].site = Some("f.c:9".to_owned());
    let world = world.thread(10, Activity::Blocked, "");
    let expected = "deadlock: thread 10 `t10` holds mutex `m1` (taken at f.c:3) and waits for mutex `m2` (at f.c:9); \
        thread 11 holds mutex `m2` and waits for mutex `m1`";
    let explained = world.explain();
    assert_eq!(explained.deadlocks[0].text, expected);
    assert_eq!(
        of(&explained, 1).text,
        format!("1 thread waits for mutex `m1`; {expected}; in all 2 threads wait behind it")
    );
}

#[test]
fn a_chain_over_two_locks_with_a_guess() {
    let mut world = World::default()
        .lock(1, 2)
        .lock(2, 1)
        .held(1, 10)
        .waits(10, 2)
        .held(2, 11)
        .thread(11, Activity::Runs, "runs on CPU 3");
    world.0.holds[1].confidence = Confidence::Inferred;
    world.0.holds[1].known_by = "its stack holds the lock's address".to_owned();
    world.0.waits[0].since_ns = Some(3 * SECOND);
    world.0.threads[0].progress = Progress::Progressing;
    assert_eq!(
        of(&world.explain(), 1).text,
        "2 threads wait for mutex `m1`; held by thread 10, which waits for mutex `m2` for 3.00 s, \
         held by thread 11 `t11` (inferred: its stack holds the lock's address), which runs on CPU 3; \
         it is slow but moves; in all 3 threads wait behind it"
    );
}

#[test]
fn unknown_dead_and_moving() {
    let mut world =
        World::default()
            .lock(1, 8)
            .lock(2, 1)
            .held(2, 10)
            .thread(10, Activity::Dead, "");
    world.0.locks[0].looks = looks((0, 80), (8, 8));
    let explained = world.explain();
    assert_eq!(
        of(&explained, 1).text,
        "8 threads wait for mutex `m1`; holder not known; it is slow but moves; \
         convoy, not deadlock: handed on 80 times in 1.00 s while 8 wait, so that each waits about 100 ms"
    );
    assert_eq!(
        of(&explained, 2).text,
        "1 thread waits for mutex `m2`; held by thread 10 `t10`, which is dead: abandoned"
    );
}

#[test]
fn the_other_end_of_a_pipe() {
    let world = World::default()
        .lock(1, 1)
        .held(1, 10)
        .thread(10, Activity::Blocked, "waits in read() on fd 3, a pipe")
        .block(Id::Thread(tid(10)), Id::Process(200), LinkKind::BlockedIn);
    let mut world = world;
    world.0.processes.push(Process {
        pid: 200,
        comm: "feeder".to_owned(),
        activity: Activity::Stopped,
        text: String::new(),
        progress: Progress::Unknown,
    });
    assert_eq!(
        of(&world.explain(), 1).text,
        "1 thread waits for mutex `m1`; held by thread 10 `t10`, which waits in read() on fd 3, a pipe, \
         whose other end is process 200 `feeder`, which is stopped; in all 2 threads wait behind it"
    );
}

#[test]
fn hostile_names_stay_in_one_printable_line() {
    let mut world = World::default().lock(1, 1).held(1, 10).thread(
        10,
        Activity::Blocked,
        &"\x1b[2J\n".repeat(100_000),
    );
    world.0.locks[0].name = "\u{202e}x\n".repeat(100_000);
    world.0.threads[0].comm = "a\0b".to_owned();
    let explained = world.explain();
    let text = &of(&explained, 1).text;
    assert!(text.len() < 2_000, "{} bytes", text.len());
    assert!(!text.contains(['\n', '\x1b', '\0', '\u{202e}']));
}

#[test]
fn the_root_of_a_deadlock() {
    let explained = World::default()
        .lock(1, 1)
        .held(1, 10)
        .waits(10, 1)
        .thread(10, Activity::Blocked, "waits in futex()")
        .explain();
    assert_eq!(
        explained.root_blockers[0].text,
        "1 thread waits behind thread 10 `t10`, which is in a deadlock"
    );
}

/// Two rows of one lock: each speaks of its own waiters, and of all that wait behind the holder.
#[test]
fn readers_and_writers_have_a_sentence_each() {
    let mut world =
        World::default()
            .lock(1, 3)
            .lock(1, 2)
            .held(1, 10)
            .thread(10, Activity::Blocked, "sleeps");
    for (lock, kind) in world
        .0
        .locks
        .iter_mut()
        .zip([Kind::RwlockRead, Kind::RwlockWrite])
    {
        lock.kind = kind;
    }
    world.0.locks[0].site = Some("f.c:3".to_owned());
    world.0.locks[1].site = Some("g.c:4".to_owned());
    let text = |world: &World, kind| world.explain().locks[&(at(1), kind)].text.clone();
    let rest = "; held by thread 10 `t10`, which sleeps; in all 5 threads wait behind it";
    assert_eq!(
        text(&world, Kind::RwlockRead),
        format!("3 threads wait for rwlock `m1` to read (f.c:3){rest}")
    );
    assert_eq!(
        text(&world, Kind::RwlockWrite),
        format!("2 threads wait for rwlock `m1` to write (g.c:4){rest}")
    );
    // With readers alone, the lock speaks.
    world.0.locks.pop();
    assert_eq!(
        text(&world, Kind::RwlockRead),
        "3 threads wait for rwlock `m1` to read (f.c:3); held by thread 10 `t10`, which sleeps"
    );
}

/// Who signals a condition variable does not hold it.
#[test]
fn a_signaller() {
    let mut world = World::default()
        .lock(1, 2)
        .thread(10, Activity::Blocked, "waits in recv() on fd 3")
        .block(Id::Lock(at(1)), Id::Thread(tid(10)), LinkKind::ProducedBy);
    world.0.locks[0].kind = Kind::Condvar;
    world.0.blocks[0].text = "expected to be signalled by".to_owned();
    world.0.blocks[0].confidence = Confidence::Inferred;
    world.0.blocks[0].any = true;
    let explained = world.explain();
    let explanation = of(&explained, 1);
    assert_eq!(
        explanation.text,
        "2 threads wait for condvar `m1`; expected to be signalled by thread 10 `t10` (inferred), \
         which waits in recv() on fd 3"
    );
    assert_eq!(explanation.confidence, Confidence::Inferred);
}
