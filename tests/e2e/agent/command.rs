//! The command line, and configurations that are read again.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use holdup_tests::{Agent, agent::Place, holdup};
use serde_json::Value;

use super::scene::{Scene, parked};

#[test]
fn a_configuration_is_checked() -> Result<()> {
    let place = Place::new("[watch]\ntick = \"500ms\"\n")?;
    let file = place.join("holdup.toml").display().to_string();
    let good = holdup::run(&["agent", "--check", "--config", &file])?;
    ensure!(good.expect(0)?.text() == "ok\n", "{good:?}");
    ensure!(holdup::run(&["agent", "--check"])?.expect(0)?.text() == "ok\n");
    for (text, words) in [
        ("[watch]\ntick = \"1ms\"\n", "watch.tick"),
        ("[watch]\ntock = \"1s\"\n", "tock"),
        ("[watch\n", "holdup.toml"),
        ("[[detect.rule]]\nprocess = \"x\"\n", "rule"),
    ] {
        place.configure(text)?;
        let bad = holdup::run(&["agent", "--check", "--config", &file])?;
        ensure!(bad.expect(2)?.stderr.contains(words), "{text}: {bad:?}");
    }
    let missing = holdup::run(&["agent", "--check", "--config", "/nowhere/holdup.toml"])?;
    ensure!(
        missing.expect(2)?.stderr.contains("/nowhere/holdup.toml"),
        "{missing:?}"
    );
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_named() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let scratch = holdup_tests::scratch::Scratch::new()?;
    let directory = scratch.path().display().to_string();
    let run = holdup::run(&["agent", "--listen", &address, "--snapshot-dir", &directory])?;
    ensure!(
        run.expect(1)?
            .stderr
            .contains(&format!("cannot listen on {address}")),
        "{run:?}"
    );
    Ok(())
}

#[test]
fn a_secret_that_is_missing_is_named() -> Result<()> {
    let place = Place::new(
        "[[alert.webhook]]\nurl = \"http://127.0.0.1:1/\"\nsecret_file = \"/nowhere/secret\"\n",
    )?;
    let file = place.join("holdup.toml").display().to_string();
    let directory = place.snapshots.display().to_string();
    let arguments = [
        "agent",
        "--listen",
        "127.0.0.1:0",
        "--config",
        &file,
        "--snapshot-dir",
        &directory,
    ];
    let run = holdup::run(&arguments)?;
    ensure!(
        run.expect(1)?
            .stderr
            .contains("cannot read /nowhere/secret"),
        "{run:?}"
    );
    Ok(())
}

#[test]
fn without_privileges_it_says_so() -> Result<()> {
    let scratch = holdup_tests::scratch::Scratch::new()?;
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--bounding-set=-all", "--inh-caps=-all", "--"])
        .arg(holdup::binary()?)
        .args(["agent", "--listen", "127.0.0.1:0", "--snapshot-dir"])
        .arg(scratch.path());
    let run = holdup::finish(&mut command)?;
    ensure!(run.expect(4)?.stderr.contains("CAP_BPF"), "{run:?}");
    Ok(())
}

/// A broken configuration is refused as a whole; the next good one is taken over, without losing what is open.
#[test]
fn a_broken_configuration_is_refused() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let pid = scene.pid();
    let mut agent = scene.agent(&parked(50), "")?;
    scene.pile()?;
    let incident = agent.incident(pid, "parked", "open")?;
    agent.place().configure("[watch]\ntick = \"never\"\n")?;
    agent.signal(libc::SIGHUP)?;
    let line = agent.logged("is refused, the old one stays")?;
    ensure!(
        line["error"]
            .as_str()
            .is_some_and(|error| error.contains("watch.tick")),
        "{line}"
    );
    agent.turns(5.0)?;
    ensure!(agent.incidents(pid)?[0]["status"] == "open");
    // Another threshold: by the new one it is over, and not before.
    agent
        .place()
        .configure(&scene.configuration(&parked(1000)))?;
    agent.signal(libc::SIGHUP)?;
    let line = agent.logged("the configuration was read again")?;
    ensure!(
        line["changed"]
            .as_str()
            .is_some_and(|changed| changed.contains("detect")),
        "{line}"
    );
    let over = agent.incident(pid, "parked", "resolved")?;
    ensure!(over["key"] == incident["key"], "{over}");
    ensure!(agent.metric("holdup_config_reloads_total", "result=\"refused\"")? == 1.0);
    ensure!(agent.metric("holdup_config_reloads_total", "result=\"ok\"")? == 1.0);
    agent.stop()?;
    Ok(())
}

/// It runs without any file, and says on its own where.
#[test]
fn no_configuration_is_needed() -> Result<()> {
    let agent = Agent::start("")?;
    let ready = agent.json("/readyz")?;
    ensure!(ready["level"] == "full", "{ready}");
    agent.stop()?;
    Ok(())
}

/// `holdup wedged`: 0 for what moves or waits for nothing, 3 for what hangs, by rules or by a circle.
#[test]
fn wedged_says_it_by_its_status() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["5"])?;
    let place = Place::new(
        "[detect]\nstalled = { waiters = 2, for = \"300ms\" }\nlong_wait.enabled = false\n",
    )?;
    let file = place.join("holdup.toml").display().to_string();
    let pid = scene.pid().to_string();
    let idle = holdup::run(&["wedged", "-p", &pid, "--config", &file])?;
    idle.expect(0)?;
    scene.pile()?;
    // By the default rules it is too young.
    let young = holdup::run(&["wedged", "-p", &pid])?;
    ensure!(
        young
            .expect(0)?
            .text()
            .contains("nothing is held up for good"),
        "{young:?}"
    );
    let wedged = loop {
        // Its waits need to have lasted for as long as the rule says.
        let run = holdup::run(&["wedged", "-p", &pid, "--config", &file])?;
        if run.status.code() != Some(0) {
            break run;
        }
    };
    let text = wedged.expect(3)?.text();
    ensure!(
        text.contains("wedged") && text.contains("5 threads wait for mutex `ledger_lock`"),
        "{text}"
    );
    let _: Value = scene.workload.go_to("released")?;
    holdup::run(&["wedged", "-p", &pid, "--config", &file])?.expect(0)?;
    let missing = holdup::run(&["wedged", "-p", "4194304"])?;
    ensure!(!matches!(missing.status.code(), Some(0 | 3)), "{missing:?}");
    scene.workload.finish()?;

    let circle = Scene::of("holdup_chain.c", &["abba"])?;
    let mut workload = circle.workload;
    let _: Value = workload.go_to("held_up")?;
    let deadlock = holdup::run(&["wedged", "-p", &workload.pid_text()])?;
    ensure!(
        deadlock.expect(3)?.text().contains("wedged"),
        "{deadlock:?}"
    );
    workload.kill()
}

/// A lock that moves is not wedged, however long its queue.
#[test]
fn slow_is_not_wedged() -> Result<()> {
    let scene = Scene::of("slow_lock.c", &["40", "50"])?;
    let place = Place::new("[detect]\nstalled = { waiters = 2, for = \"500ms\" }\n")?;
    let file = place.join("holdup.toml").display().to_string();
    let mut workload = scene.workload;
    let _: Value = workload.go_to("moving")?;
    for _ in 0..5 {
        holdup::run(&["wedged", "-p", &workload.pid_text(), "--config", &file])?.expect(0)?;
    }
    let _: Value = workload.go_to("turns")?;
    Ok(())
}
