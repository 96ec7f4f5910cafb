//! Goroutines: what the programs know of themselves, and what holdup sees from outside.

mod agent;
mod ages;
mod chains;
mod churn;
mod cross;
mod debian;
mod durations;
mod follow;
mod kinds;
mod layout;
mod own;
mod pileup;
mod sampling;

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload, holdup,
    report::{GoProcess, Snapshot, parse_address},
};
use serde::Deserialize;

/// What a workload says when everybody is where they should be.
#[derive(Debug, Deserialize)]
struct Parked {
    goroutines: u64,
    #[serde(default)]
    mutex: String,
    #[serde(default)]
    peer: String,
    #[serde(default)]
    channel: String,
}

impl Parked {
    fn mutex(&self) -> Result<u64> {
        parse_address(&self.mutex)
    }
}

/// A workload that is parked, and a snapshot of it.
struct Scene<T> {
    workload: Workload,
    truth: T,
    snapshot: Snapshot,
}

impl<T: serde::de::DeserializeOwned> Scene<T> {
    fn of(program: &Path, arguments: &[&str]) -> Result<Self> {
        // As in a module of that release; without one, the older behaviour is the default up to Go 1.26.
        let mut command = Command::new(program);
        command.args(arguments).env("GODEBUG", "asynctimerchan=0");
        let mut workload = Workload::spawn(&mut command)?;
        let truth = workload.go_to("parked")?;
        let snapshot = holdup::snapshot(workload.pid())?;
        Ok(Self {
            workload,
            truth,
            snapshot,
        })
    }

    /// The one process of the snapshot.
    fn process(&self) -> Result<&GoProcess> {
        let [process] = self.snapshot.go.as_slice() else {
            anyhow::bail!("{} Go processes", self.snapshot.go.len());
        };
        ensure!(process.pid == self.workload.pid(), "{process:?}");
        ensure!(process.error.is_none(), "{process:?}");
        Ok(process)
    }

    /// Nothing moved, so that nothing may be torn or left out; as many goroutines as `total`.
    fn exact(&self, total: u64) -> Result<&GoProcess> {
        let process = self.process()?;
        ensure!(
            (process.torn_reads, process.stacks_left_out) == (0, 0),
            "torn {}, left out {}",
            process.torn_reads,
            process.stacks_left_out
        );
        ensure!(
            process.goroutines.total == total,
            "{:?}, truth {total}",
            process.goroutines
        );
        let stackless = process
            .groups
            .iter()
            .find(|group| group.frames.is_empty() && group.state != "running");
        ensure!(stackless.is_none(), "no stack: {stackless:?}");
        Ok(process)
    }

    fn finish(self) -> Result<()> {
        self.workload.finish().context("the workload")
    }
}
