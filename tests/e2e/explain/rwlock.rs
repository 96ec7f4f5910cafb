//! Readers and writers.

use anyhow::{Context as _, Result, ensure};

use super::{answers::at_the_holder, scene::Scene};

#[test]
fn readers_behind_a_writer() -> Result<()> {
    let scene = Scene::of(&["readers"])?;
    let explanation = at_the_holder(&scene, "rwlock_read", &["blocked"], "stuck")?;
    explanation.says(&[
        "3 threads wait for rwlock `table_lock`",
        "which waits for a signal in pause()",
    ])?;
    scene.end()
}

/// Readers and writers are two rows of one lock; each has an explanation, and nobody counts twice.
#[test]
fn readers_and_writers_behind_a_writer() -> Result<()> {
    let scene = Scene::of(&["readers_and_writers"])?;
    for kind in ["rwlock_read", "rwlock_write"] {
        let explanation = at_the_holder(&scene, kind, &["blocked"], "stuck")?;
        explanation.says(&["in all 5 threads wait behind it"])?;
    }
    scene.end()
}

/// The lock counts its readers and does not name them. Whoever is named all the same is a guess, a good one, and called
/// one.
#[test]
fn writers_behind_a_reader() -> Result<()> {
    let scene = Scene::of_states(&["writers"])?;
    let snapshot = scene.snapshot()?;
    let address = scene.truth.locks[0].address()?;
    let lock = snapshot.lock(scene.pid(), address, "rwlock_write")?;
    ensure!(lock.waiters == 2, "{lock:?}");
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    ensure!(
        explanation.waiters_total == 2 && !explanation.deadlock,
        "{explanation:?}"
    );
    explanation.says(&["2 threads wait for rwlock `table_lock`"])?;
    match explanation.chain.as_slice() {
        [] => ensure!(
            explanation.root.is_lock(address) && explanation.ending == "holder_unknown",
            "{explanation:?}"
        ),
        [hold] => ensure!(
            hold.to.is_thread(scene.truth.holder) && hold.confidence != "exact",
            "{explanation:?}"
        ),
        _ => anyhow::bail!("a reader that waits for nobody: {explanation:?}"),
    }
    scene.end()
}
