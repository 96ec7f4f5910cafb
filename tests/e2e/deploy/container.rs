//! `Containerfile`, run by podman as `daemonset.yaml` wants it.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload, holdup,
    podman::Podman,
    report::Snapshot,
    toolchain::{Build, build},
    workload::Parked,
};
use serde_json::Value;

use super::{manifest, shipped};

fn podman() -> Result<Podman> {
    Podman::with_image(&shipped("Containerfile"), &holdup::static_binary()?)
}

/// Everything works with what the manifest gives, and nothing without either half of it.
#[test]
fn the_privileges_are_enough_and_needed() -> Result<()> {
    let (podman, pod) = (podman()?, manifest::pod()?);
    let doctor = |pod: &Value| {
        let arguments = ["doctor", "--format", "json"];
        holdup::finish(&mut podman.run(pod, &["--network=none"], &arguments)?)
    };
    let finished = doctor(&pod)?;
    let answer: Value = serde_json::from_str(&finished.expect(0)?.text())?;
    ensure!(answer["problem"].is_null(), "{answer:#}");
    for capability in answer["capabilities"].as_array().context("none")? {
        let is_admin = capability["name"] == "CAP_SYS_ADMIN";
        ensure!(capability["held"] == !is_admin, "{capability}");
    }
    for feature in answer["features"].as_array().context("none")? {
        ensure!(feature["present"] == true, "{feature}");
    }
    for missing in ["BPF", "PERFMON"] {
        let mut pod = pod.clone();
        let added = &mut pod["containers"][0]["securityContext"]["capabilities"]["add"];
        let added = added.as_array_mut().context("none added")?;
        added.retain(|name| name != missing);
        doctor(&pod)?.expect(4).context(missing)?;
    }
    Ok(())
}

/// From inside, who waits for what outside, and who holds it.
#[test]
fn sees_what_is_outside() -> Result<()> {
    let podman = podman()?;
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "4"],
    )?;
    let parked: Parked = workload.go_to("parked")?;
    let arguments = ["snapshot", "--all", "--format", "json"];
    let mut snapshot = podman.run(&manifest::pod()?, &["--network=none"], &arguments)?;
    let finished = holdup::finish(&mut snapshot)?;
    let snapshot = Snapshot::parse(&finished.expect(0)?.text())?;
    let lock = snapshot.lock(workload.pid(), parked.address, "mutex")?;
    ensure!(
        lock.waiters == u64::try_from(parked.waiters.len())?,
        "{lock:?}"
    );
    parked.check_holder(lock.holder.as_ref())?;
    let frames = &snapshot.thread(parked.waiters[0])?.frames;
    ensure!(
        holdup_tests::report::names(frames, "app_take_mutex"),
        "{frames:?}"
    );
    workload.kill()
}
