//! Thread ids that come round again.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::{Outcomes, parse_address},
    toolchain::{Build, build},
    workload::{Parked, Truth},
};
use serde::Deserialize;

use crate::outcomes;

#[derive(Deserialize)]
struct Second {
    tid: u32,
    address: String,
}

/// Within a process: the second thread of that id is not taken for the first.
#[test]
fn two_threads_in_turn_have_one_id() -> Result<()> {
    let mut workload = Workload::start(&build("tid_reuse.c", Build::Plain)?, &["10"])?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let second: Second = workload.go_to("parked")?;
    let snapshot = holdup::snapshot(pid)?;
    let thread = snapshot.thread(second.tid)?;
    ensure!(
        thread.lock == Some(parse_address(&second.address)?),
        "{thread:?}"
    );
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    ensure!(truth.locks.len() == 2, "the workload is wrong");
    for lock in &truth.locks {
        outcomes::check(&capture, pid, lock)?;
    }
    workload.finish()?;
    capture.nothing_lost()
}

/// Between processes: a thread died while parked, and a thread of another process has its id now.
#[test]
fn a_dead_waiters_id_goes_to_another_process() -> Result<()> {
    let mut first = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "1"],
    )?;
    let first_pid = first.pid();
    let parked: Parked = first.go_to("parked")?;
    let tid = *parked.waiters.first().context("nobody waits")?;
    let mut second = Workload::start(
        &build("tid_reuse.c", Build::Plain)?,
        &["10", &tid.to_string()],
    )?;
    let second_pid = second.pid();
    let recording = Recording::with(&["-p", &first.pid_text(), "-p", &second.pid_text()])?;
    first.kill()?;
    let reused: Second = second.go_to("parked")?;
    ensure!(reused.tid == tid, "the workload is wrong");
    let truth: Truth = second.go_to("truth")?;
    let capture = recording.stop()?;
    let mut dead = Outcomes::default();
    for lock in capture.at(first_pid, parked.address) {
        ensure!(lock.waiters == 0, "{} ghost waiters", lock.waiters);
        dead.add(lock.outcomes);
    }
    let expected = Outcomes {
        interrupted: 1,
        ..Outcomes::default()
    };
    ensure!(dead == expected, "{dead:?}");
    for lock in &truth.locks {
        outcomes::check(&capture, second_pid, lock)?;
    }
    second.finish()?;
    capture.nothing_lost()
}
