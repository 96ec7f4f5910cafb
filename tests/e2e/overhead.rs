//! Uprobes on every lock: what they cost is said beforehand, too much of it ends them, and when they are gone, however
//! holdup went, the program is as quick as before.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    child::{Guarded, Lines},
    holdup,
    scratch::Scratch,
    toolchain::{Build, build},
};
use serde::Deserialize;

/// A program under these probes is slower by more than this, and one without them by less.
const SLOWER: u64 = 4;

#[derive(Deserialize)]
struct Rate {
    per_second: u64,
}

fn start(slices: &str) -> Result<Workload> {
    Workload::start(&build("lock_rate.c", Build::Plain)?, &[slices])
}

fn rate(workload: &mut Workload) -> Result<u64> {
    Ok(workload.go_to::<Rate>("rate")?.per_second)
}

struct Recording {
    child: Guarded,
    stderr: Lines,
    scratch: Scratch,
}

impl Recording {
    fn start(pid: u32, max_overhead: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let mut command = holdup::command(&[
            "record", "--probe", "entry", "-d", "10m", "--format", "json",
        ])?;
        command
            .args(["-p", &pid.to_string(), "--max-overhead", max_overhead, "-o"])
            .arg(scratch.join("report"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = Lines::of(child.stderr.take().context("no standard error")?);
        let child = Guarded::new(child);
        Ok(Self {
            child,
            stderr,
            scratch,
        })
    }

    /// Ends it as Ctrl-C does; its report.
    fn stop(mut self) -> Result<serde_json::Value> {
        self.child.signal(libc::SIGINT)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}: {}", self.stderr.all());
        let text = std::fs::read_to_string(self.scratch.join("report"))?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Reason of the plan's row about the cost that has this status.
fn reason(report: &serde_json::Value, status: &str) -> Result<String> {
    let plan = report["plan"].as_array().context("no plan")?;
    let mut rows = plan
        .iter()
        .filter(|row| row["probe"] == "cost of uprobes" && row["status"] == status);
    let row = rows
        .next()
        .with_context(|| format!("no row {status}: {plan:?}"))?;
    Ok(row["reason"].as_str().context("no reason")?.to_owned())
}

#[test]
fn too_much_is_said_and_ended() -> Result<()> {
    let mut alone = start("1")?;
    let before = rate(&mut alone)?;
    let mut workload = start("25")?;
    workload.go()?;
    let mut recording = Recording::start(workload.pid(), "5")?;
    let price = recording.stderr.until("holdup: a hit of a uprobe costs ")?;
    ensure!(price.contains(" us emulated, "), "{price}");
    let forecast = recording.stderr.until("holdup: counted for ")?;
    ensure!(
        forecast.contains(" times as long; more than --max-overhead 5"),
        "{forecast}"
    );
    recording.stderr.until("recording")?;
    let end = recording
        .stderr
        .until("holdup: uprobes were taken away after ")?;
    ensure!(end.contains("--max-overhead is 5"), "{end}");
    // Its last slice comes long after that.
    let after = workload.event::<Rate>("rate")?.per_second;
    ensure!(after > before / SLOWER, "{before} before, {after} after");
    let report = recording.stop()?;
    reason(&report, "skipped")?;
    let spent = reason(&report, "attached")?;
    ensure!(spent.ends_with("taken away before the end"), "{spent}");
    Ok(())
}

#[test]
fn a_limit_of_everything_is_none_and_the_end_restores() -> Result<()> {
    let mut workload = start("10")?;
    let before = rate(&mut workload)?;
    let mut recording = Recording::start(workload.pid(), "100")?;
    let forecast = recording.stderr.until("holdup: counted for ")?;
    ensure!(forecast.contains(" 0 hits/s"), "{forecast}");
    recording.stderr.until("recording")?;
    let during = rate(&mut workload)?;
    ensure!(during < before / SLOWER, "{before} before, {during} during");
    let report = recording.stop()?;
    let after = rate(&mut workload)?;
    ensure!(after > before / SLOWER, "{before} before, {after} after");
    ensure!(!reason(&report, "attached")?.contains("taken away"));
    ensure!(reason(&report, "skipped").is_err());
    Ok(())
}

#[test]
fn a_killed_holdup_leaves_nothing_behind() -> Result<()> {
    let mut workload = start("1")?;
    let before = rate(&mut workload)?;
    let mut recording = Recording::start(workload.pid(), "100")?;
    recording.stderr.until("recording")?;
    let during = rate(&mut workload)?;
    ensure!(during < before / SLOWER, "{before} before, {during} during");
    recording.child.signal(libc::SIGKILL)?;
    recording.child.wait()?;
    let after = rate(&mut workload)?;
    ensure!(after > before / SLOWER, "{before} before, {after} after");
    Ok(())
}
