//! `holdup.service`.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload, holdup,
    report::Snapshot,
    scratch::Scratch,
    toolchain::{Build, build},
    workload::Parked,
};

use super::shipped;

/// Value of a setting that is there once.
fn setting(unit: &str, name: &str) -> Result<String> {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Ok(line.with_context(|| format!("no {name}"))?.to_owned())
}

/// `systemd-analyze` ends well when it only ignores what it does not know: it must have nothing to say either.
#[test]
fn systemd_has_nothing_to_say() -> Result<()> {
    let unit = fs::read_to_string(shipped("holdup.service"))?;
    ensure!(unit.contains("=/usr/bin/holdup "), "no program");
    // It must be there for the check.
    let program = holdup::binary()?.display().to_string();
    let scratch = Scratch::new()?;
    let file = scratch.join("holdup.service");
    fs::write(&file, unit.replace("/usr/bin/holdup", &program))?;
    let mut verify = Command::new("systemd-analyze");
    let finished = holdup::finish(verify.arg("verify").arg(&file).stdin(Stdio::null()))?;
    finished.expect(0)?;
    ensure!(finished.stderr.is_empty(), "{}", finished.stderr);
    Ok(())
}

/// The unit's user is not root: what its capabilities alone allow must be enough to find who waits and who holds.
#[test]
fn its_capabilities_are_enough_for_a_user() -> Result<()> {
    let unit = fs::read_to_string(shipped("holdup.service"))?;
    let bounding = setting(&unit, "CapabilityBoundingSet")?;
    ensure!(bounding == setting(&unit, "AmbientCapabilities")?);
    ensure!(setting(&unit, "NoNewPrivileges")? == "yes");
    let list: String = bounding
        .split(' ')
        .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();

    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "4"],
    )?;
    let parked: Parked = workload.go_to("parked")?;
    let mut snapshot = Command::new("setpriv");
    snapshot
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ])
        .args(
            ["--inh-caps", "--ambient-caps", "--bounding-set"]
                .map(|set| format!("{set}=-all{list}")),
        )
        .arg(holdup::binary()?)
        .args(["snapshot", "-p", &workload.pid_text(), "--format", "json"])
        .stdin(Stdio::null());
    let finished = holdup::finish(&mut snapshot)?;
    let snapshot = Snapshot::parse(&finished.expect(0)?.text())?;
    let lock = snapshot.lock(workload.pid(), parked.address, "mutex")?;
    ensure!(
        lock.waiters == u64::try_from(parked.waiters.len())?,
        "{lock:?}"
    );
    parked.check_holder(lock.holder.as_ref())?;
    workload.kill()
}
