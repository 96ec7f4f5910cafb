//! How long goroutines wait, by `--probe go`: exact counts against what the programs know, and against Go's own profiles.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Go, Variant},
    holdup::Recording,
    report::{Capture, Lock, parse_address},
    scratch::Scratch,
};
use serde::Deserialize;

/// Goroutines that wait at once, how often, and milliseconds for which they fight afterwards.
const GOROUTINES: u64 = 10;
const ROUNDS: u64 = 2;
const FIGHT: u64 = 100;

/// Waits of a lock.
#[derive(Debug, Deserialize)]
struct Known {
    address: String,
    kind: String,
    /// Where they wait.
    function: String,
    waits: u64,
    /// How many Go itself has seen.
    blocked: u64,
    /// How long they took together.
    least_ns: u64,
    most_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Truth {
    locks: Vec<Known>,
    hot: String,
    hot_released: u64,
    warm: String,
    warm_released: u64,
}

/// Records a workload from before its first wait to after its last.
fn recorded(program: &Path) -> Result<(Workload, Truth, Capture)> {
    let arguments = [GOROUTINES, ROUNDS, FIGHT].map(|number| number.to_string());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut workload = Workload::start(program, &arguments)?;
    let recording = Recording::with(&["-p", &workload.pid_text(), "--probe", "go"])?;
    let truth = workload.go_to("truth")?;
    Ok((workload, truth, recording.stop()?))
}

fn check(pid: u32, truth: &Truth, capture: &Capture) -> Result<()> {
    capture.no_wait_lost()?;
    let attached = capture.plan.iter().filter(|probe| {
        let is_ours = probe.probe.starts_with("runtime.");
        is_ours && probe.status == "attached" && probe.reason.contains("emulated")
    });
    ensure!(attached.count() == 2, "{:#?}", capture.plan);
    for known in &truth.locks {
        let lock = capture.lock(pid, parse_address(&known.address)?, &known.kind)?;
        one(known, lock).with_context(|| format!("{known:#?} is {lock:#?}"))?;
    }
    let hot = capture.lock(pid, parse_address(&truth.hot)?, "mutex")?;
    ensure!(
        hot.waits == truth.hot_released && hot.outcomes.woken == hot.waits,
        "Go let {} in: {hot:#?}",
        truth.hot_released
    );
    let warm = capture.at(pid, parse_address(&truth.warm)?);
    let warm: u64 = warm.map(|lock| lock.outcomes.woken).sum();
    ensure!(
        warm == truth.warm_released,
        "Go let {} in, not {warm}",
        truth.warm_released
    );
    Ok(())
}

fn one(known: &Known, lock: &Lock) -> Result<()> {
    ensure!(
        lock.waits == known.waits && known.blocked == known.waits,
        "another number"
    );
    ensure!(
        lock.outcomes.woken == lock.waits && lock.wakes == lock.waits,
        "outcomes"
    );
    ensure!(lock.waiters == 0, "waiters");
    ensure!(lock.waiters_peak == GOROUTINES, "most at once");
    ensure!(
        (known.least_ns..=known.most_ns).contains(&lock.wait_ns.total),
        "another time"
    );
    ensure!(lock.runtime.as_deref() == Some("go"), "runtime");
    ensure!(lock.oldest_wait_ns.is_none(), "nobody waits");
    ensure!(lock.last_handoff_ns.is_some(), "nobody was let in");
    for site in &lock.sites {
        // It begins with what the program calls, not with how the runtime parks.
        let first = site.frames.first().context("no stack")?;
        let first = first.function.as_deref().unwrap_or_default();
        ensure!(first.contains("sync.(*"), "begins with {first}");
        let line = site
            .frames
            .iter()
            .find(|frame| frame.function.as_deref() == Some(&known.function));
        let line = line.context("the function is not there")?;
        ensure!(
            line.line.is_some()
                && line
                    .file
                    .as_deref()
                    .is_some_and(|file| file.ends_with("durations.go")),
            "{line:?}"
        );
    }
    Ok(())
}

fn exact(release: &Go, variant: Variant) -> Result<()> {
    let (workload, truth, capture) = recorded(&release.build("durations", variant)?)?;
    check(workload.pid(), &truth, &capture).with_context(|| format!("{release:?} {variant:?}"))?;
    workload.finish()
}

#[test]
fn every_release() -> Result<()> {
    for release in go::releases()? {
        for variant in [Variant::Plain, Variant::Stripped] {
            exact(&release, variant)?;
        }
    }
    Ok(())
}

#[test]
fn position_independent_and_linked_with_c() -> Result<()> {
    for release in go::spread()? {
        for variant in [Variant::Pie, Variant::Cgo] {
            exact(&release, variant)?;
        }
    }
    Ok(())
}

/// As many contentions at each place as Go's own block profile says.
#[test]
fn the_profile_is_that_of_go_itself() -> Result<()> {
    let scratch = Scratch::new()?;
    for release in go::spread()? {
        let own = scratch.path().join("own.pb.gz").display().to_string();
        let ours = scratch.path().join("ours.pb.gz").display().to_string();
        let program = release.build("durations", Variant::Stripped)?;
        let mut workload = Workload::start(&program, &["7", "3", "1", &own])?;
        let pid = workload.pid_text();
        let recording = Recording::in_format("pprof", &["-p", &pid, "--probe", "go"])?;
        let _: Truth = workload.go_to("truth")?;
        fs::write(&ours, recording.stop_raw()?)?;
        // What comes before differs: Go leaves parts of its own out.
        let from_main = |profile: &str| {
            let waits = |stack: &[String]| stack.iter().any(|name| name.starts_with("main.wait"));
            let mut counts = std::collections::BTreeMap::new();
            for (stack, count) in release.traces(profile, "contentions", waits)? {
                let outer = stack.iter().position(|name| name.starts_with("main."));
                let outer = stack[outer.unwrap_or(0)..].to_vec();
                *counts.entry(outer).or_default() += count;
            }
            anyhow::Ok(counts)
        };
        let (own, ours) = (from_main(&own)?, from_main(&ours)?);
        ensure!(own == ours, "{release:?}: Go {own:#?}\nholdup {ours:#?}");
        ensure!(
            own.len() == 4 && own.values().all(|count: &u64| *count == 21),
            "{own:#?}"
        );
        workload.finish()?;
    }
    Ok(())
}
