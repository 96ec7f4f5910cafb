//! Libraries that are loaded and processes that are started while holdup records. The workload waits until a probe is in
//! its code, so that every wait is told of.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::Capture,
    scratch::Scratch,
    toolchain::{Build, build},
};

use super::{Counted, check, link, plan, recording};

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

/// From its first wait on.
#[test]
fn a_program_that_holdup_runs() -> Result<()> {
    let program = build("slow_notes.c", Build::Plain)?;
    let scratch = Scratch::new()?;
    let report = scratch.join("report");
    let mut command = holdup::command(&["record", "--probe", "slow", "--no-stacks"])?;
    command.args(["--format", "json", "-o"]).arg(&report);
    command.arg("--").arg(&program).args(["4", "alone"]);
    let said = holdup::finish(&mut command)?.expect(0)?.text();
    let line = said.lines().find(|line| line.contains("counted"));
    let counted: Counted = serde_json::from_str(line.context("no count")?)?;
    let capture = holdup::read(&report)?;
    let pid = capture.locks.first().context("no lock")?.pid;
    check(pid, &counted, &capture, "")
}
