//! Threads that were parked before holdup came.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::Outcomes,
    toolchain::{Build, build},
    workload::{Parked, Released},
};

/// Still parked at the end: they are in the report, with an age that is a lower bound.
#[test]
fn waits_that_go_on_all_the_time() -> Result<()> {
    for mode in [
        "mutex_normal",
        "mutex_inherit",
        "read_behind_writer",
        "write_behind_writer",
        "cond",
        "semaphore",
    ] {
        let mut workload = Workload::start(&build("primitives.c", Build::Plain)?, &[mode, "7"])?;
        let parked: Parked = workload.go_to("parked")?;
        let capture = Recording::of(workload.pid())?.stop()?;
        let lock = capture.lock(workload.pid(), parked.address, &parked.kind)?;
        ensure!(
            (lock.waiters, lock.waiters_peak, lock.waits) == (7, 7, 0),
            "{mode}: {lock:?}"
        );
        ensure!(
            lock.oldest_is_at_least && lock.oldest_wait_ns.is_some(),
            "{mode}: {lock:?}"
        );
        ensure!(
            lock.names(&parked.function),
            "{mode}: no {} in{}",
            parked.function,
            lock.stacks()
        );
        parked.check_holder(lock.holder.as_ref()).context(mode)?;
        let process = capture
            .processes
            .iter()
            .find(|process| process.pid == workload.pid());
        let counted = process.and_then(|process| process.parked.get(&parked.kind));
        ensure!(counted == Some(&7), "{mode}: {process:?}");
        capture.nothing_lost()?;
        let _: Released = workload.go_to("truth")?;
        workload.finish()?;
    }
    Ok(())
}

/// Released while recording: each is one finished wait.
#[test]
fn waits_that_end_while_recording() -> Result<()> {
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "50"],
    )?;
    let parked: Parked = workload.go_to("parked")?;
    let recording = Recording::of(workload.pid())?;
    let released: Released = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let lock = capture.lock(workload.pid(), parked.address, "mutex")?;
    let expected = Outcomes {
        woken: 50,
        ..Outcomes::default()
    };
    ensure!(
        released.woken == 50 && lock.outcomes == expected,
        "{:?}",
        lock.outcomes
    );
    ensure!((lock.waiters, lock.waiters_peak) == (0, 50), "{lock:?}");
    ensure!(
        lock.names(&parked.function),
        "no {} in{}",
        parked.function,
        lock.stacks()
    );
    workload.finish()?;
    capture.nothing_lost()
}

const CROWD: u64 = 10_000;

/// Ten thousand, before and during: all of them, and the snapshot too.
#[test]
fn ten_thousand_parked_threads() -> Result<()> {
    let program = build("primitives.c", Build::Plain)?;
    let mut workload = Workload::start(&program, &["mutex_normal", &CROWD.to_string()])?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let parked: Parked = workload.go_to("parked")?;

    let seen_parking = recording.stop()?;
    let lock = seen_parking.lock(pid, parked.address, "mutex")?;
    ensure!(
        (lock.waiters, lock.waiters_peak) == (CROWD, CROWD),
        "while parking: {lock:?}"
    );
    ensure!(
        !lock.oldest_is_at_least,
        "these waits' beginnings were seen"
    );
    seen_parking.nothing_lost()?;

    let snapshot = holdup::snapshot(pid)?;
    let lock = snapshot.lock(pid, parked.address, "mutex")?;
    ensure!(lock.waiters == CROWD, "snapshot: {}", lock.waiters);
    ensure!(
        lock.holder.as_ref().map(|holder| holder.tid) == parked.holder,
        "{:?}",
        lock.holder
    );

    let recording = Recording::of(pid)?;
    let released: Released = workload.go_to("truth")?;
    let seen_released = recording.stop()?;
    let lock = seen_released.lock(pid, parked.address, "mutex")?;
    ensure!(
        released.woken == CROWD && lock.outcomes.woken == CROWD,
        "{:?}",
        lock.outcomes
    );
    ensure!(
        (lock.waits, lock.waiters, lock.waiters_peak) == (CROWD, 0, CROWD),
        "{lock:?}"
    );
    seen_released.nothing_lost()?;
    workload.finish()
}
