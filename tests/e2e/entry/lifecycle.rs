//! Programs that holdup starts itself: not even their first call is missed.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    holdup,
    scratch::Scratch,
    toolchain::{Build, build},
};

/// Runs a program that takes a lock once before its `main` and nine times more.
fn first(mode: Build) -> Result<()> {
    let scratch = Scratch::new()?;
    let report = scratch.join("report.json");
    let mut child = holdup::command(&["record", "--probe", "entry", "--max-overhead", "100"])?
        .args(["--format", "json", "-o"])
        .arg(&report)
        .arg("--")
        .arg(build("entry_counts.c", mode)?)
        .arg("first")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // One cue for the scene, one for the end.
    let mut stdin = child.stdin.take().context("closed")?;
    stdin.write_all(b"go\ngo\n")?;
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let truth = text
        .lines()
        .find_map(|line| line.strip_prefix("lock first 0x"))
        .with_context(|| text.clone())?;
    let (address, numbers) = truth.split_once(' ').context("no numbers")?;
    ensure!(numbers.starts_with("acquisitions=10 "), "{text}");
    let address = u64::from_str_radix(address, 16)?;
    let capture = holdup::read(&report)?;
    let mut locks = capture.entry()?.locks.iter();
    let lock = locks
        .find(|lock| lock.address == address)
        .with_context(|| format!("{mode:?}: {:#?}", capture.plan))?;
    let counts = (lock.acquisitions, lock.hold.count, lock.releases);
    ensure!(
        counts == (10, 10, 10) && lock.unmatched == 0,
        "{mode:?}: {lock:?}"
    );
    Ok(())
}

#[test]
fn the_first_call_of_a_program_is_counted() -> Result<()> {
    [Build::Plain, Build::Musl, Build::StaticPie]
        .into_iter()
        .try_for_each(first)
}

/// Nobody asks for probes on every lock of the machine by mistake.
#[test]
fn never_without_a_target() -> Result<()> {
    let finished = holdup::run(&["record", "--all", "--probe", "entry", "-d", "1s"])?;
    finished.expect(2)?;
    ensure!(finished.stderr.contains("entry"), "{}", finished.stderr);
    Ok(())
}
