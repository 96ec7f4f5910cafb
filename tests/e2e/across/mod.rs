//! Chains that leave the process: locks that processes share, and what the process at the other end of a pipe or a
//! socket waits for itself. `across.c` knows the answers.

mod scene;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use holdup_tests::{
    Recording, holdup,
    report::{Capture, Deadlock, Explanation, Lock, explanation::Node},
};

use self::scene::{HeldUp, Scene, everywhere, is_thread};

#[test]
fn held_by_a_thread_of_another_process() -> Result<()> {
    everywhere(|memory| {
        let scene = Scene::of(&["held", memory])?;
        let truth = &scene.truth;
        let explanation = scene.explanation(&holdup::snapshot(scene.pid())?)?;
        ensure!(explanation.kinds() == ["held_by"], "{explanation:?}");
        scene.is_hold(&explanation.chain[0], 0)?;
        ensure!(
            is_thread(&explanation.root, truth.root_pid, truth.root)
                && explanation.ending == "blocked"
                && explanation.confidence == "exact"
                && explanation.progress == "stuck"
                && explanation.waiters_total == 3,
            "{explanation:?}"
        );
        explanation.says(&[
            "3 threads wait for mutex",
            &format!(
                "held by thread {} `keeper` of process {}",
                truth.root, truth.other
            ),
            "which waits for a signal in pause()",
        ])?;
        scene.end()
    })
}

/// A lock in shared memory has one id in all processes, and where the memory has a name, the lock has it too.
#[test]
fn one_id_in_all_processes() -> Result<()> {
    for (memory, name) in [("anonymous", None), ("memfd", Some("memfd:across pool"))] {
        let scene = Scene::of(&["circle", memory])?;
        let ids = |pid: u32| -> Result<BTreeSet<(String, Option<String>)>> {
            let snapshot = holdup::snapshot(pid)?;
            let locks = snapshot.locks.into_iter();
            Ok(locks
                .filter(|lock| lock.kind == "mutex")
                .map(|lock| (lock.id, lock.symbol))
                .collect())
        };
        let here = ids(scene.pid())?;
        let there = ids(scene.truth.other)?;
        // Here both are waited for or behind, there the first one.
        ensure!(here.len() == 2 && there.len() == 1, "{here:?}, {there:?}");
        ensure!(there.is_subset(&here), "{there:?} is none of {here:?}");
        for (id, symbol) in &here {
            ensure!(id.starts_with("mutex~"), "{id}");
            let named = symbol.as_deref().map(|symbol| symbol.split('+').next());
            ensure!(named == name.map(Some), "{symbol:?}, wanted {name:?}");
        }
        scene.end()?;
    }
    Ok(())
}

/// Its owner's process was killed: nobody will ever let go.
fn abandoned(mode: &str) -> Result<()> {
    everywhere(|memory| {
        let scene = Scene::of(&[mode, memory])?;
        let truth = &scene.truth;
        let snapshot = holdup::snapshot(scene.pid())?;
        let lock = snapshot.lock(scene.pid(), scene.known(0)?.address()?, "mutex")?;
        let holder = lock.holder.as_ref().context("no holder")?;
        ensure!(
            holder.pid.is_none() && holder.tid == truth.root && holder.comm.is_empty(),
            "{holder:?}, truth {truth:?}"
        );
        let explanation = lock.explanation.as_ref().context("no explanation")?;
        ensure!(
            explanation.kinds() == ["held_by"]
                && explanation.root.is_thread(truth.root)
                && explanation.ending == "abandoned"
                && explanation.confidence == "exact"
                && explanation.progress == "stuck"
                && explanation.waiters_total == 3,
            "{explanation:?}"
        );
        explanation.says(&[&format!(
            "held by thread {}, which is dead: abandoned",
            truth.root
        )])?;
        scene.end()
    })
}

#[test]
fn its_owner_was_killed() -> Result<()> {
    abandoned("killed")
}

/// A robust lock that the kernel could not hand on.
#[test]
fn robust_and_its_owner_was_killed() -> Result<()> {
    abandoned("robust")
}

/// A robust lock that a waiter has got from the dead: it is not abandoned, whatever its owner word says.
#[test]
fn robust_and_taken_over() -> Result<()> {
    let scene = Scene::of(&["taken_over", "memfd"])?;
    let explanation = scene.explanation(&holdup::snapshot(scene.pid())?)?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && is_thread(&explanation.root, scene.pid(), scene.truth.root)
            && explanation.ending == "blocked"
            && explanation.confidence == "exact",
        "{explanation:?}"
    );
    scene.end()
}

/// What every report of the circle must say, whoever was watched.
fn is_circle(scene: &Scene, deadlocks: &[Deadlock]) -> Result<()> {
    let truth = &scene.truth;
    let [deadlock] = deadlocks else {
        bail!("one deadlock is the truth: {deadlocks:?}");
    };
    ensure!(
        deadlock.across_processes
            && deadlock.threads == 2
            && deadlock.confidence == "exact"
            && deadlock.links_left_out == 0
            && deadlock.waiters_total == 3,
        "{deadlock:?}"
    );
    let kinds: Vec<&str> = deadlock
        .links
        .iter()
        .map(|link| link.kind.as_str())
        .collect();
    ensure!(
        kinds.iter().filter(|kind| **kind == "held_by").count() == 2
            && kinds.iter().filter(|kind| **kind == "waits_for").count() == 2,
        "{deadlock:?}"
    );
    for (pid, tid) in [(scene.pid(), truth.holder), (truth.root_pid, truth.root)] {
        let wait = deadlock
            .links
            .iter()
            .find(|link| is_thread(&link.from, pid, tid))
            .with_context(|| format!("{pid} {tid} is not in {deadlock:?}"))?;
        let site = wait.site.as_deref().unwrap_or_default();
        ensure!(
            wait.kind == "waits_for" && site.contains("app_take"),
            "{wait:?}"
        );
        ensure!(
            deadlock
                .text
                .contains(&format!("thread {tid} `crosser` of process {pid}")),
            "{:?}",
            deadlock.text
        );
    }
    Ok(())
}

/// Every lock that somebody waits for leads into the circle.
fn all_lead_to(locks: &[Lock], confidence: &str) -> Result<()> {
    for lock in locks.iter().filter(|lock| lock.waiters > 0) {
        let explanation = lock.explanation.as_ref().context("no explanation")?;
        ensure!(
            explanation.deadlock
                && explanation.confidence == confidence
                && explanation.progress == "stuck",
            "{explanation:?}"
        );
    }
    Ok(())
}

fn capture_is_circle(scene: &Scene, capture: &Capture) -> Result<()> {
    is_circle(scene, &capture.deadlocks)?;
    all_lead_to(&capture.locks, "exact")
}

#[test]
fn two_processes_in_a_circle() -> Result<()> {
    everywhere(|memory| {
        let scene = Scene::of(&["circle", memory])?;
        for pid in [scene.pid(), scene.truth.other] {
            let snapshot = holdup::snapshot(pid)?;
            is_circle(&scene, &snapshot.deadlocks).with_context(|| format!("watched {pid}"))?;
            all_lead_to(&snapshot.locks, "exact")?;
            ensure!(snapshot.locks.iter().all(|lock| lock.pid == pid));
        }
        scene.end()
    })
}

#[test]
fn two_processes_in_a_circle_while_both_are_recorded() -> Result<()> {
    let scene = Scene::of(&["circle", "memfd"])?;
    let (here, there) = (scene.pid().to_string(), scene.truth.other.to_string());
    for target in [
        &["-p", &here, "-p", &there][..],
        &["-p", &here],
        &["-p", &there],
    ] {
        let capture = Recording::with(target)?.stop()?;
        capture_is_circle(&scene, &capture).with_context(|| format!("{target:?}"))?;
    }
    scene.end()
}

/// A holder that reads from a process whose thread waits for a lock of its own, the holder of which sleeps.
fn through(mode: &str, stand: impl Fn(&HeldUp) -> u32, says: &[&str]) -> Result<()> {
    let scene = Scene::of(&[mode])?;
    let truth = &scene.truth;
    let snapshot = holdup::snapshot(scene.pid())?;
    let explanation = scene.explanation(&snapshot)?;
    is_through(&scene, &explanation, stand)?;
    explanation.says(&[
        "3 threads wait for mutex `cache_lock`",
        &format!("held by thread {} `holder`", truth.holder),
        &format!("which waits in read() on fd {}, ", truth.fd),
        &format!("of process {} (inferred)", truth.other),
        "which waits for mutex `store_lock`",
        &format!("held by thread {} `sleeper`", truth.root),
        "which waits for a signal in pause()",
    ])?;
    explanation.says(says)?;
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
    scene.end()
}

fn is_through(
    scene: &Scene,
    explanation: &Explanation,
    stand: impl Fn(&HeldUp) -> u32,
) -> Result<()> {
    let truth = &scene.truth;
    ensure!(
        explanation.kinds() == ["held_by", "peer_of", "waits_for", "held_by"],
        "{explanation:?}"
    );
    scene.is_hold(&explanation.chain[0], 0)?;
    scene.is_hold(&explanation.chain[3], 1)?;
    let peer = &explanation.chain[1];
    // Which of the process's threads would write is a guess.
    ensure!(
        is_thread(&peer.from, scene.pid(), truth.holder)
            && is_thread(&peer.to, truth.other, stand(truth))
            && peer.confidence == "inferred",
        "{peer:?}, truth {truth:?}"
    );
    let wait = &explanation.chain[2];
    let site = wait.site.as_deref().unwrap_or_default();
    ensure!(
        wait.confidence == "exact" && site.contains("app_take"),
        "{wait:?}"
    );
    // The scheduler knows since when the thread has slept, also of a process that nobody watches.
    ensure!(
        wait.since_is_at_least && wait.since_ns.is_some_and(|ns| ns < 60_000_000_000),
        "{wait:?}"
    );
    ensure!(
        is_thread(&explanation.root, truth.root_pid, truth.root)
            && explanation.ending == "blocked"
            && explanation.confidence == "inferred"
            && explanation.progress == "stuck",
        "{explanation:?}"
    );
    // Three, their holder, and the thread that it waits for.
    ensure!(
        explanation.waiters_total == 5 && !explanation.deadlock,
        "{explanation:?}"
    );
    Ok(())
}

#[test]
fn through_a_pipe() -> Result<()> {
    through("pipe", |truth| truth.other, &["pipe from process "])
}

#[test]
fn through_a_unix_socket() -> Result<()> {
    through("unix", |truth| truth.other, &["unix socket to process "])
}

#[test]
fn through_a_tcp_connection() -> Result<()> {
    through(
        "tcp",
        |truth| truth.other,
        &["TCP to 127.0.0.1:", "ESTABLISHED, nothing received for "],
    )
}

/// The first thread has nothing to do with it.
#[test]
fn through_a_worker_of_the_other_process() -> Result<()> {
    let scene = Scene::of(&["worker"])?;
    let explanation = scene.explanation(&holdup::snapshot(scene.pid())?)?;
    let stand = |node: &Node| match node {
        Node::Thread { tid, comm, .. } if comm == "worker" => *tid,
        _ => 0,
    };
    let worker = explanation.chain.get(1).map_or(0, |link| stand(&link.to));
    is_through(&scene, &explanation, |_| worker)?;
    scene.end()
}

#[test]
fn through_a_pipe_in_a_recording() -> Result<()> {
    let scene = Scene::of(&["pipe"])?;
    let capture = Recording::of(scene.pid())?.stop()?;
    let lock = capture.lock(scene.pid(), scene.known(0)?.address()?, "mutex")?;
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    is_through(&scene, explanation, |truth| truth.other)?;
    ensure!(
        capture.locks.iter().all(|lock| lock.pid == scene.pid()),
        "locks of others are listed"
    );
    scene.end()
}

/// Two pipes and three processes; that in the middle has one thread, which needs no guess.
#[test]
fn through_two_processes() -> Result<()> {
    let scene = Scene::of(&["relay"])?;
    let truth = &scene.truth;
    let explanation = scene.explanation(&holdup::snapshot(scene.pid())?)?;
    ensure!(
        explanation.kinds() == ["held_by", "peer_of", "peer_of", "waits_for", "held_by"],
        "{explanation:?}"
    );
    scene.is_hold(&explanation.chain[0], 0)?;
    scene.is_hold(&explanation.chain[4], 1)?;
    let [_, first, second, ..] = explanation.chain.as_slice() else {
        bail!("{explanation:?}");
    };
    ensure!(
        is_thread(&first.to, truth.other, truth.other) && first.confidence == "observed",
        "{first:?}"
    );
    ensure!(
        is_thread(&second.to, truth.third, truth.third) && second.confidence == "inferred",
        "{second:?}"
    );
    ensure!(
        is_thread(&explanation.root, truth.third, truth.root)
            && explanation.confidence == "inferred"
            && explanation.waiters_total == 6,
        "{explanation:?}"
    );
    scene.end()
}

/// The thread that reads from the other end of the connection stands for its process: the holder and it wait for each
/// other's words, which is where the chain ends, and no deadlock: others could write.
#[test]
fn both_ends_wait_for_the_other_to_speak() -> Result<()> {
    let scene = Scene::of(&["mutual"])?;
    let truth = &scene.truth;
    let snapshot = holdup::snapshot(scene.pid())?;
    let explanation = scene.explanation(&snapshot)?;
    ensure!(
        explanation.kinds() == ["held_by", "peer_of"]
            && is_thread(&explanation.root, truth.other, truth.root)
            && explanation.ending == "blocked"
            && explanation.confidence == "observed"
            && explanation.waiters_total == 4,
        "{explanation:?}"
    );
    explanation.says(&[&format!(
        "whose other end is thread {} `server` of process {}, which waits in recvfrom()",
        truth.root, truth.other
    )])?;
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
    scene.end()
}

/// The owner word holds an id of the owner's pid namespace.
#[test]
fn held_in_another_pid_namespace() -> Result<()> {
    let scene = Scene::of(&["elsewhere", "memfd"])?;
    let explanation = scene.explanation(&holdup::snapshot(scene.pid())?)?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && is_thread(&explanation.root, scene.truth.root_pid, scene.truth.root)
            && explanation.ending == "blocked"
            && explanation.confidence == "exact",
        "{explanation:?}"
    );
    scene.end()
}

/// Two processes share the lock, and each has a thread of the id in the owner word: none is blamed.
#[test]
fn held_by_one_of_two_namesakes() -> Result<()> {
    let scene = Scene::of(&["ambiguous", "memfd"])?;
    let snapshot = holdup::snapshot(scene.pid())?;
    let lock = snapshot.lock(scene.pid(), scene.known(0)?.address()?, "mutex")?;
    ensure!(lock.holder.is_none(), "{:?}", lock.holder);
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    ensure!(
        explanation.chain.is_empty() && explanation.ending == "holder_unknown",
        "{explanation:?}"
    );
    scene.end()
}

/// A chain that is too long is followed for a while, and says where it was left.
#[test]
fn further_than_one_looks() -> Result<()> {
    let scene = Scene::of(&["far"])?;
    let snapshot = holdup::snapshot(scene.pid())?;
    ensure!(
        snapshot.loss.get("chains_cut").is_some_and(|&cut| cut > 0),
        "{:?}",
        snapshot.loss
    );
    let lock = snapshot.lock(scene.pid(), scene.known(0)?.address()?, "mutex")?;
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    ensure!(
        explanation.kinds()
            == [
                "held_by", "peer_of", "peer_of", "peer_of", "peer_of", "peer_of"
            ]
            && matches!(explanation.root, Node::Process { .. })
            && explanation.ending == "unknown"
            && explanation.confidence == "observed",
        "{explanation:?}"
    );
    explanation.says(&["which was not looked at"])?;
    scene.end()
}

/// The holder of a shared lock reads from a process that waits for that lock: a circle of which one half is a lock.
#[test]
fn a_lock_and_a_pipe_in_a_circle() -> Result<()> {
    let scene = Scene::of(&["crossed", "memfd"])?;
    let truth = &scene.truth;
    for pid in [scene.pid(), truth.other] {
        let snapshot = holdup::snapshot(pid)?;
        let [deadlock] = snapshot.deadlocks.as_slice() else {
            bail!("one deadlock is the truth: {:?}", snapshot.deadlocks);
        };
        // The process has but one thread to write.
        ensure!(
            deadlock.across_processes && deadlock.threads == 2 && deadlock.confidence == "observed",
            "{deadlock:?}"
        );
        let mut kinds: Vec<&str> = deadlock
            .links
            .iter()
            .map(|link| link.kind.as_str())
            .collect();
        kinds.sort_unstable();
        ensure!(kinds == ["held_by", "peer_of", "waits_for"], "{deadlock:?}");
        all_lead_to(&snapshot.locks, "observed")?;
    }
    scene.end()
}

/// Locks that go from hand to hand across two processes, always in the same order: whatever is seen of one process and
/// then of the other, it is no deadlock.
#[test]
fn hand_to_hand_is_no_deadlock() -> Result<()> {
    let scene = Scene::of(&["lively", "memfd"])?;
    let mut across = 0;
    for _ in 0..20 {
        let snapshot = holdup::snapshot(scene.pid())?;
        ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
        for lock in &snapshot.locks {
            let explanation = lock.explanation.as_ref().context("no explanation")?;
            ensure!(
                explanation.ending != "abandoned",
                "both processes live: {explanation:?}"
            );
            let elsewhere = lock.holder.as_ref().and_then(|holder| holder.pid);
            across += u32::from(elsewhere == Some(scene.truth.other));
        }
    }
    // Else this has tested nothing.
    ensure!(across > 0, "never held by the other process");
    scene.end()
}
