//! What cannot be done is said in a sentence, with the exit status that the README lists.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{self, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    holdup::{self, Finished},
    report::{Capture, Probe},
    scratch::Scratch,
    toolchain::{Build, build},
    workload::Parked,
};

/// Exit status `code`, nothing on standard output, and a short message that mentions all of `mentions`.
fn says(finished: &Finished, code: i32, mentions: &[&str]) -> Result<()> {
    finished.expect(code)?;
    ensure!(
        finished.stdout.is_empty(),
        "standard output: {}",
        finished.text()
    );
    let lines = finished
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    ensure!(
        (1..=3).contains(&lines),
        "{lines} lines: {}",
        finished.stderr
    );
    for mention in mentions {
        ensure!(
            finished
                .stderr
                .to_lowercase()
                .contains(&mention.to_lowercase()),
            "no mention of {mention:?}: {}",
            finished.stderr
        );
    }
    for noise in ["panicked", "backtrace", "Os {", "Err(", "RUST_"] {
        ensure!(
            !finished.stderr.contains(noise),
            "{noise:?} in: {}",
            finished.stderr
        );
    }
    Ok(())
}

/// Id of a process that is gone.
fn gone() -> Result<String> {
    let mut child = Command::new("true").spawn()?;
    child.wait()?;
    Ok(child.id().to_string())
}

#[test]
fn no_such_process() -> Result<()> {
    let pid = gone()?;
    says(&holdup::run(&["record", "-p", &pid])?, 1, &[&pid])?;
    says(&holdup::run(&["snapshot", "-p", &pid])?, 1, &[&pid])
}

/// The id of a thread: the message tells the process.
#[test]
fn a_thread_is_no_process() -> Result<()> {
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "1"],
    )?;
    let parked: Parked = workload.go_to("parked")?;
    let tid = parked.waiters.first().context("nobody waits")?.to_string();
    says(
        &holdup::run(&["record", "-p", &tid])?,
        1,
        &[&tid, &workload.pid_text()],
    )
}

#[test]
fn a_kernel_thread() -> Result<()> {
    says(&holdup::run(&["record", "-p", "2"])?, 1, &["kernel"])
}

#[test]
fn no_process_of_that_name() -> Result<()> {
    says(
        &holdup::run(&["record", "--comm", "no-such-name"])?,
        1,
        &["no-such-name"],
    )
}

#[test]
fn no_such_cgroup() -> Result<()> {
    says(
        &holdup::run(&["record", "--cgroup", "/no/such/group"])?,
        1,
        &["/no/such/group"],
    )
}

#[test]
fn no_such_program() -> Result<()> {
    says(
        &holdup::run(&["record", "--", "/no/such/program"])?,
        1,
        &["/no/such/program"],
    )
}

/// A file that may be executed but is no program of any kind.
#[test]
fn not_a_program() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.join("garbage");
    fs::write(&path, [0x7f, b'E', b'L', b'F', 0xff, 0xff, 0xff, 0xff])?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let text = path.to_string_lossy();
    says(&holdup::run(&["record", "--", &text])?, 1, &["garbage"])
}

/// Said before an hour is recorded in vain.
#[test]
fn output_that_cannot_be_written() -> Result<()> {
    let workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["1", "1"])?;
    let pid = workload.pid_text();
    let scratch = Scratch::new()?;
    let directory = scratch.path().to_string_lossy().into_owned();
    for path in ["/no/such/directory/report.json", &directory] {
        let finished = holdup::run(&["record", "-p", &pid, "-d", "1h", "-o", path])?;
        says(&finished, 1, &[path])?;
    }
    Ok(())
}

#[test]
fn command_lines_that_make_no_sense() -> Result<()> {
    for arguments in [
        &["record"][..],
        &["record", "-p", "1", "--all"],
        &["record", "-p", "one"],
        &["record", "-p", "0"],
        &["record", "--all", "-d", "soon"],
        &["record", "--all", "-d", "0s"],
        &["record", "--all", "--format", "parchment"],
        &["record", "--all", "--no-such-option"],
        &["record", "--all", "--max-locks", "0"],
        &["snapshot"],
        &["no-such-command"],
        &[],
    ] {
        let finished = holdup::run(arguments)?;
        finished
            .expect(2)
            .with_context(|| format!("{arguments:?}"))?;
        ensure!(
            finished.stdout.is_empty(),
            "{arguments:?}: {}",
            finished.text()
        );
        ensure!(!finished.stderr.is_empty(), "{arguments:?}: says nothing");
    }
    Ok(())
}

/// A copy of the binary that everybody can reach, removed when dropped.
struct Reachable(PathBuf);

impl Reachable {
    fn new() -> Result<Self> {
        let dir = env::temp_dir().join(format!("holdup-test-{}", process::id()));
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        fs::copy(holdup::binary()?, dir.join("holdup"))?;
        Ok(Self(dir))
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Somebody without privileges is told so, by every command that needs them.
#[test]
fn no_privileges() -> Result<()> {
    let reachable = Reachable::new()?;
    let workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["1", "1"])?;
    let pid = workload.pid_text();
    for arguments in [
        ["record", "-d", "1s", "-p", &pid].as_slice(),
        &["record", "--all"],
        &["snapshot", "-p", &pid],
    ] {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=-all",
            ])
            .arg(reachable.0.join("holdup"))
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null());
        says(&holdup::finish(&mut command)?, 4, &[])?;
    }
    Ok(())
}

/// Runs holdup in a mount namespace of its own, after `preparation`.
fn in_namespace(preparation: &str, arguments: &[&str]) -> Result<Finished> {
    let script = format!("{preparation} && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .arg(holdup::binary()?)
        .args(arguments)
        .stdin(Stdio::null());
    holdup::finish(&mut command)
}

/// tracefs is not mounted: holdup mounts it for itself, or tells how.
#[test]
fn no_tracefs() -> Result<()> {
    let workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["1", "1"])?;
    let unmount = "{ umount -R /sys/kernel/debug; umount /sys/kernel/tracing; } 2>/dev/null; true";
    let finished = in_namespace(
        unmount,
        &[
            "record",
            "-p",
            &workload.pid_text(),
            "-d",
            "1s",
            "--format",
            "json",
        ],
    )?;
    if finished.status.code() == Some(4) {
        return says(&finished, 4, &["tracefs", "mount"]);
    }
    Capture::parse(&finished.expect(0)?.text())?;
    Ok(())
}

/// The kernel's types are hidden: holdup does without them, or says that it cannot.
#[test]
fn no_btf() -> Result<()> {
    let workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["1", "1"])?;
    let hide = "mount --bind /dev/null /sys/kernel/btf/vmlinux";
    let finished = in_namespace(
        hide,
        &[
            "record",
            "-p",
            &workload.pid_text(),
            "-d",
            "1s",
            "--format",
            "json",
        ],
    )?;
    if finished.status.code() == Some(4) {
        return says(&finished, 4, &["BTF"]);
    }
    let capture = Capture::parse(&finished.expect(0)?.text())?;
    let told = |probe: &Probe| probe.status == "unavailable" && probe.reason.contains("BTF");
    ensure!(capture.plan.iter().any(told), "{:?}", capture.plan);
    Ok(())
}
