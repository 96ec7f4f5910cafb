//! Calls that are wrong, or wrong in all likelihood, and those that only look like it.

use anyhow::{Result, bail, ensure};
use holdup_tests::report::{Frame, Mistake};
use serde::Deserialize;

use super::scene::{entry, record};

const SOURCE: &str = "entry_order_mistakes.c";

#[derive(Debug, Deserialize)]
struct Truth {
    line: u32,
    cause_line: u32,
    tid: u32,
}

fn mistakes(mode: &str) -> Result<(Vec<Mistake>, Truth)> {
    let (capture, truth) = record(SOURCE, mode)?;
    Ok((entry(&capture)?.mistakes.clone(), truth))
}

/// Runs a mode with one mistake.
fn only(mode: &str, kind: &str) -> Result<(Mistake, Truth)> {
    let (mistakes, truth) = mistakes(mode)?;
    let [mistake] = mistakes.as_slice() else {
        bail!("{mode}: wanted one mistake: {mistakes:#?}");
    };
    ensure!(mistake.kind == kind && mistake.count == 1, "{mistake:?}");
    ensure!(mistake.tid == truth.tid, "{mistake:?}, {truth:?}");
    Ok((mistake.clone(), truth))
}

/// Line of the workload's innermost frame.
fn line(frames: &[Frame]) -> u32 {
    let in_source = |frame: &&Frame| {
        frame
            .file
            .as_deref()
            .is_some_and(|file| file.ends_with(SOURCE))
    };
    let own = frames.iter().find(in_source);
    own.and_then(|frame| frame.line).unwrap_or(0)
}

fn has_none(mode: &str) -> Result<()> {
    let (mistakes, _) = mistakes(mode)?;
    ensure!(mistakes.is_empty(), "{mode}: {mistakes:#?}");
    Ok(())
}

#[test]
fn a_wait_with_another_lock_held() -> Result<()> {
    let (mistake, truth) = only("wait_holding", "wait_with_lock_held")?;
    let condvar = mistake
        .condvar
        .as_ref()
        .map(|condvar| condvar.name.as_str());
    ensure!(
        (mistake.lock.name.as_str(), condvar) == ("config_lock", Some("jobs")),
        "{mistake:?}"
    );
    ensure!(
        line(&mistake.frames) == truth.line,
        "{mistake:?}, {truth:?}"
    );
    ensure!(
        line(&mistake.cause_frames) == truth.cause_line,
        "{mistake:?}, {truth:?}"
    );
    for place in [truth.line, truth.cause_line] {
        let place = format!("{SOURCE}:{place}");
        ensure!(
            mistake.text.contains(&place),
            "no {place}: {}",
            mistake.text
        );
    }
    Ok(())
}

#[test]
fn a_signal_before_a_wait_that_does_not_end() -> Result<()> {
    let (mistake, truth) = only("lost_wakeup", "lost_wakeup_suspect")?;
    ensure!(mistake.lock.name == "jobs", "{mistake:?}");
    ensure!(
        line(&mistake.frames) == truth.line,
        "{mistake:?}, {truth:?}"
    );
    ensure!(
        line(&mistake.cause_frames) == truth.cause_line,
        "{mistake:?}, {truth:?}"
    );
    Ok(())
}

/// Who finds that the job has come does not wait, and who waits is signalled.
#[test]
fn signals_that_are_heard_are_no_mistakes() -> Result<()> {
    has_none("heard")
}

#[test]
fn a_fork_with_a_lock_held() -> Result<()> {
    let (mistake, truth) = only("fork_holding", "held_across_fork")?;
    ensure!(mistake.lock.name == "config_lock", "{mistake:?}");
    ensure!(
        line(&mistake.frames) == truth.line,
        "{mistake:?}, {truth:?}"
    );
    ensure!(
        line(&mistake.cause_frames) == truth.cause_line,
        "{mistake:?}, {truth:?}"
    );
    has_none("fork_plainly")
}

#[test]
fn a_thread_that_ends_with_a_lock_held() -> Result<()> {
    let (mistake, truth) = only("end_holding", "held_at_thread_exit")?;
    ensure!(mistake.lock.name == "config_lock", "{mistake:?}");
    ensure!(
        line(&mistake.cause_frames) == truth.cause_line,
        "{mistake:?}, {truth:?}"
    );
    has_none("end_plainly")
}
