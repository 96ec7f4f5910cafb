//! What a probe tells holds for waits of the call that it was hit in, on a word that fits, and for no others.

use anyhow::{Result, ensure};
use holdup_tests::{
    Recording, Workload,
    toolchain::{Build, build},
};

use super::{Counted, TOLD, check, count};

/// Without stacks: names of frames must not do the probe's work.
#[test]
fn a_note_is_applied_to_its_own_wait_alone() -> Result<()> {
    let program = build("slow_notes.c", Build::Plain)?;
    let (pid, counted, capture) = count(&program, &["10"], &["--no-stacks"])?;
    check(pid, &counted, &capture, "")
}

#[test]
fn without_the_probes_nothing_is_told() -> Result<()> {
    let program = build("slow_notes.c", Build::Plain)?;
    let mut workload = Workload::start(&program, &["3"])?;
    let pid = workload.pid();
    let recording = Recording::with(&["-p", &workload.pid_text(), "--no-stacks"])?;
    let counted: Counted = workload.go_to("counted")?;
    let capture = recording.stop()?;
    workload.finish()?;
    let total: u64 = counted.locks.iter().map(|lock| lock.waits).sum();
    ensure!(capture.waits_of(pid) == total, "counted {total}");
    let own = || capture.locks.iter().filter(|lock| lock.pid == pid);
    ensure!(own().all(|lock| lock.kind == "unknown" && !lock.evidence.starts_with(TOLD)));
    // Words, not locks.
    ensure!(own().count() < counted.locks.len());
    Ok(())
}
