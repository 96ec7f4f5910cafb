//! Threads that wait because there is nothing to do.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{Agent, child::Guarded};
use serde_json::Value;

use super::scene::{Scene, configuration};

/// Every detector, with windows that end within the test: a second, in which a pool that were taken for a queue would be
/// found by all of them.
const STRICT: &str = "\
parked = { enabled = true, waiters = 5, process_waiters = 5, oldest = \"0s\", for = \"0s\" }
stalled = { enabled = true, waiters = 1, for = \"500ms\" }
growing = { enabled = true, waiters = 2, window = \"1s\", oldest = \"0s\" }
long_wait = { enabled = true, for = \"1s\" }
deadlock = { enabled = true }
";
/// Ticks of 100 ms that are longer than the longest window of [`STRICT`], with a margin.
const TURNS: f64 = 30.0;

/// 1,000 workers that wait for work on a condition variable.
#[test]
fn a_thousand_idle_workers_are_no_incident() -> Result<()> {
    let scene = Scene::of("primitives.c", &["cond", "1000"])?;
    let pid = scene.pid();
    let agent = scene.agent(STRICT, "")?;
    let mut workload = scene.workload;
    let _: Value = workload.go_to("parked")?;
    agent.until("they are seen", || {
        let parked = agent.json(&format!("/api/v1/processes?pid={pid}"))?;
        Ok((parked["items"][0]["parked"]["condvar"] == 1000).then_some(()))
    })?;
    agent.turns(TURNS)?;
    let incidents = agent.incidents(pid)?;
    ensure!(incidents.is_empty(), "{incidents:?}");
    let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
    ensure!(verdict.status == 200, "{verdict:?}");
    agent.stop()?;
    workload.kill()
}

/// A Java virtual machine at rest: its collectors and compilers wait for work, in ways that look like locks from outside.
#[test]
fn a_java_machine_at_rest_is_no_incident() -> Result<()> {
    // A program of the runtime that waits for connections.
    let mut command = Command::new("java");
    command.arg("-XX:+UseG1GC");
    command.args(["-m", "java.rmi/sun.rmi.registry.RegistryImpl", "0"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let java = command
        .spawn()
        .context("java is not installed: apt-get install openjdk-17-jre-headless")?;
    let java = Guarded::new(java);
    let pid = java.pid();
    let agent = Agent::start(&configuration("java", STRICT))?;
    agent.until("it is up", || {
        let parked = agent.json(&format!("/api/v1/processes?pid={pid}"))?;
        // Its threads: parked as what is known of them, some ten of them.
        let parked = parked["items"][0]["parked"].as_object();
        let threads: u64 = parked
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum();
        Ok((threads >= 8).then_some(()))
    })?;
    agent.turns(TURNS)?;
    let incidents = agent.incidents(pid)?;
    ensure!(incidents.is_empty(), "{incidents:?}");
    agent.stop()?;
    Ok(())
}

/// The same thresholds find threads that do queue: the test above could fail.
#[test]
fn the_same_thresholds_find_a_queue() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["6"])?;
    let pid = scene.pid();
    let agent = scene.agent(STRICT, "")?;
    scene.pile()?;
    for reason in ["parked", "stalled", "long_wait"] {
        agent.incident(pid, reason, "open")?;
    }
    agent.stop()?;
    Ok(())
}
