//! Holders that run, wait for a CPU, or are kept from running.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdup_tests::child;

use super::{
    answers::at_the_holder,
    scene::{Beat, MAX_GAP_NS, Scene},
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
