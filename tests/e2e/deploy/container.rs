//! `Containerfile`, run by podman as `daemonset.yaml` wants it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    agent::Place,
    holdup, http,
    podman::Podman,
    report::Snapshot,
    toolchain::{Build, build},
    workload::Parked,
};
use serde::de::IgnoredAny;
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

/// The agent as the manifest configures it: what it sees, who may ask, and that it can write its snapshots.
#[test]
fn the_agent_watches_the_node_from_inside() -> Result<()> {
    let (podman, pod) = (podman()?, manifest::pod()?);
    let configuration = podman.folder("config")?;
    let config_map = manifest::document("ConfigMap")?;
    let settings = config_map["data"]["agent.toml"]
        .as_str()
        .context("no settings")?;
    let settings = format!("{settings}[detect.stalled]\nfor = '1s'\n");
    fs::write(configuration.join("agent.toml"), settings)?;
    fs::write(configuration.join("token"), "open-sesame\n")?;
    let arguments = pod["containers"][0]["args"]
        .as_array()
        .context("no arguments")?;
    let arguments: Vec<String> = arguments
        .iter()
        .filter_map(Value::as_str)
        .map(|argument| argument.replace("$(POD_IP):9748", "127.0.0.1:0"))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // As the runtimes do it where there is v2 alone: then the paths of others begin with `/..`.
    let options = ["--network=host", "--cgroupns=private"];
    let agent = Place::new("")?.launch(podman.run(&pod, &options, &arguments)?)?;

    // A pod that is wedged.
    let program = build("pile_up.c", Build::StaticPie)?;
    let mut workload = Workload::spawn(&mut podman.run_program(&program, &["150"]))?;
    let _: IgnoredAny = workload.go_to("piled")?;
    ensure!(agent.get("/livez")?.status == 200);
    ensure!(agent.get("/metrics")?.status == 401, "no token was wanted");
    let ask = |path: &str| {
        http::get_with(
            agent.address(),
            path,
            "Authorization: Bearer open-sesame\r\n",
        )
    };
    let incident = agent.until("an incident with a snapshot", || {
        let answer = ask(&format!("/api/v1/incidents?pid={}", workload.pid()))?;
        let list: Value = serde_json::from_str(&answer.body)?;
        let list = list["items"].as_array().context("no incidents")?;
        let has_snapshot = |one: &&Value| one["snapshots"][0].is_string();
        Ok(list.iter().find(has_snapshot).cloned())
    })?;
    ensure!(incident["waiters"] == 150, "{incident:#}");
    ensure!(incident["lock"]["symbol"] == "ledger_lock", "{incident:#}");
    let runs_in = &incident["workload"];
    ensure!(runs_in["pod_uid"] == podman.pod_uid(), "{incident:#}");
    ensure!(runs_in["qos_class"] == "besteffort", "{incident:#}");
    ensure!(runs_in["container_runtime"] == "podman", "{incident:#}");
    agent.until("the pod's liveness probe fails", || {
        let verdict = ask(&format!("/api/v1/verdict?pod={}", podman.pod_uid()))?;
        Ok((verdict.status == 503).then_some(()))
    })?;
    let name = incident["snapshots"][0].as_str().context("no name")?;
    let file = podman.folder("snapshots")?.join(name);
    ensure!(fs::metadata(&file)?.len() > 0, "{}", file.display());

    let _: IgnoredAny = workload.go_to("released")?;
    workload.finish()?;
    agent.stop()?;
    Ok(())
}
