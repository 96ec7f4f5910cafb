//! Targets: those asked for, all of them, and nobody else.

use std::{fs, path::Path, process};

use anyhow::{Result, ensure};
use holdup_tests::{
    Recording, Workload,
    cgroup::Cgroup,
    report::Capture,
    scratch::Scratch,
    toolchain::{Build, build},
    workload::Truth,
};

/// Waits that each workload makes.
const WAITS: u64 = 50;

fn start(program: &Path) -> Result<Workload> {
    Workload::start(program, &["10", "5"])
}

fn plain() -> Result<Workload> {
    start(&build("many_locks.c", Build::Plain)?)
}

/// Lets all of them wait, then ends the recording.
fn record(recording: Recording, workloads: &mut [Workload]) -> Result<Capture> {
    for workload in &mut *workloads {
        let truth: Truth = workload.go_to("truth")?;
        ensure!(truth.waits() == WAITS, "the workload is wrong");
    }
    recording.stop()
}

/// The first `watched` of `workloads` are fully in the report, the others not at all.
fn check(capture: &Capture, workloads: &[Workload], watched: usize) -> Result<()> {
    for (index, workload) in workloads.iter().enumerate() {
        let (waits, expected) = (
            capture.waits_of(workload.pid()),
            if index < watched { WAITS } else { 0 },
        );
        ensure!(
            waits == expected,
            "workload {index}: {waits} waits, not {expected}"
        );
        let listed = capture
            .processes
            .iter()
            .any(|process| process.pid == workload.pid());
        ensure!(
            listed == (index < watched),
            "workload {index} is listed: {listed}"
        );
    }
    capture.nothing_lost()
}

#[test]
fn by_process_id() -> Result<()> {
    let mut workloads = [plain()?, plain()?, plain()?, plain()?];
    let [first, second, third, _] = &workloads;
    let list = format!("{},{}", first.pid(), second.pid());
    let recording = Recording::with(&["-p", &list, "-p", &third.pid_text()])?;
    let capture = record(recording, &mut workloads)?;
    check(&capture, &workloads, 3)
}

/// By name, those that come later included.
#[test]
fn by_name() -> Result<()> {
    let scratch = Scratch::new()?;
    let name = format!("hu-{}", process::id());
    let program = scratch.join(&name);
    fs::copy(build("many_locks.c", Build::Plain)?, &program)?;
    let (early, again, stranger) = (start(&program)?, start(&program)?, plain()?);
    let recording = Recording::with(&["--comm", &name])?;
    let late = start(&program)?;
    let mut workloads = [early, again, late, stranger];
    let capture = record(recording, &mut workloads)?;
    check(&capture, &workloads, 3)?;
    let ours = capture.processes.iter().all(|process| process.comm == name);
    ensure!(ours, "{:?}", capture.processes);
    Ok(())
}

/// By control group, groups inside it and processes that enter later included.
#[test]
fn by_control_group() -> Result<()> {
    let group = Cgroup::new()?;
    let inner = group.child("inner")?;
    let elsewhere = Cgroup::new()?;
    let mut workloads = [plain()?, plain()?, plain()?, plain()?, plain()?];
    let [member, nested, late, other, _] = &workloads;
    group.adopt(member.pid())?;
    inner.adopt(nested.pid())?;
    elsewhere.adopt(other.pid())?;
    let recording = Recording::with(&["--cgroup", &group.path().to_string_lossy()])?;
    group.adopt(late.pid())?;
    let capture = record(recording, &mut workloads)?;
    check(&capture, &workloads, 3)?;
    let name = group
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let inside = |process: &holdup_tests::report::Process| {
        process
            .cgroup
            .as_deref()
            .is_some_and(|path| path.contains(&*name))
    };
    ensure!(
        capture.processes.iter().all(inside),
        "{:?}",
        capture.processes
    );
    Ok(())
}

/// Everybody, but not holdup itself, which [`Recording`] checks of every report.
#[test]
fn everybody() -> Result<()> {
    let mut workloads = [plain()?, plain()?];
    let recording = Recording::with(&["--all"])?;
    let capture = record(recording, &mut workloads)?;
    for workload in &workloads {
        ensure!(
            capture.waits_of(workload.pid()) == WAITS,
            "{}",
            capture.waits_of(workload.pid())
        );
    }
    Ok(())
}

/// A process that is watched with all others, from its birth to its end.
#[test]
fn everybody_born_later() -> Result<()> {
    let recording = Recording::with(&["--all"])?;
    let mut workload = plain()?;
    let _: Truth = workload.go_to("truth")?;
    let pid = workload.pid();
    workload.finish()?;
    let capture = recording.stop()?;
    ensure!(capture.waits_of(pid) == WAITS, "{}", capture.waits_of(pid));
    Ok(())
}
