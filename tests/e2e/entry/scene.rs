//! A program that is recorded with probes on every lock and unlock.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload,
    report::{Capture, Entry},
    toolchain::{Build, build},
};
use serde::{Deserialize, de::DeserializeOwned};

/// What a program knows of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Truth {
    /// Lines where a second lock is taken, in the order in which that was first done.
    pub lines: Vec<u32>,
    /// Threads that did so.
    pub tids: Vec<u32>,
}

/// Options of a recording of process `pid`; so few calls cost nothing worth stopping for.
pub fn options(pid: &str) -> [&str; 6] {
    ["-p", pid, "--probe", "entry", "--max-overhead", "100"]
}

/// Records the workload `source` from its start to its truth, and lets it end.
pub fn record<T: DeserializeOwned>(source: &str, mode: &str) -> Result<(Capture, T)> {
    record_program(&build(source, Build::Plain)?, mode)
}

/// The same, for a program that is built.
pub fn record_program<T: DeserializeOwned>(program: &Path, mode: &str) -> Result<(Capture, T)> {
    let mut workload = Workload::start(program, &[mode])?;
    let recording = Recording::with(&options(&workload.pid_text()))?;
    let truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    workload.finish()?;
    capture.no_wait_lost()?;
    Ok((capture, truth))
}

/// What the recording says of lock functions.
pub fn entry(capture: &Capture) -> Result<&Entry> {
    let entry = capture.entry()?;
    ensure!(
        !entry.locks.is_empty(),
        "no lock was seen: {:?}",
        capture.plan
    );
    Ok(entry)
}

/// `entry_order_pairs.c:47`, for the `index`th line of the truth.
pub fn place(source: &str, truth: &Truth, index: usize) -> Result<String> {
    let line = truth
        .lines
        .get(index)
        .context("the truth has no such line")?;
    Ok(format!("{source}:{line}"))
}
