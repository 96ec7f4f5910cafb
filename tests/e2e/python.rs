//! CPython, stripped as Debian ships it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{Workload, holdup, toolchain::sources, workload::Parked};
use serde::Deserialize;

#[derive(Deserialize)]
struct Truth {
    passed: usize,
}

/// A `threading.RLock` is a lock, and says who owns it, though its own functions have no names.
#[test]
fn an_rlock_names_its_owner() -> Result<()> {
    let mut python = Command::new("/usr/bin/python3");
    python.arg(sources().join("rlock.py")).arg("3");
    let mut workload = Workload::spawn(&mut python)?;
    let parked: Parked = workload.go_to("parked")?;
    let owner = parked.holder.context("the workload is wrong")?;

    let snapshot = holdup::snapshot(workload.pid())?;
    let found = snapshot
        .locks
        .iter()
        .find(|it| it.address == parked.address);
    let lock = found.with_context(|| format!("not found: {:?}", snapshot.locks))?;
    ensure!(
        lock.kind == parked.kind && lock.runtime.as_deref() == Some("python"),
        "{lock:?}"
    );
    ensure!(lock.waiters == 3, "{lock:?}");
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        holder.tid == owner
            && holder.known_by == "CPython RLock owner"
            && holder.confidence == "exact",
        "{holder:?}, truth {owner}"
    );
    let explanation = lock.explanation.as_ref().context("not explained")?;
    ensure!(
        explanation.text.contains("read() on fd"),
        "{}",
        explanation.text
    );

    let truth: Truth = workload.go_to("truth")?;
    ensure!(truth.passed == 3, "{} passed", truth.passed);
    workload.finish()
}
