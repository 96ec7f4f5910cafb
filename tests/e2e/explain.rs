//! Why a lock is held up, down to the root: one scenario for each thing that a holder can do, with an answer that the
//! workload (`holdup_chain.c`) knows.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, child, holdup,
    report::{
        Explanation, Snapshot,
        explanation::{Link, Node},
        parse_address,
    },
    scratch::Scratch,
    toolchain::{Build, build},
    workload::Parked,
};
use serde::Deserialize;

/// Longest time that a target may stand still.
const MAX_GAP_NS: u64 = 50_000_000;

/// What `holdup_chain` says of itself.
#[derive(Debug, Deserialize)]
struct HeldUp {
    holder: u32,
    fd: i32,
    peer_pid: u32,
    peer: String,
    gap_ns: u64,
    beats_first: bool,
    locks: Vec<Known>,
}

#[derive(Debug, Deserialize)]
struct Known {
    name: String,
    address: String,
    holder: u32,
    waiters: Vec<u32>,
}

impl Known {
    fn address(&self) -> Result<u64> {
        parse_address(&self.address)
    }
}

#[derive(Debug, Deserialize)]
struct Beat {
    gap_ns: u64,
}

/// A workload whose threads are held up.
struct Scene {
    workload: Workload,
    truth: HeldUp,
}

impl Scene {
    fn of(arguments: &[&str]) -> Result<Self> {
        let program = build("holdup_chain.c", Build::Plain)?;
        let mut workload = Workload::start(&program, arguments)?;
        let truth = workload.go_to("held_up")?;
        Ok(Self { workload, truth })
    }

    fn pid(&self) -> u32 {
        self.workload.pid()
    }

    fn snapshot(&self) -> Result<Snapshot> {
        holdup::snapshot(self.pid())
    }

    /// Checks that the target was never stopped: its heartbeat had no gap. Where a heartbeat may not run ahead of
    /// others, what counts is the gap beyond the one that it had without holdup.
    fn end(mut self) -> Result<()> {
        let beat: Beat = self.workload.go_to("beat")?;
        let allowed = match self.truth.beats_first {
            true => MAX_GAP_NS,
            false => MAX_GAP_NS + 2 * self.truth.gap_ns,
        };
        ensure!(
            beat.gap_ns < allowed,
            "the target stood still for {} ns; before holdup came, for {} ns at most",
            beat.gap_ns,
            self.truth.gap_ns
        );
        self.workload.finish()
    }

    /// The explanation of lock `index`, after a look at what must hold for the lock itself.
    fn explanation(&self, snapshot: &Snapshot, index: usize, kind: &str) -> Result<Explanation> {
        let known = self.truth.locks.get(index).context("no such lock")?;
        let lock = snapshot.lock(self.pid(), known.address()?, kind)?;
        ensure!(
            lock.symbol.as_deref() == Some(&known.name),
            "{:?}, truth {known:?}",
            lock.symbol
        );
        let holder = lock.holder.as_ref().map(|holder| holder.tid);
        ensure!(
            holder.unwrap_or(0) == known.holder,
            "held by {holder:?}, truth {known:?}"
        );
        lock.explanation.clone().context("no explanation")
    }

    /// Fails unless `link` is the hold of lock `index`.
    fn is_hold(&self, link: &Link, index: usize) -> Result<()> {
        let known = self.truth.locks.get(index).context("no such lock")?;
        ensure!(
            link.kind == "held_by"
                && link.from.is_lock(known.address()?)
                && link.to.is_thread(known.holder),
            "{link:?} is not the hold of {known:?}"
        );
        ensure!(
            link.confidence == "exact" && link.text.contains("glibc"),
            "{link:?}"
        );
        Ok(())
    }

    fn root_is_only(&self, snapshot: &Snapshot, root: &Node, waiters: u64) -> Result<()> {
        let [only] = snapshot.root_blockers.as_slice() else {
            anyhow::bail!("one root is the truth: {:?}", snapshot.root_blockers);
        };
        ensure!(only.root == *root, "{only:?}, not {root:?}");
        ensure!(
            only.waiters_total == waiters && !only.waiters_is_at_least,
            "{waiters} wait behind it: {only:?}"
        );
        let locks: BTreeSet<u64> = only.locks.iter().map(|lock| lock.address).collect();
        let truth: BTreeSet<u64> = self
            .truth
            .locks
            .iter()
            .map(Known::address)
            .collect::<Result<_>>()?;
        ensure!(locks == truth, "locks {locks:x?}, truth {truth:x?}");
        Ok(())
    }
}

/// A holder that waits for another process. The holder counts itself: it waits behind that process too.
fn behind_a_peer(scene: Scene, says: &[&str]) -> Result<()> {
    let truth = &scene.truth;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(
        explanation.kinds() == ["held_by", "peer_of"],
        "{explanation:?}"
    );
    scene.is_hold(&explanation.chain[0], 0)?;
    ensure!(
        explanation.chain[1].from.is_thread(truth.holder)
            && explanation.root.is_process(truth.peer_pid),
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
        &format!("on fd {}, ", truth.fd),
        &format!("process {} (silent_peer)", truth.peer_pid),
    ])?;
    explanation.says(says)?;
    scene.root_is_only(&snapshot, &explanation.root, 4)?;
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
    scene.end()
}

/// A holder that is itself the root.
fn at_the_holder(
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

#[test]
fn in_recv_from_a_silent_peer() -> Result<()> {
    let scene = Scene::of(&["recv"])?;
    let peer = format!("TCP to {} of process", scene.truth.peer);
    behind_a_peer(
        scene,
        &[
            "which waits in recvfrom() on fd",
            &peer,
            "ESTABLISHED, nothing received for ",
        ],
    )
}

#[test]
fn in_send_to_a_peer_that_stopped_reading() -> Result<()> {
    let scene = Scene::of(&["send"])?;
    let peer = format!("TCP to {} of process", scene.truth.peer);
    behind_a_peer(
        scene,
        &[
            "which waits in sendto() on fd",
            &peer,
            "iB in the send queue",
            "the peer accepts no more",
        ],
    )
}

#[test]
fn in_read_of_a_pipe() -> Result<()> {
    behind_a_peer(
        Scene::of(&["pipe"])?,
        &["which waits in read() on fd", ", pipe from process "],
    )
}

#[test]
fn in_read_of_a_named_pipe() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.join("queue");
    let path = path.to_str().context("a path")?;
    behind_a_peer(
        Scene::of(&["fifo", path])?,
        &[&format!(", FIFO {path} from process ")],
    )
}

/// Nobody on this machine has the other end: the chain ends there, and no process is blamed.
#[test]
fn in_recv_from_elsewhere() -> Result<()> {
    let scene = Scene::of(&["nobody"])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(
        explanation.kinds() == ["held_by", "blocked_in"] && explanation.ending == "endpoint",
        "{explanation:?}"
    );
    let name = format!("UDP to {}", scene.truth.peer);
    ensure!(
        explanation.root == Node::Endpoint { name: name.clone() },
        "{explanation:?}, truth {:?}",
        scene.truth
    );
    ensure!(
        explanation.progress == "stuck" && explanation.waiters_total == 4,
        "{explanation:?}"
    );
    explanation.says(&[&format!(
        "which waits in recvfrom() on fd {}, {name}; in all 4",
        scene.truth.fd
    )])?;
    scene.root_is_only(&snapshot, &explanation.root, 4)?;
    scene.end()
}

#[test]
fn stopped() -> Result<()> {
    let mut scene = Scene::of(&["pause"])?;
    scene.workload.signal(libc::SIGSTOP)?;
    await_stopped(scene.pid())?;
    let explanation = at_the_holder(&scene, "mutex", &["stopped"], "stuck")?;
    explanation.says(&["which is stopped (SIGSTOP)"])?;
    // Still so: nobody else made it go on.
    await_stopped(scene.pid())?;
    scene.workload.signal(libc::SIGCONT)?;
    // And so the heartbeat is known to notice what it is there to notice.
    let beat: Beat = scene.workload.go_to("beat")?;
    ensure!(beat.gap_ns > MAX_GAP_NS, "{beat:?}");
    scene.workload.finish()
}

fn await_stopped(pid: u32) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut all = true;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(task?.path().join("stat"))?;
            all &= stat.contains(") T ");
        }
        if all {
            return Ok(());
        }
        ensure!(started.elapsed() < child::DEADLINE, "{pid} does not stop");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn spinning() -> Result<()> {
    let scene = Scene::of(&["spin"])?;
    let explanation = at_the_holder(&scene, "mutex", &["runs"], "progressing")?;
    explanation.says(&["which runs on CPU; it is slow but moves"])?;
    scene.end()
}

/// It is asleep whenever one looks, but not always in the same sleep: never called stuck.
#[test]
fn slow_but_moving() -> Result<()> {
    let scene = Scene::of(&["slow"])?;
    for _ in 0..5 {
        // On a busy machine a look can find it awake and in line for a CPU.
        let endings = ["blocked", "runs", "starved"];
        let explanation = at_the_holder(&scene, "mutex", &endings, "progressing")?;
        explanation.says(&["; it is slow but moves"])?;
    }
    scene.end()
}

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
    let mut workload = Workload::start(&build("rust_std.rs", Build::Plain)?, &["mutex", "2"])?;
    let parked: Parked = workload.go_to("parked")?;
    let snapshot = holdup::snapshot(workload.pid())?;
    let lock = snapshot.lock(workload.pid(), parked.address, "mutex")?;
    ensure!(lock.holder.is_none(), "{:?}", lock.holder);
    let explanation = lock.explanation.as_ref().context("no explanation")?;
    nobody_is_blamed(explanation, parked.address, 2)
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
