//! Threads that wait for each other.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::report::explanation::Link;

use super::scene::Scene;

#[test]
fn two_in_a_circle() -> Result<()> {
    circle("abba", 2)
}

#[test]
fn three_in_a_circle() -> Result<()> {
    circle("three", 3)
}

/// `size` threads in a circle and one behind it: one deadlock, and every lock leads to it.
fn circle(mode: &str, size: usize) -> Result<()> {
    let scene = Scene::of(&[mode])?;
    let snapshot = scene.snapshot()?;
    let total = u64::try_from(size)? + 1;
    let [deadlock] = snapshot.deadlocks.as_slice() else {
        anyhow::bail!("one deadlock is the truth: {:?}", snapshot.deadlocks);
    };
    ensure!(
        deadlock.threads == total - 1
            && deadlock.waiters_total == total
            && deadlock.confidence == "exact"
            && !deadlock.across_processes,
        "{deadlock:?}"
    );
    let steps: BTreeSet<&Link> = deadlock.links.iter().collect();
    ensure!(
        deadlock.links.len() == 2 * size && steps.len() == 2 * size,
        "{deadlock:?}"
    );
    let smallest = scene.truth.locks.iter().map(|lock| lock.holder).min();
    let first = &deadlock.links[0].from;
    ensure!(
        smallest.is_some_and(|tid| first.is_thread(tid)),
        "it begins at {first:?}, not at {smallest:?}"
    );
    for (index, known) in scene.truth.locks.iter().enumerate() {
        let holds = deadlock
            .links
            .iter()
            .find(|link| link.kind == "held_by" && link.to.is_thread(known.holder));
        scene.is_hold(holds.context("a hold is missing")?, index)?;
        let next = &scene.truth.locks[(index + 1) % size];
        let wanted = next.address()?;
        ensure!(
            deadlock.links.iter().any(|link| link.kind == "waits_for"
                && link.from.is_thread(known.holder)
                && link.to.is_lock(wanted)),
            "{} waits for {}: {deadlock:?}",
            known.holder,
            next.name
        );
        let sentence = format!(
            "thread {} `holder` holds mutex `{}` and waits for mutex `{}` (at app_take_mutex",
            known.holder, known.name, next.name
        );
        ensure!(deadlock.text.contains(&sentence), "{:?}", deadlock.text);

        let explanation = scene.explanation(&snapshot, index, "mutex")?;
        ensure!(
            explanation.deadlock
                && explanation.progress == "stuck"
                && explanation.confidence == "exact"
                && explanation.waiters_total == total
                && explanation.root == *first,
            "{explanation:?}"
        );
        ensure!(
            explanation.chain.iter().collect::<BTreeSet<_>>() == steps,
            "another circle: {explanation:?}"
        );
        explanation.says(&[&deadlock.text])?;
    }
    scene.root_is_only(&snapshot, first, total)?;
    ensure!(
        snapshot.root_blockers[0].progress == "stuck"
            && snapshot.root_blockers[0]
                .text
                .ends_with("which is in a deadlock"),
        "{:?}",
        snapshot.root_blockers
    );
    scene.end()
}

#[test]
fn alone_in_a_circle() -> Result<()> {
    let scene = Scene::of(&["self"])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(
        explanation.kinds() == ["held_by", "waits_for"]
            && explanation.root.is_thread(scene.truth.holder)
            && explanation.deadlock
            && explanation.progress == "stuck"
            && explanation.waiters_total == 1,
        "{explanation:?}"
    );
    explanation
        .says(&["waits for mutex `cache_lock`, which it holds itself (at app_take_mutex"])?;
    ensure!(
        snapshot.deadlocks.len() == 1 && snapshot.deadlocks[0].threads == 1,
        "{:?}",
        snapshot.deadlocks
    );
    scene.root_is_only(&snapshot, &explanation.root, 1)?;
    scene.end()
}
