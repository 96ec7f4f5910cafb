//! Tables that are too small: what is lost is counted, and nothing else goes wrong.

use anyhow::{Result, ensure};
use holdup_tests::{
    Recording, Workload,
    report::Capture,
    toolchain::{Build, build},
    workload::{Parked, Released, Truth},
};

fn many_locks(locks: &str, rounds: &str, options: &[&str]) -> Result<(u32, Capture, Truth)> {
    let mut workload = Workload::start(&build("many_locks.c", Build::Plain)?, &[locks, rounds])?;
    let pid = workload.pid_text();
    let recording = Recording::with(&[&["-p", &pid], options].concat())?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let pid = workload.pid();
    workload.finish()?;
    Ok((pid, capture, truth))
}

#[test]
fn more_locks_than_room() -> Result<()> {
    let (pid, capture, truth) = many_locks("1000", "3", &["--max-locks", "64"])?;
    let (seen, lost) = (capture.waits_of(pid), capture.lost("locks_full")?);
    ensure!(truth.waits() == 3000, "the workload is wrong");
    ensure!(
        seen + lost == 3000,
        "{seen} waits seen, {lost} lost, of 3000"
    );
    ensure!(lost > 0, "64 locks had room for 1000");
    ensure!(seen > 0, "nothing was seen at all");
    ensure!(capture.locks.len() <= 64, "{} locks", capture.locks.len());
    Ok(())
}

#[test]
fn as_many_locks_as_room() -> Result<()> {
    let (pid, capture, truth) = many_locks("20000", "1", &[])?;
    ensure!(
        capture.waits_of(pid) == truth.waits(),
        "{} of {}",
        capture.waits_of(pid),
        truth.waits()
    );
    ensure!(capture.lost("locks_full")? == 0, "{:?}", capture.loss);
    Ok(())
}

/// A small ring buffer loses samples, and says so, but no counts.
#[test]
fn a_small_ring_buffer_loses_no_counts() -> Result<()> {
    let (pid, capture, truth) = many_locks("5000", "2", &["--ring-bytes", "64KiB"])?;
    ensure!(
        capture.waits_of(pid) == truth.waits(),
        "{} of {}",
        capture.waits_of(pid),
        truth.waits()
    );
    ensure!(capture.lost("locks_full")? == 0, "{:?}", capture.loss);
    Ok(())
}

/// Three hundred threads wait once each, under a bound; `parked_before`: before we come. Returns what was recorded, and how
/// many waits of that were seen.
fn three_hundred_threads(bound: &str, parked_before: bool) -> Result<(Capture, u64)> {
    let program = build("primitives.c", Build::Plain)?;
    let mut workload = Workload::start(&program, &["mutex_normal", "300"])?;
    let (pid, pid_text) = (workload.pid(), workload.pid_text());
    let record = || Recording::with(&["-p", &pid_text, "--max-threads", bound]);
    let recording = if parked_before {
        let _: Parked = workload.go_to("parked")?;
        record()?
    } else {
        let recording = record()?;
        let _: Parked = workload.go_to("parked")?;
        recording
    };
    let released: Released = workload.go_to("truth")?;
    let capture = recording.stop()?;
    workload.finish()?;
    ensure!(released.woken == 300, "the workload is wrong");
    let ghosts: u64 = capture.locks.iter().map(|lock| lock.waiters).sum();
    ensure!(ghosts == 0, "{ghosts} ghost waiters");
    let seen = capture.waits_of(pid);
    Ok((capture, seen))
}

fn some_are_lost(capture: &Capture, seen: u64, counter: &str) -> Result<()> {
    let lost = capture.lost(counter)?;
    ensure!(seen + lost == 300, "{seen} waits seen, {lost} lost, of 300");
    ensure!(lost > 0 && seen > 0, "{seen} waits seen, {lost} lost");
    Ok(())
}

/// More threads than places, but room for the rest beside them: nothing is lost.
#[test]
fn more_threads_than_places() -> Result<()> {
    let (capture, seen) = three_hundred_threads("200", false)?;
    ensure!(seen == 300, "{seen} waits of 300");
    capture.nothing_lost()
}

#[test]
fn more_threads_than_room() -> Result<()> {
    let (capture, seen) = three_hundred_threads("64", false)?;
    some_are_lost(&capture, seen, "threads_full")
}

/// Threads parked before attach, for which there is no room.
#[test]
fn more_parked_threads_than_room() -> Result<()> {
    let (capture, seen) = three_hundred_threads("64", true)?;
    some_are_lost(&capture, seen, "adopt_full")
}
