//! From lock to lock.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{Recording, report::Explanation};

use super::scene::Scene;

/// Two locks in a row: both have the same root, and all that wait are counted for both.
#[test]
fn through_a_second_lock() -> Result<()> {
    let scene = Scene::of(&["chain"])?;
    let truth = &scene.truth;
    let snapshot = scene.snapshot()?;
    let outer = scene.explanation(&snapshot, 0, "mutex")?;
    let inner = scene.explanation(&snapshot, 1, "mutex")?;
    chain_of_two(&scene, &outer)?;
    ensure!(inner.kinds() == ["held_by", "peer_of"], "{inner:?}");
    for explanation in [&outer, &inner] {
        ensure!(
            explanation.root.is_process(truth.peer_pid)
                && explanation.confidence == "observed"
                && explanation.progress == "stuck",
            "{explanation:?}"
        );
        // Two for the first lock, its owner and one more for the second, and that one's owner.
        ensure!(explanation.waiters_total == 5, "{explanation:?}");
    }
    outer.says(&[
        "2 threads wait for mutex `cache_lock`",
        &format!("held by thread {}", truth.locks[0].holder),
        "which waits for mutex `store_lock`",
        &format!("held by thread {}", truth.locks[1].holder),
        &format!(
            "which waits in recvfrom() on fd {}, TCP to {}",
            truth.fd, truth.peer
        ),
        "in all 5 threads wait behind it",
    ])?;
    scene.root_is_only(&snapshot, &outer.root, 5)?;
    scene.end()
}

fn chain_of_two(scene: &Scene, explanation: &Explanation) -> Result<()> {
    let truth = &scene.truth;
    ensure!(
        explanation.kinds() == ["held_by", "waits_for", "held_by", "peer_of"],
        "{explanation:?}"
    );
    scene.is_hold(&explanation.chain[0], 0)?;
    scene.is_hold(&explanation.chain[2], 1)?;
    let wait = &explanation.chain[1];
    ensure!(
        wait.from.is_thread(truth.locks[0].holder) && wait.confidence == "exact",
        "{wait:?}"
    );
    let site = wait.site.as_deref().unwrap_or_default();
    ensure!(
        wait.since_ns.is_some() && site.contains("app_take_mutex"),
        "{wait:?}"
    );
    Ok(())
}

/// The end of a recording explains the same.
#[test]
fn in_a_recording() -> Result<()> {
    let scene = Scene::of(&["chain"])?;
    let recording = Recording::of(scene.pid())?;
    let capture = recording.stop()?;
    let lock = capture.lock(scene.pid(), scene.truth.locks[0].address()?, "mutex")?;
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    chain_of_two(&scene, explanation)?;
    ensure!(
        explanation.root.is_process(scene.truth.peer_pid) && explanation.waiters_total == 5,
        "{explanation:?}"
    );
    ensure!(
        capture.root_blockers.len() == 1 && capture.deadlocks.is_empty(),
        "{:?}",
        capture.root_blockers
    );
    scene.end()
}
