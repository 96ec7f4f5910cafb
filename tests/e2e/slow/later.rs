//! Libraries that are loaded and processes that are started while holdup records. The workload waits until a probe is in
//! its code, so that every wait is told of.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{Recording, Workload, holdup, report::Capture, scratch::Scratch};

use super::{Counted, TOLD, check, link, plan, recording};

fn programs() -> Result<(std::path::PathBuf, String)> {
    let plugin = link("slow_plugin.c", &["-shared", "-fPIC"])?;
    let plugin = plugin.to_str().context("path")?.to_owned();
    Ok((link("slow_later.c", &[])?, plugin))
}

fn has_plugin(capture: &Capture) -> Result<()> {
    let row = plan(capture, "slow_plugin")?;
    ensure!(row.status == "attached", "{row:?}");
    Ok(())
}

#[test]
fn a_library_that_is_loaded_later() -> Result<()> {
    let (program, plugin) = programs()?;
    let mut workload = Workload::start(&program, &[&plugin])?;
    let pid = workload.pid();
    let recording = recording(&workload, &["--no-stacks"])?;
    let counted: Counted = workload.go_to("counted")?;
    let capture = recording.stop()?;
    workload.finish()?;
    check(pid, &counted, &capture, "rust-std")?;
    has_plugin(&capture)
}

#[test]
fn a_process_that_starts_later() -> Result<()> {
    let (program, plugin) = programs()?;
    let recording = Recording::with(&["--all", "--probe", "slow", "--no-stacks"])?;
    let mut workload = Workload::start(&program, &[&plugin])?;
    let pid = workload.pid();
    let counted: Counted = workload.go_to("counted")?;
    let capture = recording.stop()?;
    workload.finish()?;
    check(pid, &counted, &capture, "rust-std")
}

#[test]
fn a_program_that_holdup_runs() -> Result<()> {
    let (program, plugin) = programs()?;
    let scratch = Scratch::new()?;
    let report = scratch.join("report");
    let finished = holdup::finish(
        holdup::command(&[
            "record",
            "--probe",
            "slow",
            "--no-stacks",
            "--format",
            "json",
            "-o",
        ])?
        .arg(&report)
        .arg("--")
        .arg(&program)
        .args([&plugin, "alone"]),
    )?;
    finished.expect(0)?;
    let capture = holdup::read(&report)?;
    has_plugin(&capture)?;
    let [lock] = capture.locks.as_slice() else {
        anyhow::bail!("{:?}", capture.locks);
    };
    ensure!(lock.kind == "mutex" && lock.waits == 25, "{lock:?}");
    ensure!(lock.evidence.starts_with(TOLD), "{lock:?}");
    Ok(())
}
