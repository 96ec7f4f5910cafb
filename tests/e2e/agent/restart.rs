//! Agents that end, in every way.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    agent::Place,
    receiver::{Manners, Receiver},
};
use serde_json::Value;

use super::scene::{Scene, parked};

/// Every file in the store is whole: a bundle, or the list of what is open.
fn all_are_whole(place: &Place) -> Result<usize> {
    let mut bundles = 0;
    for entry in fs::read_dir(&place.snapshots)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .context("no name")?
            .to_string_lossy()
            .into_owned();
        let document: Value = serde_json::from_slice(&fs::read(&path)?)
            .with_context(|| format!("{name} is not whole"))?;
        match name.as_str() {
            "open.json" => ensure!(document["schema"] == "holdup.open/v1"),
            _ => {
                ensure!(document["schema"] == "holdup.bundle/v1", "{name}");
                bundles += 1;
            }
        }
    }
    Ok(bundles)
}

/// Killed just when it takes a snapshot, and started again: no file is half written, what is still true is open again under
/// the same key, and nobody is told a second time.
#[test]
fn killed_in_the_middle_of_a_snapshot() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["1500"])?;
    let pid = scene.pid();
    let receiver = Receiver::start(Manners::Answers)?;
    scene.pile()?;
    let place = scene.place(&parked(50), &receiver.configuration())?;
    let agent = place.start(&[])?;
    let incident = agent.incident(pid, "parked", "open")?;
    agent.until("told", || Ok((receiver.told(pid).len() == 1).then_some(())))?;
    // It is remembered before the snapshot is there, which takes a while for so many threads.
    let remembered = agent.place().snapshots.join("open.json");
    agent.until("remembered", || {
        let text = fs::read_to_string(&remembered).unwrap_or_default();
        Ok(text
            .contains(incident["key"].as_str().context("key")?)
            .then_some(()))
    })?;
    agent.signal(libc::SIGKILL)?;
    let (_, _, place) = agent.wait()?;
    let agent = place.start(&[])?;
    let again = agent.incident(pid, "parked", "open")?;
    ensure!(
        again["key"] == incident["key"] && again["opened_at"] == incident["opened_at"],
        "{again} is not {incident}"
    );
    agent.until("evidence", || {
        let incident = agent.incident(pid, "parked", "open")?;
        let snapshots = incident["snapshots"].as_array().map_or(0, Vec::len);
        Ok((snapshots > 0).then_some(()))
    })?;
    agent.turns(10.0)?;
    ensure!(receiver.news(pid).len() == 1, "{:?}", receiver.told(pid));
    let place = agent.stop()?;
    ensure!(all_are_whole(&place)? >= 1);
    Ok(())
}

/// Ended in good order: what is still true is not resolved, and is open again afterwards; what became untrue meanwhile is
/// resolved, and told so.
#[test]
fn ended_and_started_again() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let pid = scene.pid();
    let receiver = Receiver::start(Manners::Answers)?;
    scene.pile()?;
    let place = scene.place(&parked(50), &receiver.configuration())?;
    let agent = place.start(&[])?;
    let incident = agent.incident(pid, "parked", "open")?;
    agent.until("it was told why", || {
        Ok(receiver.explained(pid).then_some(()))
    })?;
    let place = agent.stop()?;
    let first = receiver.told(pid);
    ensure!(
        receiver.news(pid) == [("opened".to_owned(), "parked".to_owned())],
        "{first:?}"
    );
    let agent = place.start(&[])?;
    agent.incident(pid, "parked", "open")?;
    let place = agent.stop()?;
    let _: Value = scene.workload.go_to("released")?;
    let agent = place.start(&[])?;
    let over = agent.incident(pid, "parked", "resolved")?;
    ensure!(over["key"] == incident["key"], "{over}");
    agent.until("the end was told", || {
        Ok((receiver.told(pid).len() > first.len()).then_some(()))
    })?;
    let told = receiver.told(pid);
    let (before, after) = told.split_at(first.len());
    ensure!(
        before == first && after.len() == 1 && after[0].0 == "resolved",
        "{told:?}"
    );
    agent.stop()?;
    scene.workload.finish()
}
