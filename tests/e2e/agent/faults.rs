//! The agent's own faults, and what it costs.

use std::fs;

use anyhow::{Result, ensure};
use holdup_tests::{
    agent::{Agent, Place},
    receiver::{Manners, Receiver},
};
use serde_json::Value;

use super::scene::{Scene, parked};

/// A loop that fails once, early: it is made anew and does its work.
fn survives(fault: &str) -> Result<()> {
    let (name, what) = fault.split_once(':').unwrap_or((fault, ""));
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let place = scene
        .place(&parked(50), "")?
        .with_variable("HOLDUP_TEST_FAULT", fault);
    let agent = place.start(&[])?;
    let of = format!("loop=\"{name}\"");
    agent.until("it was made anew", || {
        let restarts = agent.metric("holdup_loop_restarts_total", &of)?;
        Ok((restarts == 1.0).then_some(()))
    })?;
    let panics = agent.metric("holdup_loop_panics_total", &of)?;
    ensure!(
        panics == f64::from(u8::from(what == "panic")),
        "{panics} panics"
    );
    scene.pile()?;
    agent.incident(scene.pid(), "parked", "open")?;
    let livez = agent.get("/livez")?;
    ensure!(livez.status == 200, "{livez:?}");
    agent.stop()?;
    Ok(())
}

#[test]
fn detectors_that_panic() -> Result<()> {
    survives("detect:panic")
}

#[test]
fn a_watch_that_panics() -> Result<()> {
    survives("watch:panic")
}

#[test]
fn detectors_that_hang() -> Result<()> {
    survives("detect:hang")
}

/// What was open when the detectors failed stays open, and nobody is told again.
#[test]
fn incidents_outlive_the_detectors() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let pid = scene.pid();
    let receiver = Receiver::start(Manners::Answers)?;
    scene.pile()?;
    let place = scene
        .place(&parked(50), &receiver.configuration())?
        .with_variable("HOLDUP_TEST_FAULT", "detect:panic:40");
    let agent = place.start(&[])?;
    let incident = agent.incident(pid, "parked", "open")?;
    agent.until("they have failed", || {
        let panics = agent.metric("holdup_loop_panics_total", "loop=\"detect\"")?;
        Ok((panics == 1.0).then_some(()))
    })?;
    agent.turns(20.0)?;
    let incidents = agent.incidents(pid)?;
    ensure!(
        incidents.len() == 1
            && incidents[0]["status"] == "open"
            && incidents[0]["key"] == incident["key"],
        "{incidents:?}"
    );
    ensure!(receiver.news(pid).len() == 1, "{:?}", receiver.told(pid));
    agent.stop()?;
    Ok(())
}

/// Level and reason, as `/readyz` has them.
fn level(agent: &Agent) -> Result<(String, Value)> {
    let mut ready = agent.json("/readyz")?;
    Ok((
        ready["level"].as_str().unwrap_or_default().to_owned(),
        ready["why"].take(),
    ))
}

/// A budget of nothing: things are given up in the stated order, and the last step attaches nothing.
#[test]
fn over_budget_it_sheds_in_order() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let budget = "[governor]\ncpu_share = 0.000001\nevery = \"400ms\"\nover_for = 2\n";
    let agent = scene.agent(&parked(50), budget)?;
    let mut seen = Vec::new();
    agent.until("the census", || {
        let (level, _) = level(&agent)?;
        Ok((level == "census").then_some(()))
    })?;
    let metrics = agent.json("/readyz")?;
    ensure!(
        metrics["attached"] == false || metrics["level"] == "census",
        "{metrics}"
    );
    let (_, why) = level(&agent)?;
    let why = why.as_str().unwrap_or_default().to_owned();
    ensure!(
        why.contains("of a CPU for the agent itself, the budget is"),
        "{why}"
    );
    let mut agent = agent;
    while seen.last().is_none_or(|last| last != "Census") {
        let line = agent.logged("the governor changes what is done")?;
        seen.push(line["does"].as_str().unwrap_or_default().to_owned());
    }
    ensure!(
        seen == ["NoStacks", "NoSamples", "NoDetail", "Census"],
        "{seen:?}"
    );
    // The census finds what it is for, without any hook.
    scene.pile()?;
    agent.incident(scene.pid(), "parked", "open")?;
    let lock = agent.json(&format!("/api/v1/locks?pid={}", scene.pid()))?;
    ensure!(lock["items"][0]["counted"].is_null(), "{lock}");
    agent.stop()?;
    Ok(())
}

/// `--probe none` attaches nothing from the start.
#[test]
fn the_census_is_a_mode_of_its_own() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let agent = scene.place(&parked(50), "")?.start(&["--probe", "none"])?;
    ensure!(level(&agent)?.0 == "census", "{:?}", level(&agent)?);
    scene.pile()?;
    let incident = agent.incident(scene.pid(), "parked", "open")?;
    ensure!(incident["waiters"] == 60, "{incident}");
    agent.stop()?;
    Ok(())
}

/// The kill switch detaches everything, and nothing is resolved for that; without it all is back.
#[test]
fn the_kill_switch() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let pid = scene.pid();
    let place = scene.place(&parked(50), "")?;
    let switch = place.join("off");
    place.configure(&format!(
        "{}[governor]\nkill_switch = \"{}\"\n",
        scene.configuration(&parked(50)),
        switch.display()
    ))?;
    let agent = place.start(&[])?;
    scene.pile()?;
    agent.incident(pid, "parked", "open")?;
    fs::write(&switch, "")?;
    agent.until("off", || {
        let (level, why) = level(&agent)?;
        let is_off = level == "off" && why.as_str().is_some_and(|why| why.contains("kill switch"));
        Ok(is_off.then_some(()))
    })?;
    agent.until("nothing is attached", || {
        let metrics = agent.get("/metrics")?.body;
        let has = metrics
            .lines()
            .any(|line| line.starts_with("holdup_bpf_program_attached{") && line.ends_with(" 1"));
        Ok((!has).then_some(()))
    })?;
    let verdict = agent.json(&format!("/api/v1/verdict?pid={pid}"))?;
    ensure!(verdict["health"] == "unknown", "{verdict}");
    let incidents = agent.incidents(pid)?;
    ensure!(incidents[0]["status"] == "open", "{incidents:?}");
    // Nor is anything attached by an agent that finds it there.
    let other = Place::new(&format!(
        "{}[governor]\nkill_switch = \"{}\"\n",
        scene.configuration(&parked(50)),
        switch.display()
    ))?
    .start(&[])?;
    ensure!(level(&other)?.0 == "off", "{:?}", level(&other)?);
    let links = fs::read_dir(format!("/proc/{}/fd", other.pid()))?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        // Maps are made to find out what the kernel can do.
        .filter(|target| target.contains("bpf") && !target.ends_with("bpf-map"));
    let links: Vec<String> = links.collect();
    ensure!(links.is_empty(), "something is attached: {links:?}");
    other.stop()?;
    fs::remove_file(&switch)?;
    agent.until(
        "on again",
        || Ok((level(&agent)?.0 == "full").then_some(())),
    )?;
    agent.turns(5.0)?;
    let lock = agent.json(&format!("/api/v1/locks?pid={pid}"))?;
    ensure!(lock["items"][0]["waiters"] == 60, "{lock}");
    agent.stop()?;
    Ok(())
}
