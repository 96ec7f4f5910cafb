//! From goroutines to threads, and back.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    go::{self, Variant},
    report::{Node, parse_address},
};
use serde::Deserialize;

use super::Scene;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Truth {
    goroutines: u64,
    outer: String,
    in_go: String,
    in_c: String,
}

#[test]
fn there_and_back() -> Result<()> {
    for release in go::releases()? {
        let scene: Scene<Truth> = Scene::of(&release.build("cross", Variant::Cgo)?, &[])?;
        scene.exact(scene.truth.goroutines)?;
        circle(&scene).with_context(|| format!("{release:?}: deadlock"))?;
        system_call(&scene).with_context(|| format!("{release:?}: system call"))?;
        scene.finish()?;
    }
    Ok(())
}

/// A goroutine has a lock of Go's and waits in C for one of C's; the thread that has that one runs a goroutine that waits
/// for the first.
fn circle(scene: &Scene<Truth>) -> Result<()> {
    let [deadlock] = scene.snapshot.deadlocks.as_slice() else {
        anyhow::bail!("{:#?}", scene.snapshot.deadlocks);
    };
    ensure!(
        deadlock.threads == 4 && !deadlock.across_processes,
        "{deadlock:?}"
    );
    let pid = scene.workload.pid();
    for (address, kind) in [(&scene.truth.in_go, "mutex"), (&scene.truth.in_c, "mutex")] {
        let address = parse_address(address)?;
        let lock = scene.snapshot.lock(pid, address, kind)?;
        let explanation = lock.explanation.as_ref().context("no explanation")?;
        ensure!(explanation.deadlock, "{explanation:?}");
        ensure!(lock.waiters == 1, "{lock:?}");
    }
    for words in [
        "`main.lockInC` holds mutex",
        "`main.lockInGo` waits for mutex",
    ] {
        ensure!(deadlock.text.contains(words), "{}", deadlock.text);
    }
    Ok(())
}

/// The goroutine that has the lock reads its standard input, which is ours.
fn system_call(scene: &Scene<Truth>) -> Result<()> {
    let (pid, address) = (scene.workload.pid(), parse_address(&scene.truth.outer)?);
    let lock = scene.snapshot.lock(pid, address, "mutex")?;
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    let [held, on, reads] = explanation.chain.as_slice() else {
        anyhow::bail!("{explanation:?}");
    };
    ensure!(
        explanation.kinds() == ["held_by", "blocked_in", "peer_of"],
        "{explanation:?}"
    );
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        matches!(&held.to, Node::Goroutine { goid: 1, name, .. } if name == "main.allowed"),
        "{held:?}"
    );
    ensure!(
        holder.known_by.ends_with("main.waitWithLock takes it"),
        "{holder:?}"
    );
    ensure!(
        matches!(on.to, Node::Thread { tid, .. } if tid == holder.tid),
        "{on:?}, {holder:?}"
    );
    let own = std::process::id();
    ensure!(
        matches!(reads.to, Node::Thread { pid, .. } | Node::Process { pid, .. } if pid == own),
        "{reads:?}"
    );
    explanation.says(&[
        "is in a system call or in C, on thread",
        "read() on fd 0, pipe",
    ])
}
