//! Others that do not do their part: receivers, scrapers, disks. None of them is waited for.

use std::{fs, io::Read as _, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Agent, http,
    receiver::{Manners, Receiver},
    scratch::Scratch,
    toolchain,
};

use super::scene::{Scene, parked};

/// Looks and judges go on, and so does the evidence.
fn goes_on(agent: &Agent, scene: &mut Scene) -> Result<()> {
    agent.turns(5.0)?;
    scene.pile()?;
    agent.incident(scene.pid(), "parked", "open")?;
    agent.turns(5.0)?;
    let livez = agent.get("/livez")?;
    ensure!(livez.status == 200, "{livez:?}");
    Ok(())
}

/// A webhook that takes requests and never answers.
#[test]
fn a_webhook_that_hangs() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let receiver = Receiver::start(Manners::Hangs)?;
    let agent = scene.agent(&parked(50), &receiver.configuration())?;
    goes_on(&agent, &mut scene)?;
    agent.until("it hangs", || Ok((receiver.held() > 0).then_some(())))?;
    agent.turns(10.0)?;
    // The notice is given up within the grace time, and the agent ends.
    agent.stop()?;
    Ok(())
}

/// A scraper that reads one byte at a time, and one that reads nothing.
#[test]
fn scrapers_that_do_not_read() -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let limits = "[serve.limits]\nresponse_timeout = \"2s\"\n";
    let agent = scene.agent(&parked(50), limits)?;
    let mut slow = http::request(agent.address(), "/metrics")?;
    let _silent = http::request(agent.address(), "/metrics")?;
    let mut byte = [0];
    for _ in 0..20 {
        slow.read_exact(&mut byte)?;
        agent.turns(1.0)?;
    }
    goes_on(&agent, &mut scene)?;
    ensure!(agent.get("/metrics")?.status == 200, "others are served");
    agent.stop()?;
    Ok(())
}

/// A directory that is a file system of its own, with room for almost nothing.
struct TinyDisk(Scratch);

impl TinyDisk {
    fn mount(options: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let disk = scratch.join("disk");
        fs::create_dir(&disk)?;
        toolchain::run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "none"])
                .arg(&disk),
        )?;
        Ok(Self(scratch))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.join("disk")
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// No snapshot can be kept; everything else goes on, and it is said.
fn without_snapshots(snapshots: &Path, reason: &str) -> Result<()> {
    let mut scene = Scene::of("pile_up.c", &["60"])?;
    let place = scene.place(&parked(50), "")?.with_snapshots(snapshots);
    let mut agent = place.start(&[])?;
    goes_on(&agent, &mut scene)?;
    let line = agent.logged("a snapshot is not kept")?;
    ensure!(line["reason"] == reason, "{line}");
    let explained = agent.until("an explanation without a file", || {
        let incident = agent.incident(scene.pid(), "parked", "open")?;
        Ok((!incident["explanation"].is_null()).then_some(incident))
    })?;
    ensure!(
        explained["snapshots"] == serde_json::json!([]),
        "{explained}"
    );
    agent.stop()?;
    Ok(())
}

#[test]
fn the_disk_is_full() -> Result<()> {
    let disk = TinyDisk::mount("size=16k")?;
    without_snapshots(&disk.path(), "full")?;
    let left: Vec<_> = fs::read_dir(disk.path())?
        .map(|entry| entry?.file_name().into_string().ok().context("name"))
        .collect::<Result<_>>()?;
    ensure!(
        left.iter().all(|name| name == "open.json"),
        "something half written: {left:?}"
    );
    Ok(())
}

#[test]
fn the_snapshot_directory_is_read_only() -> Result<()> {
    let disk = TinyDisk::mount("size=1m,ro")?;
    without_snapshots(&disk.path(), "read_only")
}

/// Thousands of short-lived processes, each of which waits for a lock: nothing of them is left.
#[test]
fn forks_leave_nothing_behind() -> Result<()> {
    let scene = Scene::of("forks.c", &["4000", "1000"])?;
    let agent = scene.agent(&parked(50), "")?;
    let name = scene.name;
    let mut workload = scene.workload;
    let _: serde_json::Value = workload.go_to("forked")?;
    agent.turns(20.0)?;
    let (descriptors, bytes) = (agent.descriptors()?, agent.resident_bytes()?);
    workload.finish()?;
    // The same again: what leaked once would leak twice.
    let mut again = Scene::of("forks.c", &["4000", "1000"])?.workload;
    let _: serde_json::Value = again.go_to("forked")?;
    agent.turns(20.0)?;
    let (more_descriptors, more_bytes) = (agent.descriptors()?, agent.resident_bytes()?);
    ensure!(
        more_descriptors <= descriptors + 2,
        "{descriptors}, then {more_descriptors} descriptors"
    );
    // What else runs on the machine has its share in this: 8 KiB for each process would show.
    ensure!(
        more_bytes < bytes + (32 << 20),
        "{bytes}, then {more_bytes} bytes"
    );
    let rows = agent.until("their locks are given up", || {
        let locks = agent.json(&format!("/api/v1/locks?comm={name}"))?;
        let rows = locks["total"].as_u64();
        Ok(rows.filter(|&rows| rows <= 1))
    })?;
    let processes = agent.json(&format!("/api/v1/processes?comm={name}"))?;
    ensure!(processes["total"].as_u64() <= Some(1), "{rows} {processes}");
    ensure!(agent.metric("holdup_lost_total", "reason=\"locks_full\"")? == 0.0);
    again.finish()?;
    agent.stop()?;
    Ok(())
}

/// A connection that says nothing is closed.
#[test]
fn a_reader_that_does_not_read_is_cut_off() -> Result<()> {
    let scene = Scene::of("pile_up.c", &["60"])?;
    let agent = scene.agent(&parked(50), "[serve.limits]\nheader_timeout = \"1s\"\n")?;
    let mut silent = std::net::TcpStream::connect(agent.address())?;
    silent.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut rest = Vec::new();
    silent
        .read_to_end(&mut rest)
        .context("it is closed, not left open")?;
    agent.stop()?;
    Ok(())
}
