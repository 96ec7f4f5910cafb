//! Threads and processes that end, fork and execute while they are watched: no waiter stays behind as a ghost.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::{Capture, Outcomes},
    toolchain::{Build, build},
    workload::{Parked, Truth},
};
use serde::Deserialize;

use crate::outcomes;

/// Killed while parked: those waits ended, by the death of their threads; recording ends with its last target.
#[test]
fn killed_while_parked() -> Result<()> {
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "40"],
    )?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let parked: Parked = workload.go_to("parked")?;
    workload.kill()?;
    killed(&recording.wait()?, pid, &parked, 40)
}

/// The same with threads that were parked before.
#[test]
fn killed_while_parked_before_attach() -> Result<()> {
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "40"],
    )?;
    let pid = workload.pid();
    let parked: Parked = workload.go_to("parked")?;
    let recording = Recording::of(pid)?;
    workload.kill()?;
    killed(&recording.wait()?, pid, &parked, 40)
}

/// What a lock is may be past finding out once its process is gone; what happened at its address is not.
fn killed(capture: &Capture, pid: u32, parked: &Parked, waiters: u64) -> Result<()> {
    let mut outcomes = Outcomes::default();
    for lock in capture.at(pid, parked.address) {
        ensure!(lock.waiters == 0, "{} ghost waiters", lock.waiters);
        ensure!(
            lock.holder.is_none(),
            "a dead thread holds it: {:?}",
            lock.holder
        );
        outcomes.add(lock.outcomes);
    }
    let expected = Outcomes {
        interrupted: waiters,
        ..Outcomes::default()
    };
    ensure!(outcomes == expected, "{outcomes:?}");
    capture.no_wait_lost()
}

#[derive(Deserialize)]
struct Image {
    image: String,
    address: String,
    waiters: u64,
}

/// Two programs in turn under one process id, with waiters at the same address.
#[test]
fn exec_while_parked() -> Result<()> {
    let mut workload = Workload::start(&build("exec.c", Build::FixedAddress)?, &["6"])?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let before: Image = workload.go_to("parked")?;
    let after: Image = workload.go_to("parked")?;
    ensure!(
        before.image == "before" && after.image == "after",
        "the workload is wrong"
    );
    ensure!(
        before.address == after.address,
        "the workload is wrong: two addresses"
    );
    let address = holdup_tests::report::parse_address(&after.address)?;

    let snapshot = holdup::snapshot(pid)?;
    let waiters: u64 = snapshot
        .locks
        .iter()
        .filter(|lock| lock.address == address)
        .map(|lock| lock.waiters)
        .sum();
    ensure!(
        waiters == after.waiters,
        "snapshot: {waiters} of {} waiters",
        after.waiters
    );

    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let mut outcomes = Outcomes::default();
    for lock in capture.at(pid, address) {
        ensure!(lock.waiters == 0, "{} ghost waiters", lock.waiters);
        outcomes.add(lock.outcomes);
    }
    let expected = Outcomes {
        woken: truth.waits(),
        interrupted: before.waiters,
        ..Outcomes::default()
    };
    ensure!(outcomes == expected, "{outcomes:?}, truth {expected:?}");
    workload.finish()?;
    capture.nothing_lost()
}

/// With `-p`, a process is watched and its children are not, although they wait at the same address.
#[test]
fn children_of_a_process_are_others() -> Result<()> {
    let mut workload = Workload::start(&build("family.c", Build::Plain)?, &["20"])?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let parent = truth
        .locks
        .iter()
        .find(|lock| lock.name == "parent")
        .context("no parent")?;
    outcomes::check(&capture, pid, parent)?;
    let strangers: Vec<u32> = capture
        .processes
        .iter()
        .map(|process| process.pid)
        .filter(|other| *other != pid)
        .collect();
    ensure!(strangers.is_empty(), "also watched: {strangers:?}");
    workload.finish()?;
    capture.nothing_lost()
}

/// The target ends by itself: recording ends too, with a report of what was seen.
#[test]
fn target_ends_while_recording() -> Result<()> {
    let mut workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["20", "5"])?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let truth: Truth = workload.go_to("truth")?;
    workload.finish()?;
    let capture = recording.wait()?;
    ensure!(
        truth.waits() == 100 && capture.waits_of(pid) == 100,
        "{} waits",
        capture.waits_of(pid)
    );
    capture.nothing_lost()
}

/// Threads that come and go by the ten thousand, more than there are thread ids: each wait is counted where it was.
#[test]
fn churn_of_threads() -> Result<()> {
    let mut workload = Workload::start(&build("churn.c", Build::Plain)?, &["40000", "2"])?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    ensure!(
        truth.waits() == 80_000,
        "the workload waited {} times",
        truth.waits()
    );
    for lock in &truth.locks {
        outcomes::check(&capture, pid, lock)?;
    }
    workload.finish()?;
    capture.nothing_lost()
}
