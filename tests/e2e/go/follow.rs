//! Chains over everything that goroutines wait for.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    go::{self, Variant},
    report::{Explanation, GoProcess, Lock, Node, parse_address},
};
use serde::Deserialize;

use super::Scene;

#[derive(Debug, Deserialize)]
struct Truth {
    goroutines: u64,
    peer: String,
    cond: String,
    group: String,
    shared: String,
    several: String,
    single: String,
    open: String,
    closed: String,
}

struct World(Scene<Truth>);

impl World {
    fn lock(&self, address: &str, kind: &str) -> Result<&Lock> {
        let address = parse_address(address)?;
        self.0.snapshot.lock(self.0.workload.pid(), address, kind)
    }

    fn process(&self) -> Result<&GoProcess> {
        self.0.process()
    }

    /// The numbers of goroutines that call a function.
    fn goids(&self, function: &str) -> Result<Vec<u64>> {
        let groups = self.process()?.groups.iter();
        let calling = groups.filter(|group| group.calls(function));
        Ok(calling.flat_map(|group| group.goids.clone()).collect())
    }

    /// Whether a node is one of the goroutines that call a function.
    fn is(&self, node: &Node, function: &str) -> Result<bool> {
        let goids = self.goids(function)?;
        Ok(
            matches!(node, Node::Goroutine { goid, name, .. } if goids.contains(goid) && name == function),
        )
    }

    fn peer(&self) -> Node {
        Node::Endpoint {
            name: format!("TCP to {}", self.0.truth.peer),
        }
    }
}

fn explained(lock: &Lock) -> Result<&Explanation> {
    lock.explanation.as_ref().context("no explanation")
}

#[test]
fn every_way_to_wait() -> Result<()> {
    for release in go::releases()? {
        let program = release.build("follow", Variant::Stripped)?;
        let world = World(Scene::of(&program, &[])?);
        world.0.exact(world.0.truth.goroutines)?;
        let checks = [
            cond(&world).context("cond"),
            group(&world).context("group"),
            shared(&world).context("readers and writers"),
            select(&world).context("select"),
            timers(&world, release.minor() >= 23).context("timers"),
            deadlocks(&world).context("deadlocks"),
        ];
        for check in checks {
            check.with_context(|| format!("{release:?}"))?;
        }
        world.0.finish()?;
    }
    Ok(())
}

/// Who would signal waits for the peer itself.
fn cond(world: &World) -> Result<()> {
    let lock = world.lock(&world.0.truth.cond, "condvar")?;
    ensure!(lock.waiters == 1 && lock.holder.is_none(), "{lock:?}");
    let explanation = explained(lock)?;
    let [signalled, reads] = explanation.chain.as_slice() else {
        anyhow::bail!("{explanation:?}");
    };
    ensure!(
        explanation.kinds() == ["produced_by", "blocked_in"]
            && world.is(&signalled.to, "main.(*queue).produce")?
            && reads.to == world.peer(),
        "{explanation:?}"
    );
    explanation.says(&[
        "1 goroutine waits for condvar",
        "expected to be signalled by goroutine",
        "waits in IO wait to read from fd",
        "nothing received for",
    ])
}

fn group(world: &World) -> Result<()> {
    let lock = world.lock(&world.0.truth.group, "join")?;
    ensure!(lock.evidence.ends_with("; 2 to be done"), "{lock:?}");
    let explanation = explained(lock)?;
    ensure!(
        explanation.kinds() == ["held_by"] && world.is(&explanation.root, "main.work")?,
        "{explanation:?}"
    );
    explanation.says(&["and 1 more", "sleeps and wakes in 59m"])
}

/// Two hold it, and no more than that: the third one waits behind the writer.
fn shared(world: &World) -> Result<()> {
    for kind in ["rwlock_write", "rwlock_read"] {
        let lock = world.lock(&world.0.truth.shared, kind)?;
        ensure!(
            lock.waiters == 1 && lock.evidence.ends_with("; held by 2 readers"),
            "{lock:?}"
        );
        let explanation = explained(lock)?;
        ensure!(world.is(&explanation.root, "main.read")?, "{explanation:?}");
        explanation.says(&["held by goroutine", "and 1 more", "sleeps and wakes in 59m"])?;
    }
    Ok(())
}

/// Both lead to the one who feeds a channel: through one of two cases, and through the only case that can be.
fn select(world: &World) -> Result<()> {
    for (address, words) in [
        (&world.0.truth.several, "one of whose senders is"),
        (&world.0.truth.single, "whose sender is"),
    ] {
        let lock = world.lock(address, "mutex")?;
        let explanation = explained(lock)?;
        let [held, sent, reads] = explanation.chain.as_slice() else {
            anyhow::bail!("{explanation:?}");
        };
        ensure!(
            explanation.kinds() == ["held_by", "produced_by", "blocked_in"]
                && world.is(&held.to, "main.choose")?
                && world.is(&sent.to, "main.feed")?
                && reads.to == world.peer(),
            "{explanation:?}"
        );
        explanation.says(&["waits in select on", words, "nothing received for"])?;
    }
    let process = world.process()?;
    let choose = process
        .groups
        .iter()
        .filter(|group| group.calls("main.choose"));
    let mut details: Vec<&str> = choose.map(|group| group.detail.as_str()).collect();
    details.sort_unstable();
    let [several, single] = details.as_slice() else {
        anyhow::bail!("{process:#?}");
    };
    ensure!(
        several.starts_with("2 channels: ")
            && several.contains("receive from channel 0x")
            && several.contains("send to channel 0x"),
        "{several}"
    );
    ensure!(
        single.starts_with("channel 0x") && single.ends_with("(unbuffered)"),
        "{single}"
    );
    Ok(())
}

fn timers(world: &World, has_channel_timers: bool) -> Result<()> {
    let group = world.process()?.group("main.receiveInTime")?;
    ensure!(
        group.detail.contains("of a timer that is due in 59m") == has_channel_timers,
        "{group:?}"
    );
    let mut groups = world.process()?.groups.iter();
    let sleeps = groups.find(|group| group.calls("main.work"));
    ensure!(
        sleeps.is_some_and(|group| group.detail.starts_with("wakes in 59m")),
        "{sleeps:?}"
    );
    Ok(())
}

/// Only one of the two circles has no way out.
fn deadlocks(world: &World) -> Result<()> {
    let closed = parse_address(&world.0.truth.closed)?;
    let [deadlock] = world.0.snapshot.deadlocks.as_slice() else {
        anyhow::bail!("{:#?}", world.0.snapshot.deadlocks);
    };
    ensure!(
        deadlock.text.contains(&format!("{closed:#x}")) && deadlock.confidence == "inferred",
        "{deadlock:?}"
    );
    let open = world.lock(&world.0.truth.open, "mutex")?;
    ensure!(!explained(open)?.deadlock, "{open:?}");
    Ok(())
}
