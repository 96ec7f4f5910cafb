//! The two shapes that most answers have.

use anyhow::{Result, ensure};
use holdup_tests::report::Explanation;

use super::scene::Scene;

/// A holder that waits for the process at the other end of what its system call is on.
pub fn behind_a_peer(scene: Scene, says: &[&str]) -> Result<()> {
    let truth = &scene.truth;
    let explanation = behind_a_process(&scene, "peer_of", truth.peer_pid)?;
    explanation.says(&[
        &format!("on fd {}, ", truth.fd),
        &format!("process {} (silent_peer)", truth.peer_pid),
    ])?;
    explanation.says(says)?;
    scene.end()
}

/// A holder that waits for another process. The holder counts itself: it waits behind that process too.
pub fn behind_a_process(scene: &Scene, kind: &str, pid: u32) -> Result<Explanation> {
    let truth = &scene.truth;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(explanation.kinds() == ["held_by", kind], "{explanation:?}");
    scene.is_hold(&explanation.chain[0], 0)?;
    ensure!(
        explanation.chain[1].from.is_thread(truth.holder) && explanation.root.is_process(pid),
        "{explanation:?}, truth {truth:?}"
    );
    ensure!(
        explanation.confidence == "observed" && explanation.progress == "stuck",
        "{explanation:?}"
    );
    ensure!(
        explanation.waiters_total == 4 && !explanation.deadlock,
        "{explanation:?}"
    );
    explanation.says(&[
        "3 threads wait for mutex `cache_lock`",
        &format!("held by thread {} `holder`", truth.holder),
    ])?;
    scene.root_is_only(&snapshot, &explanation.root, 4)?;
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
    Ok(explanation)
}

/// A holder that is itself the root.
pub fn at_the_holder(
    scene: &Scene,
    kind: &str,
    endings: &[&str],
    progress: &str,
) -> Result<Explanation> {
    let truth = &scene.truth;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, kind)?;
    ensure!(explanation.kinds() == ["held_by"], "{explanation:?}");
    scene.is_hold(&explanation.chain[0], 0)?;
    ensure!(
        explanation.root.is_thread(truth.holder),
        "{explanation:?}, truth {truth:?}"
    );
    ensure!(
        endings.contains(&explanation.ending.as_str()) && explanation.progress == progress,
        "{explanation:?}"
    );
    let waiters = u64::try_from(truth.locks[0].waiters.len())?;
    ensure!(
        explanation.confidence == "exact" && explanation.waiters_total == waiters,
        "{explanation:?}"
    );
    scene.root_is_only(&snapshot, &explanation.root, waiters)?;
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
    Ok(explanation)
}
