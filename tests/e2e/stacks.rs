//! The application's function is named, however its binary was built and wherever it lies.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::{Frame, Lock},
    scratch::Scratch,
    toolchain::{self, Build, build, debug_file},
    workload::Parked,
};

use crate::primitives::{Demands, observe};

/// One of each family of lock.
const MODES: &[&str] = &[
    "mutex_normal",
    "read_behind_writer",
    "write_behind_writer",
    "cond",
    "semaphore",
    "barrier",
    "once",
    "join",
];

fn every_family(program: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for mode in MODES {
        let waiters = if *mode == "join" { "1" } else { "2" };
        let checked = observe(program, &[mode, waiters]).and_then(|observed| {
            observed.check(Demands {
                holder: true,
                function: true,
            })
        });
        wrong.extend(checked.err().map(|error| format!("{mode}: {error:#}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn with_frame_pointers() -> Result<()> {
    every_family(&build("primitives.c", Build::FramePointers)?)
}

#[test]
fn without_frame_pointers() -> Result<()> {
    every_family(&build("primitives.c", Build::Plain)?)
}

#[test]
fn stripped_with_a_debug_link() -> Result<()> {
    every_family(&build("primitives.c", Build::DebugLink)?)
}

#[test]
fn at_a_fixed_address() -> Result<()> {
    every_family(&build("primitives.c", Build::FixedAddress)?)
}

#[test]
fn static_glibc() -> Result<()> {
    every_family(&build("primitives.c", Build::StaticPie)?)
}

/// A file below `/usr/lib/debug/.build-id`, removed when dropped.
struct Installed(PathBuf);

impl Installed {
    fn new(program: &Path) -> Result<Self> {
        let id = toolchain::build_id(program)?;
        let (start, rest) = id.split_at_checked(2).context("a build id is longer")?;
        let dir = Path::new("/usr/lib/debug/.build-id").join(start);
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{rest}.debug"));
        fs::copy(debug_file(program), &path)?;
        Ok(Self(path))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn stripped_with_a_debug_file_by_build_id() -> Result<()> {
    let program = build("primitives.c", Build::Stripped)?;
    // Beside the program, the debug file could be found by its name.
    let scratch = Scratch::new()?;
    let moved = scratch.join("stripped");
    fs::copy(&program, &moved)?;
    let _installed = Installed::new(&program)?;
    every_family(&moved)
}

/// Without any symbols no name is made up, and the frames still point into the program.
#[test]
fn stripped_without_a_debug_file() -> Result<()> {
    let scratch = Scratch::new()?;
    let program = scratch.join("bare");
    fs::copy(build("primitives.c", Build::Stripped)?, &program)?;
    // Whoever else tests this program may have its debug file installed just now: change the build id.
    toolchain::run(
        Command::new("objcopy")
            .args(["--remove-section", ".note.gnu.build-id"])
            .arg(&program),
    )?;
    let observed = observe(&program, &["mutex_normal", "2"])?;
    observed.check(Demands {
        holder: true,
        function: false,
    })?;
    let lock = observed
        .capture
        .lock(observed.pid, observed.parked.address, "mutex")?;
    let own = frames(lock).find(|frame| is_from(frame, &program));
    let own = own.with_context(|| format!("no frame in the program:{}", lock.stacks()))?;
    ensure!(own.function.is_none(), "a made-up name: {own:?}");
    ensure!(own.offset > 0, "{own:?}");
    Ok(())
}

/// With debug information a frame has its file and line.
#[test]
fn source_lines() -> Result<()> {
    for variant in [Build::Plain, Build::FramePointers, Build::DebugLink] {
        let observed = observe(&build("primitives.c", variant)?, &["mutex_normal", "2"])?;
        let lock = observed
            .capture
            .lock(observed.pid, observed.parked.address, "mutex")?;
        let frame = frames(lock).find(|frame| frame.function.as_deref() == Some("app_take_mutex"));
        let frame = frame.with_context(|| format!("{variant:?}:{}", lock.stacks()))?;
        let file = frame.file.as_deref().unwrap_or_default();
        ensure!(file.ends_with("primitives.c"), "{variant:?}: {frame:?}");
        let source = fs::read_to_string(toolchain::sources().join("primitives.c"))?;
        let line = usize::try_from(frame.line.unwrap_or(0))?.checked_sub(1);
        let line = line
            .and_then(|line| source.lines().nth(line))
            .unwrap_or_default();
        ensure!(
            line.contains("app_take_mutex"),
            "{variant:?}: line {:?} is {line:?}",
            frame.line
        );
    }
    Ok(())
}

/// The whole path from the lock to the start of the thread, in order.
#[test]
fn stacks_are_complete() -> Result<()> {
    for variant in [Build::Plain, Build::FramePointers] {
        let observed = observe(&build("primitives.c", variant)?, &["mutex_normal", "2"])?;
        let lock = observed
            .capture
            .lock(observed.pid, observed.parked.address, "mutex")?;
        let functions: Vec<&str> = frames(lock)
            .filter_map(|frame| frame.function.as_deref())
            .collect();
        let place = |wanted: &str| functions.iter().position(|name| *name == wanted);
        let (take, thread) = (place("app_take_mutex"), place("waiter"));
        ensure!(
            take.is_some() && thread.is_some() && take < thread,
            "{variant:?}: app_take_mutex, called by waiter, is not in{}",
            lock.stacks()
        );
        ensure!(
            frames(lock).all(|frame| !frame.guessed),
            "{variant:?}: guessed, although there are unwind tables:{}",
            lock.stacks()
        );
    }
    Ok(())
}

/// A mount namespace of its own, as a container has: the path of the program leads elsewhere for us, to a program that
/// would give wrong names.
#[test]
fn in_a_mount_namespace_with_a_decoy() -> Result<()> {
    let scratch = Scratch::new()?;
    let (program, decoy) = (
        build("primitives.c", Build::DebugLink)?,
        build("standard.cpp", Build::Plain)?,
    );
    let inside = scratch.join("app");
    fs::create_dir(&inside)?;
    let path = inside.join(program.file_name().context("no name")?);
    fs::copy(decoy, &path)?;
    // `$1` directory, `$2` program, `$3` its debug file: copied to where only the namespace sees them.
    let script = "mount -t tmpfs none \"$1\" && cp \"$2\" \"$3\" \"$1\" && cd / && exec \"$1/${2##*/}\" mutex_normal 3";
    let mut wrapper = Command::new("unshare");
    wrapper
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(&inside)
        .arg(&program)
        .arg(debug_file(&program));
    named_in_namespace(&mut wrapper, &path)
}

/// A root directory of its own, with nothing in it but a static program.
#[test]
fn in_a_chroot() -> Result<()> {
    let scratch = Scratch::new()?;
    fs::create_dir(scratch.join("proc"))?;
    fs::copy(build("primitives.c", Build::Musl)?, scratch.join("app"))?;
    let script = "mount -t proc none \"$1/proc\" && exec chroot \"$1\" /app mutex_normal 3";
    let mut wrapper = Command::new("unshare");
    wrapper
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(scratch.path());
    named_in_namespace(&mut wrapper, Path::new("/app"))
}

fn named_in_namespace(wrapper: &mut Command, inside: &Path) -> Result<()> {
    let mut workload = Workload::spawn(wrapper)?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let parked: Parked = workload.go_to("parked")?;
    let snapshot = holdup::snapshot(pid)?;
    let _: serde_json::Value = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let now = snapshot.lock(pid, parked.address, "mutex")?;
    let lock = capture.lock(pid, parked.address, "mutex")?;
    for (what, lock) in [("snapshot", now), ("capture", lock)] {
        ensure!(
            lock.names(&parked.function),
            "{what}: no {} in{}",
            parked.function,
            lock.stacks()
        );
        ensure!(
            frames(lock).any(|frame| is_from(frame, inside)),
            "{what}: no frame of {} in{}",
            inside.display(),
            lock.stacks()
        );
    }
    let process = capture.processes.iter().find(|process| process.pid == pid);
    let exe = process.and_then(|process| process.exe.as_deref());
    ensure!(exe == inside.to_str(), "exe {exe:?}");
    workload.finish()
}

/// The program was deleted after it started.
#[test]
fn of_a_deleted_program() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.join("deleted");
    fs::copy(build("primitives.c", Build::Plain)?, &path)?;
    moved_away(&path, |path| Ok(fs::remove_file(path)?))
}

/// The program was replaced by another after it started, as an upgrade does.
#[test]
fn of_a_replaced_program() -> Result<()> {
    let scratch = Scratch::new()?;
    let (path, other) = (scratch.join("replaced"), scratch.join("other"));
    fs::copy(build("primitives.c", Build::Plain)?, &path)?;
    fs::copy(build("standard.cpp", Build::Plain)?, &other)?;
    moved_away(&path, |path| Ok(fs::rename(&other, path)?))
}

fn moved_away(path: &Path, change: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut workload = Workload::start(path, &["mutex_normal", "3"])?;
    change(path)?;
    let recording = Recording::of(workload.pid())?;
    let parked: Parked = workload.go_to("parked")?;
    let _: serde_json::Value = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let lock = capture.lock(workload.pid(), parked.address, "mutex")?;
    ensure!(
        lock.names(&parked.function),
        "no {} in{}",
        parked.function,
        lock.stacks()
    );
    workload.finish()
}

fn frames(lock: &Lock) -> impl Iterator<Item = &Frame> {
    lock.sites.iter().flat_map(|site| &site.frames)
}

fn is_from(frame: &Frame, program: &Path) -> bool {
    frame.module.as_deref().map(Path::new) == Some(program)
}
