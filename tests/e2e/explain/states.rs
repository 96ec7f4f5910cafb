//! Holders that run, wait for a CPU, or are kept from running.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdup_tests::{
    cgroup::Cgroup,
    child,
    heartbeat::{MAX_GAP_NS, stood_still},
};

use super::{
    answers::{at_the_holder, behind_a_process},
    scene::{HeldUp, Scene},
};

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
    let stood_ns = stood_still(&mut scene.workload)?;
    ensure!(stood_ns > MAX_GAP_NS, "{stood_ns}");
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

/// Only the holder: the rest of its process goes on.
#[test]
fn frozen_by_its_control_group() -> Result<()> {
    // Dropped after the workload, whose place they are.
    let group = Cgroup::new()?;
    let cold = group.child("cold")?;
    let scene = Scene::of(&["pause"])?;
    group.adopt(scene.pid())?;
    cold.adopt_thread(scene.truth.holder)?;
    cold.freeze(true)?;
    let explanation = at_the_holder(&scene, "mutex", &["stopped"], "stuck")?;
    explanation.says(&["which is frozen by its control group"])?;
    ensure!(cold.is_frozen()?, "somebody made it go on");
    cold.freeze(false)?;
    scene.end()
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

/// A competitor that never lets go of the CPU, and one that takes what is left. Whether the holder got a crumb between
/// the looks is chance; that it gets next to nothing is not.
#[test]
fn starved() -> Result<()> {
    let scene = Scene::of_states(&["starved"])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(
        explanation.kinds() == ["held_by"]
            && explanation.root.is_thread(scene.truth.holder)
            && explanation.ending == "starved"
            && explanation.confidence == "exact"
            && explanation.waiters_total == 3,
        "{explanation:?}"
    );
    scene.is_hold(&explanation.chain[0], 0)?;
    explanation.says(&["which is runnable but gets no CPU"])?;
    let moves = explanation.text.contains("it is slow but moves");
    match explanation.progress.as_str() {
        "progressing" => ensure!(moves, "{explanation:?}"),
        "stuck" => ensure!(!moves, "{explanation:?}"),
        other => anyhow::bail!("{other}: it was watched for long enough: {explanation:?}"),
    }
    scene.root_is_only(&snapshot, &explanation.root, 3)?;
    scene.end()
}

/// Neither signals nor time move it; the kernel function is named as the kernel names it.
#[test]
fn in_uninterruptible_sleep() -> Result<()> {
    let scene = Scene::of_states(&["vfork"])?;
    let HeldUp {
        holder, peer_pid, ..
    } = scene.truth;
    let explanation = behind_a_process(&scene, "produced_by", peer_pid)?;
    let stat = fs::read_to_string(format!("/proc/{holder}/stat"))?;
    ensure!(stat.contains(") D "), "{stat}");
    let function = fs::read_to_string(format!("/proc/{holder}/wchan"))?;
    explanation.says(&[
        &format!("which waits for process {peer_pid} (silent_peer) in "),
        &format!(", in uninterruptible sleep in {function}"),
        &format!("whose child is process {peer_pid} `silent_peer`, which waits for a signal in "),
    ])?;
    scene.end()
}

#[test]
fn stopped_by_a_tracer() -> Result<()> {
    let scene = Scene::of_states(&["traced"])?;
    let HeldUp {
        holder, peer_pid, ..
    } = scene.truth;
    let explanation = behind_a_process(&scene, "produced_by", peer_pid)?;
    explanation.says(&[&format!(
        "which is stopped by its tracer, process {peer_pid} (silent_peer)"
    )])?;
    // Still so, and by the same tracer: nobody made it go on or took it over.
    let status = fs::read_to_string(format!("/proc/{holder}/status"))?;
    ensure!(
        status.contains("State:\tt ") && status.contains(&format!("TracerPid:\t{peer_pid}\n")),
        "{status}"
    );
    scene.end()
}

/// Taken three times over: still one holder.
#[test]
fn recursive() -> Result<()> {
    let scene = Scene::of_states(&["recursive"])?;
    let explanation = at_the_holder(&scene, "mutex", &["blocked"], "stuck")?;
    explanation.says(&[
        "3 threads wait for mutex `tree_lock`",
        "which waits for a signal in pause()",
    ])?;
    scene.end()
}
