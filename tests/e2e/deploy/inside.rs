//! A Go program in a container, whose files are not where the host has them, watched from outside.

use anyhow::{Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Variant},
    holdup::{self, Recording},
    podman::Podman,
    report::parse_address,
};
use serde::Deserialize;

use super::shipped;

#[derive(Deserialize)]
struct Parked {
    goroutines: u64,
    mutex: String,
}

#[test]
fn goroutines_in_a_container() -> Result<()> {
    let podman = Podman::with_image(&shipped("Containerfile"), &holdup::static_binary()?)?;
    let program = go::newest()?.build("pileup", Variant::Stripped)?;
    let mut workload = Workload::spawn(&mut podman.run_program(&program, &["70", "30"]))?;
    let parked: Parked = workload.go_to("parked")?;
    let (pid, mutex) = (workload.pid(), parse_address(&parked.mutex)?);
    let snapshot = holdup::snapshot(pid)?;
    let [process] = snapshot.go.as_slice() else {
        anyhow::bail!("{} Go processes", snapshot.go.len());
    };
    ensure!(
        process.error.is_none() && process.goroutines.total == parked.goroutines,
        "{process:?}"
    );
    for (kind, waiters) in [("rwlock_read", 70), ("rwlock_write", 30)] {
        let lock = snapshot.lock(pid, mutex, kind)?;
        ensure!(lock.waiters == waiters && lock.holder.is_some(), "{lock:?}");
    }

    let capture = Recording::with(&["-p", &workload.pid_text(), "--probe", "go"])?.stop()?;
    let attached = |probe: &&holdup_tests::report::Probe| {
        probe.probe.ends_with("(uprobe)") && probe.status == "attached"
    };
    ensure!(
        capture.plan.iter().filter(attached).count() == 2,
        "{:#?}",
        capture.plan
    );
    ensure!(
        capture.lock(pid, mutex, "rwlock_read")?.waiters == 70,
        "{:#?}",
        capture.locks
    );
    workload.finish()
}
