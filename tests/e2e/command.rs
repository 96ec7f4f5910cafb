//! `holdup record -- CMD`: the program's own output and exit status pass through, and none of its waits is missed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    holdup::{self, Finished},
    report::Capture,
    scratch::Scratch,
    toolchain::{Build, build},
    workload::Truth,
};

use crate::outcomes;

/// Runs `holdup record --format json -o FILE -- program arguments`.
fn record(scratch: &Scratch, program: &Path, arguments: &[&str]) -> Result<Finished> {
    let mut command = holdup::command(&["record", "--format", "json", "-o"])?;
    command
        .arg(scratch.join("report.json"))
        .arg("--")
        .arg(program)
        .args(arguments);
    holdup::finish(&mut command)
}

fn report(scratch: &Scratch) -> Result<Capture> {
    holdup::read(&scratch.join("report.json"))
}

/// From its first instruction on: the program waits at once and asks nobody.
#[test]
fn no_wait_is_missed() -> Result<()> {
    let scratch = Scratch::new()?;
    let finished = record(&scratch, &build("oneshot.c", Build::Plain)?, &["500", "0"])?;
    let truth = Truth::find(&finished.expect(0)?.text())?;
    let capture = report(&scratch)?;
    let lock = truth.locks.first().context("no truth")?;
    outcomes::check(&capture, lock.pid.context("no pid")?, lock)?;
    ensure!(truth.waits() == 500, "the workload is wrong");
    capture.nothing_lost()
}

#[test]
fn output_and_exit_status_pass_through() -> Result<()> {
    let scratch = Scratch::new()?;
    let program = build("oneshot.c", Build::Plain)?;
    let finished = record(&scratch, &program, &["10", "37"])?;
    finished.expect(37)?;
    let lines: Vec<String> = finished.text().lines().map(str::to_owned).collect();
    ensure!(
        lines.len() == 1,
        "standard output is the program's alone: {lines:?}"
    );
    ensure!(
        finished.stderr.contains("oneshot says goodbye"),
        "standard error: {:?}",
        finished.stderr
    );
    ensure!(
        report(&scratch)?.locks.len() == 1,
        "the report is written although the program failed"
    );
    Ok(())
}

#[test]
fn death_by_a_signal_passes_through_as_a_shell_has_it() -> Result<()> {
    let scratch = Scratch::new()?;
    record(&scratch, Path::new("/bin/sh"), &["-c", "kill -9 $$"])?.expect(128 + 9)?;
    report(&scratch)?;
    Ok(())
}

#[test]
fn input_passes_through() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut child = Command::new(holdup::binary()?)
        .args(["record", "--format", "json", "-o"])
        .arg(scratch.join("report.json"))
        .args(["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(b"to the program")?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", output.status);
    ensure!(
        output.stdout == b"to the program",
        "{:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// A program that is over before anything happened is a report with nothing in it, and no failure.
#[test]
fn a_program_that_exits_at_once() -> Result<()> {
    let scratch = Scratch::new()?;
    record(&scratch, &build("oneshot.c", Build::Plain)?, &["0", "0"])?.expect(0)?;
    let capture = report(&scratch)?;
    ensure!(capture.locks.is_empty(), "{:?}", capture.locks);
    Ok(())
}

/// Its children are watched too.
#[test]
fn children_belong_to_it() -> Result<()> {
    let scratch = Scratch::new()?;
    let finished = record(
        &scratch,
        &build("family.c", Build::Plain)?,
        &["30", "--no-handshake"],
    )?;
    let truth = Truth::find(&finished.expect(0)?.text())?;
    let capture = report(&scratch)?;
    ensure!(truth.locks.len() == 3, "the workload is wrong");
    for lock in &truth.locks {
        outcomes::check(&capture, lock.pid.context("no pid")?, lock)?;
    }
    capture.nothing_lost()
}

/// A script, which is no ELF: its interpreter and what it runs are watched.
#[test]
fn a_script() -> Result<()> {
    let scratch = Scratch::new()?;
    let script = scratch.join("script");
    let program = build("oneshot.c", Build::Plain)?;
    fs::write(
        &script,
        format!("#!/bin/sh\n'{0}' 5 0\n'{0}' 7 0\n", program.display()),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let finished = record(&scratch, &script, &[])?;
    let capture = report(&scratch)?;
    let mut waits = Vec::new();
    for line in finished.expect(0)?.text().lines() {
        let truth = Truth::find(line)?;
        for lock in &truth.locks {
            outcomes::check(&capture, lock.pid.context("no pid")?, lock)?;
            waits.push(lock.waits);
        }
    }
    ensure!(waits == [5, 7], "{waits:?}");
    Ok(())
}

/// Without `-o`, the report follows the program's output.
#[test]
fn report_on_standard_output() -> Result<()> {
    let program = build("oneshot.c", Build::Plain)?;
    let mut command = holdup::command(&["record", "--format", "json", "--"])?;
    let finished = holdup::finish(command.arg(program).args(["9", "0"]))?;
    let text = finished.expect(0)?.text();
    let (truth, json) = text.split_once('\n').context("one line only")?;
    let capture = Capture::parse(json)?;
    let truth = Truth::find(truth)?;
    let lock = truth.locks.first().context("no truth")?;
    outcomes::check(&capture, lock.pid.context("no pid")?, lock)
}
