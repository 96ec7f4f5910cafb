//! From a mutex to what is behind it, over channels and connections.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    go::{self, Variant},
    report::{Node, parse_address},
};

use super::{Parked, Scene};

/// A log buffer whose writers wait for a mutex, its holder for a full channel, the receiver for a peer that stopped
/// reading.
#[test]
fn a_slow_reader() -> Result<()> {
    for release in go::releases()? {
        let scene: Scene<Parked> = Scene::of(&release.build("fanout", Variant::Stripped)?, &[])?;
        let process = scene.exact(scene.truth.goroutines)?;
        let (mutex, channel) = (scene.truth.mutex()?, parse_address(&scene.truth.channel)?);
        let lock = scene.snapshot.lock(scene.workload.pid(), mutex, "mutex")?;
        ensure!(lock.waiters == 12, "{lock:?}");
        let mut sites: Vec<(u64, bool)> = lock
            .sites
            .iter()
            .map(|site| {
                let named = |name: &str| {
                    site.frames
                        .iter()
                        .any(|frame| frame.function.as_deref() == Some(name))
                };
                (site.waiters, named("main.(*ProcessLogBuffer).Write"))
            })
            .collect();
        sites.sort_unstable();
        ensure!(
            sites == [(1, false), (4, false), (7, true)],
            "{:?}",
            lock.sites
        );

        let sender = process
            .groups
            .iter()
            .find(|group| group.reason.as_deref() == Some("chan send"));
        let sender = sender.context("nobody sends")?;
        ensure!(
            sender.lock == Some(channel) && sender.count == 1,
            "{sender:?}"
        );
        ensure!(sender.detail.contains("full, 256 of 256"), "{sender:?}");
        let receiver = process.group("main.streamToClient")?;

        let explanation = lock.explanation.as_ref().context("no explanation")?;
        ensure!(
            explanation.kinds() == ["held_by", "produced_by", "blocked_in"],
            "{explanation:?}"
        );
        let goroutine = |node: &Node, goid: u64, function: &str| matches!(node, Node::Goroutine { goid: own, name, .. } if *own == goid && name == function);
        let [held, sends, writes] = explanation.chain.as_slice() else {
            anyhow::bail!("{explanation:?}");
        };
        ensure!(
            goroutine(&held.to, sender.goids[0], "main.(*ProcessLogBuffer).Write"),
            "{held:?}"
        );
        ensure!(
            goroutine(&sends.to, receiver.goids[0], "main.streamToClient"),
            "{sends:?}"
        );
        let peer = format!("TCP to {}", scene.truth.peer);
        ensure!(
            writes.to == Node::Endpoint { name: peer.clone() },
            "{writes:?}"
        );
        explanation.says(&[
            "12 goroutines wait for mutex",
            &format!("waits in chan send on channel {channel:#x} (full, 256 of 256)"),
            "waits in IO wait to write to fd",
            &peer,
            "in the send queue",
            "the peer accepts no more",
        ])?;
        scene.finish()?;
    }
    Ok(())
}

/// A patrol loop that hangs in an HTTP request: who asks for its state waits for the mutex it holds.
#[test]
fn a_silent_server() -> Result<()> {
    for release in go::spread()? {
        let scene: Scene<Parked> = Scene::of(&release.build("patrol", Variant::Stripped)?, &[])?;
        silent(&scene).with_context(|| format!("{release:?}"))?;
        scene.finish()?;
    }
    Ok(())
}

fn silent(scene: &Scene<Parked>) -> Result<()> {
    let process = scene.exact(scene.truth.goroutines)?;
    let lock = scene
        .snapshot
        .lock(scene.workload.pid(), scene.truth.mutex()?, "mutex")?;
    ensure!(lock.waiters == 1, "{lock:?}");
    let holder = lock.holder.as_ref().context("no holder")?;
    let sweep = process.group("main.(*Patrol).sweep")?;
    ensure!(holder.goid == Some(sweep.goids[0]), "{holder:?}");
    // The one that reads from the server that is silent.
    let reads = process.groups.iter().find(|group| {
        group.reason.as_deref() == Some("IO wait")
            && group.calls("net/http.(*persistConn).readLoop")
    });
    let reads = reads.context("nobody reads")?;
    for words in [
        "read from fd",
        &format!("TCP to {}", scene.truth.peer),
        "nothing received for",
    ] {
        ensure!(reads.detail.contains(words), "{reads:?}");
    }
    ensure!(sweep.reason.as_deref() == Some("select"), "{sweep:?}");
    // Whole, to the peer and for how long it has said nothing.
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    let [held, answers, waits] = explanation.chain.as_slice() else {
        anyhow::bail!("{explanation:?}");
    };
    ensure!(
        explanation.kinds() == ["held_by", "produced_by", "blocked_in"],
        "{explanation:?}"
    );
    let is = |node: &Node, goid: u64, function: &str| matches!(node, Node::Goroutine { goid: own, name, .. } if *own == goid && name == function);
    ensure!(
        is(&held.to, sweep.goids[0], "main.(*Patrol).sweep")
            && is(
                &answers.to,
                reads.goids[0],
                "net/http.(*persistConn).readLoop"
            ),
        "{explanation:?}"
    );
    let peer = format!("TCP to {}", scene.truth.peer);
    ensure!(
        waits.to == Node::Endpoint { name: peer.clone() },
        "{explanation:?}"
    );
    explanation.says(&[
        "waits in select on",
        "one of whose senders is",
        &peer,
        "nothing received for",
    ])?;
    // Nobody wants anything from those in the library that wait for work.
    ensure!(
        scene.snapshot.deadlocks.is_empty(),
        "{:?}",
        scene.snapshot.deadlocks
    );
    Ok(())
}
