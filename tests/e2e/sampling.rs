//! Which waits get a stack.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload,
    report::names,
    toolchain::{Build, build},
    workload::Truth,
};

use crate::outcomes;

/// The first wait on a word is sampled; the next one begins before another sample is due, and is the one that matters.
#[test]
fn a_long_wait_after_a_short_one_has_its_stack() -> Result<()> {
    let mut workload = Workload::start(&build("two_sites.c", Build::Plain)?, &[])?;
    let pid = workload.pid();
    let recording = Recording::with(&["-p", &workload.pid_text(), "--sample-interval", "100ms"])?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    workload.finish()?;
    for lock in &truth.locks {
        outcomes::check(&capture, pid, lock)?;
    }
    let lock = capture
        .locks
        .iter()
        .find(|lock| lock.pid == pid)
        .context("no lock")?;
    let time_in = |function: &str| {
        let site = lock
            .sites
            .iter()
            .find(|site| names(&site.frames, function))?;
        Some((site.waits, site.wait_ns))
    };
    let (short, long) = (time_in("app_short"), time_in("app_long"));
    let (Some((1, short_ns)), Some((1, long_ns))) = (short, long) else {
        anyhow::bail!("short {short:?}, long {long:?} in{}", lock.stacks());
    };
    ensure!(
        long_ns >= 300_000_000 && short_ns < long_ns,
        "short {short_ns} ns, long {long_ns} ns"
    );
    capture.nothing_lost()
}
