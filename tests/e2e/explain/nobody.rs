//! Locks whose holder is gone, or that have none to name.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    heartbeat::Heart,
    holdup,
    report::Explanation,
    toolchain::{Build, build},
    workload::{Parked, Released},
};
use serde::Deserialize;
use serde_json::Value;

use super::scene::Scene;

/// Nobody will ever let go: the owner has ended.
#[test]
fn behind_a_thread_that_has_ended() -> Result<()> {
    let scene = Scene::of(&["abandoned"])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && explanation.root.is_thread(scene.truth.holder)
            && explanation.ending == "abandoned"
            && explanation.progress == "stuck"
            && !explanation.deadlock
            && explanation.waiters_total == 3,
        "{explanation:?}"
    );
    scene.end()
}

/// A semaphore belongs to nobody: no root is made up.
#[test]
fn behind_a_semaphore() -> Result<()> {
    let scene = Scene::of(&["semaphore"])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "semaphore")?;
    nobody_is_blamed(&explanation, scene.truth.locks[0].address()?, 3)?;
    scene.end()
}

/// Nor for a mutex that does not say whose it is.
#[test]
fn behind_a_rust_mutex() -> Result<()> {
    let program = build("rust_std.rs", Build::Plain)?;
    let mut workload = Workload::start(&program, &["mutex", "2", "heartbeat"])?;
    let parked: Value = workload.go_to("parked")?;
    let heart = Heart::deserialize(&parked)?;
    let parked = Parked::deserialize(parked)?;
    let snapshot = holdup::snapshot(workload.pid())?;
    let lock = snapshot.lock(workload.pid(), parked.address, "mutex")?;
    ensure!(lock.holder.is_none(), "{:?}", lock.holder);
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    nobody_is_blamed(explanation, parked.address, 2)?;
    heart.check(&mut workload)?;
    let _: Released = workload.go_to("truth")?;
    workload.finish()
}

fn nobody_is_blamed(explanation: &Explanation, address: u64, waiters: u64) -> Result<()> {
    ensure!(
        explanation.root.is_lock(address)
            && explanation.ending == "holder_unknown"
            && explanation.chain.is_empty()
            && explanation.progress == "unknown"
            && explanation.waiters_total == waiters
            && !explanation.deadlock,
        "{explanation:?}"
    );
    explanation.says(&["; holder not known"])
}
