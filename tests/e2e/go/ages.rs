//! Since when goroutines wait, in a recording: Go's garbage collector does not come by.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Variant},
    holdup::{self, Recording},
    report::{Capture, GoProcess},
};

use super::{
    Parked,
    churn::{Running, Truth},
};

/// How long is recorded, and how long the first look may take to begin.
const RECORDED: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(2);

fn recorded(workload: &Workload) -> Result<Capture> {
    let recording = Recording::of(workload.pid())?;
    thread::sleep(RECORDED);
    recording.stop()
}

fn process(capture: &Capture) -> Result<&GoProcess> {
    let [process] = capture.go.as_slice() else {
        anyhow::bail!("{} Go processes", capture.go.len());
    };
    ensure!(process.error.is_none(), "{process:?}");
    Ok(process)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Those that have waited all the time: at least since the first look, and not longer than there has been a process.
#[test]
fn who_has_waited_all_the_time() -> Result<()> {
    for release in go::releases()? {
        let started = Instant::now();
        let mut workload = Workload::start(&release.build("kinds", Variant::Stripped)?, &[])?;
        let _: Parked = workload.go_to("parked")?;
        let capture = recorded(&workload)?;
        let most = nanoseconds(started.elapsed());
        let least = nanoseconds(RECORDED - LATE);
        let waiting = process(&capture)?
            .groups
            .iter()
            .filter(|group| group.state == "waiting");
        let mut groups = 0;
        for group in waiting {
            let oldest = group
                .oldest_ns
                .with_context(|| format!("{release:?}: {group:?}"))?;
            ensure!(
                (least..=most).contains(&oldest),
                "{release:?}: {group:?}, at most {most}"
            );
            groups += 1;
        }
        ensure!(groups > 10, "{groups}");
        for lock in capture
            .locks
            .iter()
            .filter(|lock| lock.runtime.as_deref() == Some("go"))
        {
            let oldest = lock.oldest_wait_ns.context("no age")?;
            ensure!((least..=most).contains(&oldest), "{lock:?}");
        }
        workload.finish()?;
    }
    Ok(())
}

/// One that waits again and again at the same place for the same thing never grows old.
#[test]
fn who_comes_back_is_young() -> Result<()> {
    let release = go::newest()?;
    let mut workload = Workload::start(&release.build("churn", Variant::Stripped)?, &[])?;
    let _: Running = workload.go_to("running")?;
    let capture = recorded(&workload)?;
    let main = process(&capture)?
        .groups
        .iter()
        .filter(|group| group.calls("main.main"));
    for group in main {
        ensure!(
            group
                .oldest_ns
                .is_none_or(|oldest| oldest < nanoseconds(RECORDED - LATE)),
            "{group:?}"
        );
    }
    let _: Truth = workload.go_to("truth")?;
    workload.finish()
}

/// One look is enough where Go itself notes since when: one wait of eight for a mutex, from Go 1.20 on.
#[test]
fn what_go_notes_itself() -> Result<()> {
    let started = Instant::now();
    let release = go::newest()?;
    let program = release.build("pileup", Variant::Stripped)?;
    let mut workload = Workload::start(&program, &["150", "150"])?;
    let truth: Parked = workload.go_to("parked")?;
    let parked = Instant::now();
    thread::sleep(Duration::from_secs(1));
    let least = nanoseconds(parked.elapsed());
    let snapshot = holdup::snapshot(workload.pid())?;
    let most = nanoseconds(started.elapsed());
    for kind in ["rwlock_read", "rwlock_write"] {
        let lock = snapshot.lock(workload.pid(), truth.mutex()?, kind)?;
        let oldest = lock.oldest_wait_ns.context("no age")?;
        ensure!(
            (least..=most).contains(&oldest) && lock.oldest_is_at_least,
            "{kind}: {oldest}, between {least} and {most}"
        );
    }
    workload.finish()
}
