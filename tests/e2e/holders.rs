//! Who holds a lock that keeps no record of it: named where it can be known, with the right word for how well, and nobody
//! where it cannot. The workloads `holders.c` and `holders.rs` know the truth, and have a heartbeat all the while.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload,
    heartbeat::Heart,
    holdup,
    report::{Capture, Explanation, Lock, Snapshot, parse_address},
    toolchain::{Build, build},
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Truth {
    address: String,
    holder: u32,
    not: Vec<u32>,
    waiters: Vec<u32>,
    #[serde(flatten)]
    heart: Heart,
}

impl Truth {
    fn address(&self) -> Result<u64> {
        parse_address(&self.address)
    }
}

fn rust_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_holdup-test-holders"))
}

fn c_program() -> Result<PathBuf> {
    build("holders.c", Build::Plain)
}

/// Records while the workload gets to where it is held up.
fn recorded(program: &Path, mode: &str) -> Result<(Workload, Truth, Capture)> {
    let mut workload = Workload::start(program, &[mode])?;
    let recording = Recording::of(workload.pid())?;
    let truth = workload.go_to("held_up")?;
    let capture = recording.stop()?;
    Ok((workload, truth, capture))
}

/// Looks once, at a workload that nobody has watched.
fn looked_at(program: &Path, mode: &str) -> Result<(Workload, Truth, Snapshot)> {
    let mut workload = Workload::start(program, &[mode])?;
    let truth = workload.go_to("held_up")?;
    let snapshot = holdup::snapshot(workload.pid())?;
    Ok((workload, truth, snapshot))
}

fn why(lock: &Lock) -> Result<&Explanation> {
    lock.explanation.as_ref().context("no explanation")
}

/// The lock is held by whom the truth says; the chain ends there.
fn is_held<'a>(lock: &'a Lock, truth: &Truth, confidence: &str) -> Result<&'a Explanation> {
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        holder.tid == truth.holder && holder.confidence == confidence,
        "{holder:?}, truth {truth:?}"
    );
    ensure!(holder.since_ns.is_some(), "since when? {holder:?}");
    let explanation = why(lock)?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && explanation.root.is_thread(truth.holder)
            && explanation.confidence == confidence
            && explanation.ending == "blocked"
            && explanation.progress == "stuck"
            && explanation.convoy.is_none()
            && !explanation.deadlock,
        "{explanation:?}"
    );
    ensure!(
        lock.waiters == u64::try_from(truth.waiters.len())?
            && explanation.waiters_total == lock.waiters,
        "{explanation:?}, truth {truth:?}"
    );
    explanation.says(&[
        &format!("held by thread {}", truth.holder),
        &format!("({confidence}: {}", holder.known_by),
    ])?;
    Ok(explanation)
}

/// Nobody is named, and that is said.
fn is_not_known(lock: &Lock) -> Result<()> {
    ensure!(lock.holder.is_none(), "{:?}", lock.holder);
    let explanation = why(lock)?;
    ensure!(
        explanation.chain.is_empty()
            && explanation.ending == "holder_unknown"
            && explanation.root.is_lock(lock.address)
            && !explanation.deadlock,
        "{explanation:?}"
    );
    explanation.says(&["; holder not known"])
}

/// A Rust mutex has no owner word, but it was seen to be handed on.
#[test]
fn given_a_rust_mutex_and_has_not_passed_it_on() -> Result<()> {
    let (workload, truth, capture) = recorded(&rust_program(), "handed_on")?;
    let lock = capture.lock(workload.pid(), truth.address()?, "mutex")?;
    let explanation = is_held(lock, &truth, "observed")?;
    explanation.says(&[
        "it was woken for it and has not passed it on",
        "which waits in ",
    ])?;
    ensure!(
        capture.root_blockers.len() == 1 && capture.root_blockers[0].root == explanation.root,
        "{:?}",
        capture.root_blockers
    );
    truth.heart.end(workload)
}

/// A parking_lot mutex names nobody either, and its waiters sleep on words of their own.
#[test]
fn given_a_parking_lot_mutex_and_has_not_passed_it_on() -> Result<()> {
    let (workload, truth, capture) = recorded(&rust_program(), "handed_on_parking_lot")?;
    let lock = capture.lock(workload.pid(), truth.address()?, "mutex")?;
    let explanation = is_held(lock, &truth, "observed")?;
    explanation.says(&["it was woken for it and has not passed it on"])?;
    truth.heart.end(workload)
}

/// Whoever was given it last has let go since, without anybody waiting; the one who has it was never seen to get it.
#[test]
fn given_a_rust_mutex_and_has_passed_it_on() -> Result<()> {
    let (workload, truth, capture) = recorded(&rust_program(), "passed_on")?;
    let lock = capture.lock(workload.pid(), truth.address()?, "mutex")?;
    if let Some(holder) = &lock.holder {
        ensure!(
            holder.tid == truth.holder && holder.confidence == "inferred",
            "{holder:?}, truth {truth:?}"
        );
        is_held(lock, &truth, "inferred")?;
    } else {
        is_not_known(lock)?;
    }
    truth.heart.end(workload)
}

/// Nothing was watched: where the holder stands in the code tells.
#[test]
fn past_the_call_for_a_parking_lot_mutex() -> Result<()> {
    let (workload, truth, snapshot) = looked_at(&rust_program(), "past_the_call")?;
    let lock = snapshot.lock(workload.pid(), truth.address()?, "mutex")?;
    let explanation = is_held(lock, &truth, "inferred")?;
    explanation.says(&["it is past the call for the lock in "])?;
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(holder.since_is_at_least, "{holder:?}");
    truth.heart.end(workload)
}

/// The holder has taken the lock in another function: it has the address, and calls what the waiters call.
#[test]
fn the_address_and_a_call_elsewhere() -> Result<()> {
    let (workload, truth, snapshot) = looked_at(&rust_program(), "elsewhere")?;
    let lock = snapshot.lock(workload.pid(), truth.address()?, "mutex")?;
    let explanation = is_held(lock, &truth, "inferred")?;
    explanation.says(&["its stack holds the lock's address, and its function "])?;
    truth.heart.end(workload)
}

/// The holder never sleeps: its registers are those of its last entry into the kernel, and it is read twice.
#[test]
fn past_the_call_and_on_a_cpu() -> Result<()> {
    let (workload, truth, snapshot) = looked_at(&rust_program(), "on_cpu")?;
    let lock = snapshot.lock(workload.pid(), truth.address()?, "mutex")?;
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        holder.tid == truth.holder && holder.confidence == "inferred",
        "{holder:?}, truth {truth:?}"
    );
    let explanation = why(lock)?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && explanation.root.is_thread(truth.holder)
            && explanation.confidence == "inferred"
            && ["runs", "starved"].contains(&explanation.ending.as_str())
            && explanation.progress == "progressing",
        "{explanation:?}"
    );
    explanation.says(&[
        "it is past the call for the lock in ",
        "at two moments while it runs",
        "it is slow but moves",
    ])?;
    truth.heart.end(workload)
}

/// As in a snapshot, at the end of a recording.
#[test]
fn past_the_call_in_a_recording() -> Result<()> {
    let (workload, truth, capture) = recorded(&rust_program(), "past_the_call")?;
    let lock = capture.lock(workload.pid(), truth.address()?, "mutex")?;
    is_held(lock, &truth, "inferred")?;
    truth.heart.end(workload)
}

/// The owner has ended without a trace, and two threads that know of the lock are as likely as each other.
#[test]
fn nobody_when_two_are_as_likely() -> Result<()> {
    let (workload, truth, snapshot) = looked_at(&rust_program(), "nobody")?;
    let lock = snapshot.lock(workload.pid(), truth.address()?, "mutex")?;
    ensure!(truth.holder == 0 && truth.not.len() == 2, "{truth:?}");
    is_not_known(lock)?;
    ensure!(why(lock)?.progress == "unknown" || why(lock)?.progress == "stuck");
    truth.heart.end(workload)
}

/// A condition variable that nobody signals, since its signaller waits for its peer.
#[test]
fn a_signaller_that_is_blocked() -> Result<()> {
    let (workload, truth, capture) = recorded(&c_program()?, "condvar")?;
    let lock = capture.lock(workload.pid(), truth.address()?, "condvar")?;
    let holder = lock.holder.as_ref().context("nobody signals")?;
    ensure!(
        holder.tid == truth.holder
            && holder.confidence == "inferred"
            && holder.known_by == "the last to signal it"
            && holder.since_ns.is_none(),
        "{holder:?}, truth {truth:?}"
    );
    let explanation = why(lock)?;
    ensure!(
        explanation.kinds() == ["produced_by"]
            && explanation.root.is_thread(truth.holder)
            && explanation.confidence == "inferred"
            && explanation.ending == "blocked"
            && explanation.progress == "stuck"
            && !explanation.deadlock,
        "{explanation:?}"
    );
    explanation.says(&[
        "3 threads wait for condvar `has_work`",
        &format!("by thread {} `producer`", truth.holder),
        "which waits in recvfrom() on fd ",
    ])?;
    truth.heart.end(workload)
}

/// What a snapshot sees of it: no signal, so nobody is expected to give one.
#[test]
fn a_signaller_that_was_not_seen() -> Result<()> {
    let (workload, truth, snapshot) = looked_at(&c_program()?, "condvar")?;
    is_not_known(snapshot.lock(workload.pid(), truth.address()?, "condvar")?)?;
    truth.heart.end(workload)
}

/// Two threads that have nothing to do wait for each other's signals: that is no deadlock.
#[test]
fn idle_threads_are_no_deadlock() -> Result<()> {
    let (workload, truth, capture) = recorded(&c_program()?, "idle")?;
    is_not_known(capture.lock(workload.pid(), truth.address()?, "condvar")?)?;
    ensure!(capture.deadlocks.is_empty(), "{:?}", capture.deadlocks);
    ensure!(
        capture.locks.iter().all(|lock| lock.holder.is_none()),
        "{:?}",
        capture.locks
    );
    truth.heart.end(workload)
}

/// A semaphore that goes from hand to hand: the one that was let in last has it.
#[test]
fn given_a_semaphore() -> Result<()> {
    let (workload, truth, capture) = recorded(&c_program()?, "semaphore")?;
    let lock = capture.lock(workload.pid(), truth.address()?, "semaphore")?;
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        holder.tid == truth.holder && holder.confidence == "observed",
        "{holder:?}, truth {truth:?}"
    );
    let explanation = why(lock)?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && explanation.root.is_thread(truth.holder)
            && explanation.confidence == "observed",
        "{explanation:?}"
    );
    truth.heart.end(workload)
}

/// Handed round with a constant queue: slow, but nobody is wedged. In a recording and in a snapshot.
#[test]
fn a_convoy_is_not_stuck() -> Result<()> {
    let (workload, truth, capture) = recorded(&c_program()?, "convoy")?;
    let snapshot = holdup::snapshot(workload.pid())?;
    for lock in [
        capture.lock(workload.pid(), truth.address()?, "mutex")?,
        snapshot.lock(workload.pid(), truth.address()?, "mutex")?,
    ] {
        let explanation = why(lock)?;
        let convoy = explanation.convoy.context("no convoy")?;
        ensure!(
            explanation.progress == "progressing" && !explanation.deadlock,
            "{explanation:?}"
        );
        ensure!(
            convoy.handoffs >= 2 && convoy.waiters >= 2 && convoy.interval_ns >= 50_000_000,
            "{convoy:?}"
        );
        explanation.says(&["convoy, not deadlock: handed on ", "it is slow but moves"])?;
        ensure!(
            lock.holder
                .as_ref()
                .is_none_or(|holder| holder.confidence == "exact"),
            "{:?}",
            lock.holder
        );
    }
    truth.heart.end(workload)
}

/// The same lock with the same waiters, but its owner stays.
#[test]
fn a_stuck_lock_is_no_convoy() -> Result<()> {
    let (workload, truth, capture) = recorded(&c_program()?, "stuck")?;
    let snapshot = holdup::snapshot(workload.pid())?;
    for lock in [
        capture.lock(workload.pid(), truth.address()?, "mutex")?,
        snapshot.lock(workload.pid(), truth.address()?, "mutex")?,
    ] {
        let holder = lock.holder.as_ref().context("no holder")?;
        let explanation = why(lock)?;
        ensure!(
            holder.tid == truth.holder
                && holder.confidence == "exact"
                && holder.since_ns.is_some()
                && holder.since_is_at_least,
            "{holder:?}"
        );
        ensure!(
            explanation.convoy.is_none()
                && explanation.progress == "stuck"
                && explanation.root.is_thread(truth.holder),
            "{explanation:?}"
        );
        explanation.says(&[&format!(
            "held by thread {} `holder` since >= ",
            truth.holder
        )])?;
    }
    truth.heart.end(workload)
}

/// The owner has ended, and a thread that was born later has its id.
#[test]
fn an_owner_whose_id_is_anothers() -> Result<()> {
    let (workload, truth, snapshot) = looked_at(&c_program()?, "reused")?;
    let lock = snapshot.lock(workload.pid(), truth.address()?, "mutex")?;
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        truth.not == [holder.tid] && holder.comm.is_empty() && holder.since_ns.is_none(),
        "{holder:?}, truth {truth:?}"
    );
    let explanation = why(lock)?;
    ensure!(
        explanation.chain.is_empty()
            && explanation.ending == "abandoned"
            && explanation.progress == "stuck"
            && explanation.root.is_lock(lock.address),
        "{explanation:?}"
    );
    explanation.says(&["its owner is dead: abandoned"])?;
    truth.heart.end(workload)
}

#[derive(Debug, Deserialize)]
struct HeldUp {
    #[serde(flatten)]
    heart: Heart,
    locks: Vec<Held>,
}

#[derive(Debug, Deserialize)]
struct Held {
    address: String,
    holder: u32,
}

/// The readers and the writers of one lock are two rows, and each speaks of its own.
#[test]
fn readers_and_writers_speak_for_themselves() -> Result<()> {
    let program = build("holdup_chain.c", Build::Plain)?;
    let mut workload = Workload::start(&program, &["readers_and_writers"])?;
    let truth: HeldUp = workload.go_to("held_up")?;
    let snapshot = holdup::snapshot(workload.pid())?;
    let held = truth.locks.first().context("no lock")?;
    let address = parse_address(&held.address)?;
    for (kind, begins) in [
        (
            "rwlock_read",
            "3 threads wait for rwlock `table_lock` to read (app_take_read ",
        ),
        (
            "rwlock_write",
            "2 threads wait for rwlock `table_lock` to write (app_take_write ",
        ),
    ] {
        let lock = snapshot.lock(workload.pid(), address, kind)?;
        let explanation = why(lock)?;
        ensure!(
            explanation.text.starts_with(begins),
            "{:?}",
            explanation.text
        );
        ensure!(
            explanation.root.is_thread(held.holder) && explanation.waiters_total == 5,
            "{explanation:?}"
        );
        explanation.says(&["in all 5 threads wait behind it"])?;
    }
    truth.heart.end(workload)
}
