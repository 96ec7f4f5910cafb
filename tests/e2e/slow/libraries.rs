//! C libraries, allocators, abseil and the Java virtual machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload, scratch,
    toolchain::{self, Build, build},
    workload::{Parked, Released},
};

use super::{Counted, TOLD, check, count, link, plan, recording};

#[test]
fn abseil() -> Result<()> {
    let program = link("slow_absl.cpp", &["-labsl_synchronization"])?;
    for options in [&[][..], &["--no-stacks"]] {
        let (pid, counted, capture) = count(&program, &[], options)?;
        check(pid, &counted, &capture, "absl")?;
        let row = plan(&capture, "libabsl_synchronization.so.20220623.0.0")?;
        ensure!(
            row.status == "attached" && row.reason.contains("Mutex::Block"),
            "{row:?}"
        );
    }
    Ok(())
}

/// A stand-in: there is no package of it.
#[test]
fn folly() -> Result<()> {
    let program = link("slow_folly.cpp", &[])?;
    let (pid, counted, capture) = count(&program, &[], &["--no-stacks"])?;
    check(pid, &counted, &capture, "folly")
}

/// Its mutex is one of the C library's inside: what was told first is told better.
#[test]
fn jemalloc() -> Result<()> {
    let program = link("slow_jemalloc.c", &["-l:libjemalloc.a", "-lstdc++", "-lm"])?;
    let (pid, counted, capture) = count(&program, &[], &["--no-stacks"])?;
    check(pid, &counted, &capture, "jemalloc")
}

/// It naps on the word and looks again, so that the number of waits is nobody's choice.
#[test]
fn tcmalloc() -> Result<()> {
    let program = link("slow_tcmalloc.c", &["-l:libtcmalloc_minimal.so.4"])?;
    let (pid, counted, capture) = count(&program, &[], &["--no-stacks"])?;
    let expected = counted.locks.first().context("no lock")?;
    let lock = capture.lock(pid, expected.address, "mutex")?;
    ensure!(lock.runtime.as_deref() == Some("tcmalloc"), "{lock:?}");
    ensure!(
        lock.evidence == format!("{TOLD}SpinLock::SlowLock"),
        "{lock:?}"
    );
    ensure!(
        lock.waits >= 1 && lock.waits == capture.waits_of(pid),
        "{lock:?}"
    );
    Ok(())
}

/// Modes of `primitives.c`, each with as many waits as waiters, and what is told of them.
fn primitives(
    library: Build,
    runtime: &str,
    modes: &[(&str, &str)],
    options: &[&str],
) -> Result<()> {
    let program = build("primitives.c", library)?;
    for (mode, function) in modes {
        let mut workload = Workload::start(&program, &[mode, "3"])?;
        let pid = workload.pid();
        let recording = recording(&workload, options)?;
        let parked: Parked = workload.go_to("parked")?;
        let released: Released = workload.go_to("truth")?;
        let capture = recording.stop()?;
        workload.finish()?;
        capture.nothing_lost()?;
        let lock = capture
            .lock(pid, parked.address, &parked.kind)
            .with_context(|| (*mode).to_owned())?;
        ensure!(
            lock.evidence == format!("{TOLD}{function}"),
            "{mode}: {lock:?}"
        );
        ensure!(lock.runtime.as_deref() == Some(runtime), "{mode}: {lock:?}");
        // Who waits for a condition also takes its mutex, which may be contended then.
        let is_exact = lock.waits == released.woken
            && (mode.starts_with("cond") || capture.waits_of(pid) == lock.waits);
        ensure!(is_exact, "{mode}: {} waits, {released:?}", lock.waits);
    }
    Ok(())
}

#[test]
fn glibc_with_debug_symbols() -> Result<()> {
    let modes = [
        ("mutex_normal", "__lll_lock_wait"),
        ("mutex_recursive", "__lll_lock_wait"),
        ("cond", "pthread_cond_wait"),
        ("cond_timed", "pthread_cond_timedwait"),
        ("semaphore", "__new_sem_wait_slow64"),
        ("barrier", "pthread_barrier_wait"),
        ("once", "__pthread_once_slow"),
    ];
    primitives(Build::Plain, "glibc", &modes, &["--no-stacks"])
}

/// A condition variable of musl's is not what its waiters sleep on, so that without the probe nobody knows where it is.
#[test]
fn musl() -> Result<()> {
    let modes = [
        ("mutex_normal", "pthread_mutex_timedlock"),
        ("mutex_timed", "pthread_mutex_timedlock"),
        ("cond", "pthread_cond_timedwait"),
        ("cond_timed", "pthread_cond_timedwait"),
    ];
    primitives(Build::Musl, "musl", &modes, &["--no-stacks"])
}

/// Who wants to know when a function returns has its return address changed, by which a probe knows that it goes on.
#[test]
fn beside_probes_at_returns() -> Result<()> {
    let modes = [("cond", "pthread_cond_wait")];
    let options = ["--no-stacks", "--probe", "entry", "--max-overhead", "100"];
    primitives(Build::Plain, "glibc", &modes, &options)
}

fn java() -> Result<PathBuf> {
    let classes = scratch::build_dir()?.join("slow-java");
    fs::create_dir_all(&classes)?;
    toolchain::run(
        Command::new("javac")
            .arg("-d")
            .arg(&classes)
            .arg(toolchain::sources().join("SlowLocks.java")),
    )?;
    Ok(classes)
}

/// HotSpot's static probes on monitors are passed only when it was started with a flag; those on parking always.
#[test]
fn java_monitors_and_parked_threads() -> Result<()> {
    const ROUNDS: &str = "5";
    let classes = java()?;
    for with_monitors in [true, false] {
        let flag = if with_monitors {
            "-XX:+DTraceMonitorProbes"
        } else {
            "-XX:-DTraceMonitorProbes"
        };
        let arguments = [
            "-Xint",
            flag,
            "-cp",
            classes.to_str().context("path")?,
            "SlowLocks",
            ROUNDS,
        ];
        let mut workload = Workload::start(Path::new("java"), &arguments)?;
        let pid = workload.pid();
        let recording = recording(&workload, &["--no-stacks"])?;
        let _: Counted = workload.go_to("counted")?;
        let capture = recording.stop()?;
        workload.finish()?;
        let row = plan(&capture, "libjvm.so")?;
        ensure!(
            row.status == "attached" && row.reason.contains("thread__park__begin"),
            "{row:?}"
        );
        let told = |function: &str| {
            let evidence = format!("{TOLD}{function}");
            let own = capture.locks.iter().filter(|lock| lock.pid == pid);
            own.filter(|lock| lock.evidence.ends_with(&evidence))
                .collect::<Vec<_>>()
        };
        let monitors = told("monitor__contended__enter");
        if with_monitors {
            // All threads sleep on condition variables of their own, for one monitor; the machine's own are contended too.
            let busiest = monitors.iter().max_by_key(|lock| lock.waits);
            let monitor = busiest.context("no monitor")?;
            ensure!(
                monitor.kind == "mutex" && monitor.waits >= 10 && monitor.wakes >= 10,
                "{monitor:?}"
            );
        } else {
            ensure!(monitors.is_empty(), "{monitors:?}");
        }
        let parked = told("thread__park__begin");
        let waits: u64 = parked.iter().map(|lock| lock.waits).sum();
        ensure!(waits >= 10, "{waits} waits of parked threads: {parked:?}");
    }
    Ok(())
}
