//! Threads that pile up behind a lock.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::receiver::{Manners, Receiver};
use serde_json::Value;

use super::scene::{Scene, parked};

const THRESHOLD: u64 = 50;

/// From 1 to 2,000 threads: nothing below the threshold, an incident at it, one alert in all, evidence at the beginning and
/// again as it grows, and an end.
#[test]
fn noticed_while_it_is_small_and_told_once() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["1", "49", "50", "2000"])?;
    let pid = scene.pid();
    let receiver = Receiver::start(Manners::Answers)?;
    let agent = scene.agent(&parked(THRESHOLD), &receiver.configuration())?;
    for _ in 0..2 {
        scene.pile()?;
        agent.turns(3.0)?;
        ensure!(agent.incidents(pid)?.is_empty(), "below the threshold");
    }
    let piled = scene.pile()?;
    let incident = agent.incident(pid, "parked", "open")?;
    ensure!(
        incident["waiters"] == THRESHOLD && incident["waiters_peak"] == THRESHOLD,
        "{incident}"
    );
    ensure!(incident["lock"]["symbol"] == "ledger_lock", "{incident}");
    // The sentence of issue: who, where, since when, and what the holder does itself.
    let explained = agent.until("an explanation", || {
        let incident = agent.incident(pid, "parked", "open")?;
        Ok((!incident["explanation"].is_null()).then_some(incident))
    })?;
    let text = explained["text"].as_str().context("no text")?;
    for words in [
        "50 threads wait for mutex `ledger_lock`",
        &format!("held by thread {} `keeper`", piled.holder),
        "which waits in read() on fd",
    ] {
        ensure!(text.contains(words), "no {words:?} in {text:?}");
    }
    ensure!(
        explained["explanation"]["root"]["tid"] == piled.holder
            && explained["explanation"]["confidence"] == "exact",
        "{explained}"
    );
    let lock = agent.json(&format!("/api/v1/locks?pid={pid}"))?;
    ensure!(
        lock["items"][0]["holder"]["tid"] == piled.holder
            && lock["items"][0]["explanation"]["root"]["tid"] == piled.holder,
        "{lock}"
    );
    scene.pile()?;
    let grown = agent.until("2000 waiters and more evidence", || {
        let incident = agent.incident(pid, "parked", "open")?;
        let snapshots = incident["snapshots"].as_array().map_or(0, Vec::len);
        Ok((incident["waiters"] == 2000 && snapshots > 1).then_some(incident))
    })?;
    ensure!(grown["key"] == incident["key"], "another incident: {grown}");
    let first = grown["snapshots"][0].as_str().context("no name")?;
    let bundle = agent.json(&format!("/api/v1/snapshots/{first}"))?;
    ensure!(
        bundle["schema"] == "holdup.bundle/v1" && bundle["incident"]["key"] == incident["key"],
        "{first}"
    );
    let lock = bundle["snapshot"]["locks"]
        .as_array()
        .and_then(|locks| locks.iter().find(|lock| lock["symbol"] == "ledger_lock"))
        .context("the lock is not in its bundle")?;
    // Threads may have come between the tick and the snapshot.
    ensure!(lock["waiters"].as_u64() >= Some(THRESHOLD), "{lock}");

    let released: Value = scene.workload.go_to("released")?;
    ensure!(released["taken"] == 2000);
    let over = agent.incident(pid, "parked", "resolved")?;
    ensure!(
        over["waiters"] == 0 && over["waiters_peak"] == 2000,
        "{over}"
    );
    let told = agent.until("the end was told", || {
        let told = receiver.told(pid);
        let is_over = told.last().is_some_and(|(change, _)| change == "resolved");
        Ok(is_over.then_some(told))
    })?;
    ensure!(receiver.explained(pid), "nobody was told why");
    let count = |change: &str| told.iter().filter(|(told, _)| told == change).count();
    ensure!(count("opened") == 1 && count("resolved") == 1, "{told:?}");
    ensure!(
        agent.incidents(pid)?.len() == 1,
        "one incident for 2000 waiters"
    );
    agent.stop()?;
    scene.workload.finish()
}

/// The kernel calls when the threshold is passed: the agent does not wait for its tick, which is a minute away.
#[test]
fn the_kernel_side_does_not_wait_for_the_timer() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["100"])?;
    let configuration = scene
        .configuration(&parked(64))
        .replace("tick = \"100ms\"", "tick = \"1m\"\nwaiters_threshold = 64")
        .replace("resolve_after = \"1s\"", "resolve_after = \"3m\"")
        .replace("restart_grace = \"5s\"", "restart_grace = \"10m\"");
    let agent = holdup_tests::Agent::start(&configuration)?;
    agent.turns(1.0)?;
    let before = agent.beats("watch")?;
    scene.pile()?;
    let incident = agent.incident(scene.pid(), "parked", "open")?;
    ensure!(incident["waiters"].as_u64() >= Some(64), "{incident}");
    ensure!(agent.beats("watch")? > before);
    agent.stop()?;
    Ok(())
}

/// Threads that wait for a lock which is handed on, however slowly, are not stalled; and a chain of such waits is no verdict.
#[test]
fn slow_is_not_stalled() -> Result<()> {
    let scene = Scene::of("slow_lock.c", &["40", "20"])?;
    let pid = scene.pid();
    // Each of 40 waits for some 0.8 s; the lock is handed on every 20 ms.
    let thresholds = "stalled = { enabled = true, waiters = 2, for = \"500ms\" }\n\
                      parked = { enabled = true, waiters = 10, oldest = \"0s\", for = \"0s\" }\n";
    let agent = scene.agent(thresholds, "")?;
    let mut workload = scene.workload;
    let _: Value = workload.go_to("moving")?;
    agent.incident(pid, "parked", "open")?;
    agent.turns(30.0)?;
    let incidents = agent.incidents(pid)?;
    ensure!(
        incidents
            .iter()
            .all(|incident| incident["reason"] != "stalled"),
        "{incidents:?}"
    );
    let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
    ensure!(
        verdict.status == 200 && verdict.body.contains("\"healthy\""),
        "{verdict:?}"
    );
    let turns: Value = workload.go_to("turns")?;
    ensure!(
        turns["turns"].as_u64() > Some(30),
        "it moved all the time: {turns}"
    );
    agent.stop()?;
    Ok(())
}

/// One that is not handed on is, and the verdict on its process says so.
#[test]
fn stuck_is_stalled_and_wedged() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["3"])?;
    let pid = scene.pid();
    let stalled = "stalled = { enabled = true, waiters = 2, for = \"500ms\" }\n";
    let agent = scene.agent(stalled, "")?;
    scene.pile()?;
    agent.incident(pid, "stalled", "open")?;
    let verdict = agent.until("the verdict", || {
        let answer = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
        Ok((answer.status == 503).then_some(answer))
    })?;
    ensure!(verdict.body.contains("\"wedged\""), "{verdict:?}");
    let _: Value = scene.workload.go_to("released")?;
    agent.until("healthy again", || {
        let answer = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
        Ok((answer.status == 200).then_some(()))
    })?;
    agent.incident(pid, "stalled", "resolved")?;
    agent.stop()?;
    scene.workload.finish()
}

/// Owners that wait for each other: certain, without any threshold, and opened once.
#[test]
fn a_circle_is_a_deadlock() -> Result<()> {
    let scene = Scene::of("holdup_chain.c", &["abba"])?;
    let pid = scene.pid();
    let agent = scene.agent("deadlock = { enabled = true }\n", "")?;
    let mut workload = scene.workload;
    let _: Value = workload.go_to("held_up")?;
    let incident = agent.incident(pid, "deadlock", "open")?;
    agent.turns(10.0)?;
    let incidents = agent.incidents(pid)?;
    ensure!(
        incidents.len() == 1 && incidents[0]["key"] == incident["key"],
        "{incidents:?}"
    );
    let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
    ensure!(verdict.status == 503, "{verdict:?}");
    agent.stop()?;
    workload.kill()
}
