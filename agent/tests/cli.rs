//! The program as its users run it: exit status, standard output and standard error.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn holdup() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdup"));
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Exit status, standard output, standard error.
fn run(line: &str) -> (i32, String, String) {
    let arguments = line.split(' ').filter(|word| !word.is_empty());
    let Output {
        status,
        stdout,
        stderr,
    } = holdup().args(arguments).output().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8(stderr).unwrap(),
    )
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn help_and_version_succeed() {
    let (status, stdout, stderr) = run("--help");
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert_eq!(stdout, std::fs::read_to_string(golden("help.txt")).unwrap());
    let (status, stdout, _) = run("--version");
    assert_eq!(
        (status, stdout),
        (0, format!("holdup {}\n", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(run("record -h").0, 0);
}

#[test]
fn usage_errors_are_2_and_say_what_to_pass() {
    for (line, text) in [
        ("", "Usage: holdup <COMMAND>"),
        ("record", "  hint: pass one of -p PID, --comm NAME,"),
        (
            "record -p 1 --all",
            "holdup: -p and --all cannot be combined\n",
        ),
        (
            "record --all -d 0s",
            "holdup: --duration 0s: out of range\n",
        ),
        (
            "record --all -d soon",
            "invalid value 'soon' for '--duration <TIME>'",
        ),
        ("record --all --bogus", "unexpected argument '--bogus'"),
        (
            "show x --format yaml",
            "[possible values: table, json, pprof, folded, svg, html, dot, text]",
        ),
    ] {
        let (status, stdout, stderr) = run(line);
        assert_eq!((status, stdout.as_str()), (2, ""), "{line}: {stderr}");
        assert!(stderr.contains(text), "{line}: {stderr}");
    }
}

#[test]
fn saved_reports_are_shown_in_every_format() {
    for (document, table) in [
        ("capture.json", "capture.txt"),
        ("snapshot.json", "snapshot.txt"),
        ("bundle.json", "bundle.txt"),
    ] {
        let file = golden(document);
        let shown = |format: &str| {
            let output = holdup()
                .arg("show")
                .arg(&file)
                .args(["--format", format])
                .output()
                .unwrap();
            assert!(output.status.success(), "{format}");
            assert!(output.stderr.is_empty());
            output.stdout
        };
        assert_eq!(shown("table"), std::fs::read(golden(table)).unwrap());
        assert_eq!(shown("json"), std::fs::read(&file).unwrap());
        assert_eq!(shown("pprof")[..2], [0x1f, 0x8b]);
        // The stacks of a bundle are those of its snapshot.
        let folded = golden(
            &table
                .replace(".txt", ".folded")
                .replace("bundle", "snapshot"),
        );
        assert_eq!(shown("folded"), std::fs::read(folded).unwrap());
        assert!(shown("svg").starts_with(b"<?xml"));
        assert!(shown("html").starts_with(b"<!DOCTYPE html>"));
        assert!(shown("dot").starts_with(b"digraph holdup {"));
    }
}

#[test]
fn comparing_finds_what_it_was_asked_for() {
    let (before, after) = (golden("snapshot.json"), golden("capture.json"));
    let diff = |more: &str| {
        let (before, after) = (before.display(), after.display());
        run(&format!("diff {before} {after} {more}"))
    };
    // Three threads waited at one moment, and 22 on average while it was recorded.
    let (status, stdout, stderr) = diff("");
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("holdup diff: snapshot of "), "{stdout}");
    assert!(
        stdout.contains("\nworse   mutex        pool_lock "),
        "{stdout}"
    );
    assert_eq!(diff("--fail-on worse:10").0, 3);
    let (status, stdout, _) = diff("--fail-on worse:10 --format json");
    assert_eq!(status, 3);
    assert!(
        stdout.contains("\"schema\": \"holdup.diff/v1\""),
        "{stdout}"
    );
    let (status, _, stderr) = diff("--fail-on better:10");
    assert_eq!(status, 2);
    assert!(stderr.contains("not worse:PERCENT"), "{stderr}");
    let same = run(&format!("diff {0} {0} --fail-on worse:0", after.display()));
    assert_eq!(same.0, 0, "{}", same.1);
    let (status, _, stderr) = run(&format!("diff {} /nonexistent", after.display()));
    assert_eq!(status, 1);
    assert!(
        stderr.starts_with("holdup: cannot read /nonexistent: "),
        "{stderr}"
    );
}

#[test]
fn what_is_no_report_fails_with_one_sentence() {
    let (status, _, stderr) = run("show /nonexistent");
    assert_eq!(status, 1);
    assert_eq!(
        stderr,
        "holdup: cannot read /nonexistent: No such file or directory (os error 2)\n"
    );
    let (status, _, stderr) = run(&format!("show {}", golden("help.txt").display()));
    assert_eq!(status, 1);
    assert!(stderr.contains("is not a holdup report: "), "{stderr}");
    assert!(stderr.contains("\n  hint: "), "{stderr}");
    let file = golden("capture.json");
    let (status, _, stderr) = run(&format!("show {} -o /nonexistent/x", file.display()));
    assert_eq!(status, 1);
    assert!(
        stderr.starts_with("holdup: cannot write /nonexistent/x: "),
        "{stderr}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // More than a pipe holds, so that the writer is still writing when the reader closes.
    let text = std::fs::read_to_string(golden("capture.json")).unwrap();
    let padded = text.replace("/system.slice/", &format!("/{}/", "x".repeat(500_000)));
    let file = std::env::temp_dir().join(format!("holdup-pipe-{}.json", std::process::id()));
    std::fs::write(&file, padded).unwrap();
    let mut child = holdup()
        .arg("show")
        .arg(&file)
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}
