//! How long goroutines wait, by `--probe go`: exact counts against what the programs know, and against Go's own profiles.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Go, Variant},
    holdup::Recording,
    report::{Capture, Frame, Lock, Probe, Site, parse_address},
    scratch::Scratch,
};
use serde::Deserialize;

use super::{Parked, churn::Running};

/// Goroutines that wait at once, how often, and milliseconds for which they fight afterwards.
const GOROUTINES: u64 = 10;
const ROUNDS: u64 = 2;
const FIGHT: u64 = 100;

/// For how long a process that does not stand still is watched.
const CHURN: Duration = Duration::from_secs(2);
/// Longest time until a process that has become another program is probed again.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let recording = Recording::with(&[
        "-p",
        &workload.pid_text(),
        "--probe",
        "go",
        "--max-overhead",
        "100",
    ])?;
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
    counts(pid, truth, capture)
}

fn counts(pid: u32, truth: &Truth, capture: &Capture) -> Result<()> {
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
        let recording = Recording::in_format(
            "pprof",
            &["-p", &pid, "--probe", "go", "--max-overhead", "100"],
        )?;
        let _: Truth = workload.go_to("truth")?;
        fs::write(&ours, recording.stop_raw()?)?;
        // What comes before differs: Go leaves parts of its own out. Threads wait as well, for the runtime's own locks.
        let from_main = |profile: &str| {
            let waits = |stack: &[String]| {
                let calls = |function: &str| stack.iter().any(|name| name.starts_with(function));
                calls("main.wait") && !calls("runtime.futex")
            };
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

/// Nobody wakes the goroutines of a process that is killed: their waits end with it.
#[test]
fn a_process_that_is_killed() -> Result<()> {
    let program = go::newest()?.build("pileup", Variant::Stripped)?;
    let mut workload = Workload::start(&program, &["7", "3"])?;
    let pid = workload.pid();
    let recording = Recording::with(&[
        "-p",
        &pid.to_string(),
        "--probe",
        "go",
        "--max-overhead",
        "100",
    ])?;
    let parked: Parked = workload.go_to("parked")?;
    workload.kill()?;
    let capture = recording.wait()?;
    capture.no_wait_lost()?;
    for (kind, waits, function) in [
        ("rwlock_read", 7, "main.(*hostCache).cacheMutexRLock"),
        ("rwlock_write", 3, "main.(*hostCache).cacheMutexLock"),
    ] {
        let lock = capture.lock(pid, parked.mutex()?, kind);
        let lock = lock.with_context(|| format!("{:#?}", capture.plan))?;
        ensure!(
            (lock.waits, lock.outcomes.interrupted, lock.waiters) == (waits, waits, 0),
            "{lock:?}"
        );
        ensure!(
            lock.waiters_peak >= waits && lock.oldest_wait_ns.is_none(),
            "{lock:?}"
        );
        let named = |frame: &Frame| frame.function.as_deref() == Some(function);
        ensure!(
            lock.sites.iter().all(|site| site.frames.iter().any(named)),
            "{}",
            lock.stacks()
        );
    }
    Ok(())
}

/// Those of a process that becomes another program, likewise; and they are told from those of the new one.
#[test]
fn a_process_that_executes_itself() -> Result<()> {
    for release in go::spread()? {
        let program = release.build("exec", Variant::Stripped)?;
        let mut workload = Workload::start(&program, &["5", "3"])?;
        let pid = workload.pid();
        let recording = Recording::with(&[
            "-p",
            &pid.to_string(),
            "--probe",
            "go",
            "--max-overhead",
            "100",
        ])?;
        let first: Parked = workload.go_to("parked")?;
        let before = links(recording.pid())?;
        let _: Running = workload.go_to("ready")?;
        // Those were for a thread that is no more.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = links(recording.pid())?;
            if now.len() == before.len() && now.difference(&before).count() == 2 {
                break;
            }
            ensure!(Instant::now() < deadline, "before {before:?}, now {now:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let second: Parked = workload.go_to("parked")?;
        let capture = recording.stop()?;
        capture.no_wait_lost()?;
        // In static storage, so that it is at the same place.
        ensure!(first.mutex()? == second.mutex()?, "{first:?} {second:?}");
        let mut ends: Vec<(u64, u64, u64)> = capture
            .at(pid, first.mutex()?)
            .map(|lock| (lock.waits, lock.outcomes.interrupted, lock.waiters))
            .collect();
        ends.sort_unstable();
        ensure!(ends == [(0, 0, 3), (5, 5, 0)], "{release:?}: {ends:?}");
        let waited = capture
            .at(pid, first.mutex()?)
            .find(|lock| lock.waiters > 0);
        let waited = waited.context("nobody waits")?;
        ensure!(
            waited.oldest_wait_ns.is_some() && !waited.oldest_is_at_least,
            "{waited:?}"
        );
        workload.finish()?;
    }
    Ok(())
}

/// Processes of several programs and of the same one; but not another one that executes it.
#[test]
fn several_processes() -> Result<()> {
    let programs = [
        go::newest()?.build("durations", Variant::Stripped)?,
        go::newest()?.build("durations", Variant::Stripped)?,
        go::spread()?[0].build("durations", Variant::Plain)?,
    ];
    let start = |program: &PathBuf| Workload::start(program, &["10", "2", "50"]);
    let mut workloads: Vec<Workload> = programs.iter().map(start).collect::<Result<_>>()?;
    let mut other = start(&programs[0])?;
    let mut arguments = ["--probe", "go", "--max-overhead", "100"]
        .map(str::to_owned)
        .to_vec();
    for workload in &workloads {
        arguments.extend(["-p".to_owned(), workload.pid_text()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let recording = Recording::with(&arguments)?;
    ensure!(breakpoints(other.pid())? == 0, "it pays for others");
    let _: Truth = other.go_to("truth")?;
    let mut truths: Vec<Truth> = Vec::new();
    for workload in &mut workloads {
        ensure!(breakpoints(workload.pid())? == 2, "two places are probed");
        truths.push(workload.go_to("truth")?);
    }
    let capture = recording.stop()?;
    for (workload, truth) in workloads.iter().zip(&truths) {
        counts(workload.pid(), truth, &capture)?;
        // What is left is as it was.
        ensure!(breakpoints(workload.pid())? == 0, "breakpoints are left");
    }
    ensure!(capture.waits_of(other.pid()) == 0, "another process");
    other.finish()?;
    workloads.into_iter().try_for_each(Workload::finish)
}

/// The numbers by which the kernel knows what a process has attached.
fn links(pid: u32) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // It may have been closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("link_id:"));
        if let Some(id) = id {
            found.insert(id.trim().parse()?);
        }
    }
    Ok(found)
}

/// How many bytes of a program's code are not those of its file.
fn breakpoints(pid: u32) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let executable = fs::read(format!("/proc/{pid}/exe"))?;
    let path = fs::read_link(format!("/proc/{pid}/exe"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut different = 0;
    for line in maps.lines().filter(|line| line.contains("r-xp")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [range, _, offset, .., file] = words[..] else {
            continue;
        };
        if Path::new(file) != path {
            continue;
        }
        let (start, end) = range.split_once('-').context("a range")?;
        let number = |text: &str| u64::from_str_radix(text, 16);
        let (start, end) = (number(start)?, number(end)?);
        let mut code = vec![0; usize::try_from(end - start)?];
        memory.read_exact_at(&mut code, start)?;
        let offset = usize::try_from(number(offset)?)?;
        let file = executable[offset..].iter();
        different += code.iter().zip(file).filter(|(a, b)| a != b).count();
    }
    Ok(different)
}

/// Goroutines that come and go, stacks that grow and move, a busy garbage collector.
#[test]
fn a_process_that_does_not_stand_still() -> Result<()> {
    for release in go::spread()? {
        let program = release.build("churn", Variant::Stripped)?;
        let mut workload = Workload::start(&program, &[])?;
        let recording = Recording::with(&[
            "-p",
            &workload.pid_text(),
            "--probe",
            "go",
            "--max-overhead",
            "100",
        ])?;
        let _: Running = workload.go_to("running")?;
        thread::sleep(CHURN);
        let truth: super::churn::Truth = workload.go_to("truth")?;
        let capture = recording.stop()?;
        capture.no_wait_lost()?;
        ensure!(truth.rounds > 0 && truth.kept == 200, "{truth:?}");
        // `main` waits for the goroutines of a round at most once.
        let groups = capture.locks.iter().filter(|lock| lock.kind == "join");
        let groups: u64 = groups.map(|lock| lock.waits).sum();
        ensure!(
            (1..=truth.rounds).contains(&groups),
            "{groups} waits for a group in {} rounds",
            truth.rounds
        );
        let stackless = capture.locks.iter().filter(|lock| lock.is_of_goroutines());
        for lock in stackless {
            ensure!(lock.waiters == 0, "{lock:?}");
            let named = |site: &Site| site.frames.iter().all(|frame| frame.function.is_some());
            ensure!(
                lock.sites
                    .iter()
                    .all(|site| !site.frames.is_empty() && named(site)),
                "{release:?}: {}",
                lock.stacks()
            );
        }
        workload.finish()?;
    }
    Ok(())
}

/// Goroutines that had parked before anybody watched: how many there are is known, and for how long at least they wait.
#[test]
fn those_that_wait_already() -> Result<()> {
    let program = go::newest()?.build("pileup", Variant::Stripped)?;
    let mut workload = Workload::start(&program, &["7", "3"])?;
    let parked: Parked = workload.go_to("parked")?;
    let began = Instant::now();
    let recording = Recording::with(&["-p", &workload.pid_text(), "--probe", "go"])?;
    let attached = Instant::now();
    // Long enough to be told from the time that the report takes.
    thread::sleep(Duration::from_millis(200));
    let least = u64::try_from(attached.elapsed().as_nanos())?;
    let capture = recording.stop()?;
    let most = u64::try_from(began.elapsed().as_nanos())?;
    for (kind, waiters) in [("rwlock_read", 7), ("rwlock_write", 3)] {
        let lock = capture.lock(workload.pid(), parked.mutex()?, kind)?;
        ensure!((lock.waiters, lock.waits) == (waiters, 0), "{lock:?}");
        let oldest = lock.oldest_wait_ns.context("no age")?;
        ensure!(
            (least..=most).contains(&oldest) && lock.oldest_is_at_least,
            "{oldest} is not in {least}..={most}: {lock:?}"
        );
        ensure!(lock.holder.is_some(), "{lock:?}");
    }
    workload.finish()
}

/// Probes that cost too much go away while the process fights on; what was counted until then is told.
#[test]
fn probes_that_cost_too_much() -> Result<()> {
    let program = go::newest()?.build("durations", Variant::Stripped)?;
    let mut workload = Workload::start(&program, &["10", "1", "4000"])?;
    let pid = workload.pid();
    let arguments = [
        "-p",
        &pid.to_string(),
        "--probe",
        "go",
        "--max-overhead",
        "1",
    ];
    let recording = Recording::with(&arguments)?;
    let truth: Truth = workload.go_to("truth")?;
    ensure!(breakpoints(pid)? == 0, "still probed");
    let capture = recording.stop()?;
    let taken_away =
        |probe: &Probe| probe.status == "skipped" && probe.reason.starts_with("taken away after");
    ensure!(capture.plan.iter().any(taken_away), "{:#?}", capture.plan);
    let hot = capture.lock(pid, parse_address(&truth.hot)?, "mutex")?;
    ensure!(
        (1..truth.hot_released).contains(&hot.waits),
        "Go let {} in: {hot:#?}",
        truth.hot_released
    );
    ensure!(hot.waiters == 0 && hot.oldest_wait_ns.is_none(), "{hot:#?}");
    workload.finish()
}
