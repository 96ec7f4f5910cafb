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

/// Each took its first lock in the function that it now waits in: the code before that call tells where.
#[test]
fn where_each_lock_of_a_circle_was_taken() -> Result<()> {
    let scene = Scene::of(&["in_order"])?;
    let snapshot = scene.snapshot()?;
    let [deadlock] = snapshot.deadlocks.as_slice() else {
        anyhow::bail!("one deadlock is the truth: {:?}", snapshot.deadlocks);
    };
    let line = |link: &Link, function: &str| -> Result<u32> {
        let site = link.site.as_deref().context("no site")?;
        let line = site.strip_prefix(&format!("{function} holdup_chain.c:"));
        let line = line.with_context(|| format!("{site} is not in {function}"))?;
        Ok(line.trim_end_matches(", inferred").parse()?)
    };
    for (index, function) in ["app_cache_first", "app_store_first"].iter().enumerate() {
        let known = &scene.truth.locks[index];
        let link = |kind: &str| {
            let mut links = deadlock.links.iter();
            let is_own = |link: &&Link| {
                let thread = if kind == "held_by" {
                    &link.to
                } else {
                    &link.from
                };
                link.kind == kind && thread.is_thread(known.holder)
            };
            links.find(is_own).context("a link is missing")
        };
        let (hold, wait) = (link("held_by")?, link("waits_for")?);
        scene.is_hold(hold, index)?;
        ensure!(
            hold.site
                .as_deref()
                .is_some_and(|site| site.ends_with(", inferred")),
            "{hold:?}"
        );
        // Two lines lie between the two calls.
        ensure!(
            line(hold, function)? + 3 == line(wait, function)?,
            "{hold:?}, {wait:?}"
        );
        ensure!(
            deadlock
                .text
                .contains(&format!("(taken at {function} holdup_chain.c:")),
            "{:?}",
            deadlock.text
        );
    }
    scene.end()
}
