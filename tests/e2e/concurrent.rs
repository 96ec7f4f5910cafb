//! Several holdups at once do not disturb each other.

use anyhow::{Result, ensure};
use holdup_tests::{
    Recording, Workload,
    toolchain::{Build, build},
    workload::Truth,
};

use crate::outcomes;

/// Two on the same process, one of which stops early: both are exact for their time.
#[test]
fn two_on_one_process() -> Result<()> {
    let mut workload = Workload::start(&build("futex_storm.c", Build::Plain)?, &["4", "20000"])?;
    let pid = workload.pid();
    let (first, second, third) = (
        Recording::of(pid)?,
        Recording::of(pid)?,
        Recording::of(pid)?,
    );
    let nothing_yet = third.stop()?;
    ensure!(nothing_yet.waits_of(pid) == 0, "{:?}", nothing_yet.locks);
    let truth: Truth = workload.go_to("truth")?;
    for recording in [first, second] {
        let capture = recording.stop()?;
        for lock in &truth.locks {
            outcomes::check(&capture, pid, lock)?;
        }
        capture.nothing_lost()?;
    }
    workload.finish()
}

/// Each on a process of its own.
#[test]
fn two_on_two_processes() -> Result<()> {
    let program = build("futex_storm.c", Build::Plain)?;
    let mut workloads = [
        Workload::start(&program, &["4", "5000"])?,
        Workload::start(&program, &["4", "5000"])?,
    ];
    let [one, other] = &mut workloads;
    let (first, second) = (Recording::of(one.pid())?, Recording::of(other.pid())?);
    one.go()?;
    other.go()?;
    for (workload, recording) in [(one, first), (other, second)] {
        let truth: Truth = workload.event("truth")?;
        let capture = recording.stop()?;
        for lock in &truth.locks {
            outcomes::check(&capture, workload.pid(), lock)?;
        }
        ensure!(capture.processes.len() == 1, "{:?}", capture.processes);
    }
    Ok(())
}

/// Each other they see, under `--all`, as any other process: only themselves they leave out.
#[test]
fn a_recording_that_ends_leaves_the_other_whole() -> Result<()> {
    let mut workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["10", "10"])?;
    let (first, second) = (Recording::with(&["--all"])?, Recording::of(workload.pid())?);
    first.stop()?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = second.stop()?;
    ensure!(
        capture.waits_of(workload.pid()) == truth.waits(),
        "{}",
        capture.waits_of(workload.pid())
    );
    capture.nothing_lost()
}
