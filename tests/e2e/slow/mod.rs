//! Probes on contended entry points: kinds and addresses of locks are told, not guessed, and waits are counted by lock
//! whatever word the threads sleep on.

mod later;
mod libraries;
mod notes;
mod rust;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload,
    report::{Capture, parse_address},
    scratch, toolchain,
};
use serde::Deserialize;

/// Last event of a workload that counts its own waits.
#[derive(Debug, Deserialize)]
struct Counted {
    locks: Vec<CountedLock>,
}

#[derive(Debug, Deserialize)]
struct CountedLock {
    kind: String,
    #[serde(deserialize_with = "address")]
    address: u64,
    waits: u64,
    /// Runtime that the probe tells; empty when it tells nothing.
    #[serde(default)]
    told: Option<String>,
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_address(&text).map_err(serde::de::Error::custom)
}

/// Records one process with the probes, and these options.
fn recording(workload: &Workload, options: &[&str]) -> Result<Recording> {
    let pid = workload.pid_text();
    Recording::with(&[&["-p", &pid, "--probe", "slow"], options].concat())
}

/// Records a workload that counts.
fn count(program: &Path, arguments: &[&str], options: &[&str]) -> Result<(u32, Counted, Capture)> {
    let mut workload = Workload::start(program, arguments)?;
    let pid = workload.pid();
    let recording = recording(&workload, options)?;
    let counted = workload.go_to("counted")?;
    let capture = recording.stop()?;
    workload.finish()?;
    capture.nothing_lost()?;
    Ok((pid, counted, capture))
}

/// Begins the evidence of what a probe has told.
const TOLD: &str = "slow-path probe on ";

/// Fails unless the report has exactly the counted waits, and nothing of this process beside. `runtime` is what the probe
/// must tell of where the workload does not say.
fn check(pid: u32, counted: &Counted, capture: &Capture, runtime: &str) -> Result<()> {
    let total: u64 = counted.locks.iter().map(|lock| lock.waits).sum();
    for lock in &counted.locks {
        let found = capture.lock(pid, lock.address, &lock.kind)?;
        ensure!(
            found.waits == lock.waits,
            "{} waits, counted {lock:?}",
            found.waits
        );
        let told = lock.told.as_deref().unwrap_or(runtime);
        let is_told = found.evidence.starts_with(TOLD);
        ensure!(
            is_told != told.is_empty(),
            "{:?} for {lock:?}",
            found.evidence
        );
        if is_told {
            ensure!(
                found.runtime.as_deref() == Some(told),
                "{:?} for {lock:?}",
                found.runtime
            );
        }
    }
    ensure!(
        capture.waits_of(pid) == total,
        "{} waits in all, counted {total}",
        capture.waits_of(pid)
    );
    Ok(())
}

/// Compiles a workload with further arguments, such as libraries of Debian's.
fn link(source: &str, arguments: &[&str]) -> Result<PathBuf> {
    let cpp = source.ends_with(".cpp");
    let (tool, standard) = if cpp {
        ("c++", "-std=c++17")
    } else {
        ("cc", "-std=gnu11")
    };
    let stem = source.split_once('.').map_or(source, |(stem, _)| stem);
    let program = scratch::build_dir()?.join(stem);
    toolchain::run(
        Command::new(tool)
            .args([
                standard, "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
            ])
            .arg(toolchain::sources().join(source))
            .arg("-o")
            .arg(&program)
            .args(arguments),
    )?;
    Ok(program)
}

/// What the plan says of a file.
fn plan<'a>(capture: &'a Capture, file: &str) -> Result<&'a holdup_tests::report::Probe> {
    let name = format!("contended paths of {file} (uprobes)");
    let row = capture.plan.iter().find(|row| row.probe == name);
    row.with_context(|| format!("no {name:?} in {:?}", capture.plan))
}

/// The last part of a path.
fn file_name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.context("a program without a name")
}
