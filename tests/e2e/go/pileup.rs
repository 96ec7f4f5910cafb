//! Readers and writers that pile up behind one mutex whose holder reads from a silent peer.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Go, Variant},
    holdup,
    report::Node,
    scratch::Scratch,
};

use super::{Parked, Scene};

const READERS: &str = "main.(*hostCache).cacheMutexRLock";
const WRITERS: &str = "main.(*hostCache).cacheMutexLock";
const HOLDER: &str = "main.(*hostCache).RefreshFromBackend";

/// Counts, stacks, locks and the holder with what it waits for, against the program's own truth.
fn check(scene: &Scene<Parked>, readers: u64, writers: u64) -> Result<()> {
    let process = scene.exact(scene.truth.goroutines)?;
    ensure!(process.calling(READERS) == readers, "readers: {process:#?}");
    ensure!(process.calling(WRITERS) == writers, "writers: {process:#?}");
    let mutex = scene.truth.mutex()?;
    let pid = scene.workload.pid();
    for (function, outer, kind, count) in [
        (
            READERS,
            "main.(*hostCache).GetHostCount",
            "rwlock_read",
            readers,
        ),
        (
            WRITERS,
            "main.(*hostCache).AgentAdmissionRequest",
            "rwlock_write",
            writers,
        ),
    ] {
        let group = process.group(function)?;
        ensure!(group.lock == Some(mutex), "{group:?}");
        ensure!(group.kind.as_deref() == Some(kind), "{group:?}");
        ensure!(group.calls(outer), "{group:?}");
        ensure!(
            group.created_by.as_deref() == Some("main.main"),
            "{group:?}"
        );
        let line = group
            .frames
            .iter()
            .find(|frame| frame.function.as_deref() == Some(function));
        let line = line.context("the function is there")?;
        ensure!(
            line.file
                .as_deref()
                .is_some_and(|file| file.ends_with("pileup.go"))
                && line.line.is_some_and(|line| (20..28).contains(&line)),
            "{line:?}"
        );
        let lock = scene.snapshot.lock(pid, mutex, kind)?;
        ensure!(lock.waiters == count, "{lock:?}");
        ensure!(lock.runtime.as_deref() == Some("go"), "{lock:?}");
        let holder = lock.holder.as_ref().context("no holder")?;
        ensure!(
            holder.comm == HOLDER && holder.confidence == "inferred",
            "{holder:?}"
        );
        ensure!(
            holder.goid == Some(process.group(HOLDER)?.goids[0]),
            "{holder:?}"
        );
        let explanation = lock.explanation.as_ref().context("no explanation")?;
        explanation.says(&[
            &format!("{} goroutines wait", holdup_count(count)),
            "held by goroutine",
            "waits in IO wait to read from fd",
            &format!("TCP to {}", scene.truth.peer),
            "nothing received",
        ])?;
        ensure!(
            matches!(&explanation.root, Node::Endpoint { name } if name.ends_with(&scene.truth.peer)),
            "{explanation:?}"
        );
        // The holder waits for its peer too.
        ensure!(
            explanation.waiters_total == readers + writers + 1,
            "{explanation:?}"
        );
    }
    Ok(())
}

/// As the product writes numbers: `1,000`.
fn holdup_count(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}

fn pile(program: &Path, readers: u64, writers: u64) -> Result<Scene<Parked>> {
    Scene::of(program, &[&readers.to_string(), &writers.to_string()])
}

fn checked(release: &Go, variant: Variant, readers: u64, writers: u64) -> Result<()> {
    let scene = pile(&release.build("pileup", variant)?, readers, writers)?;
    check(&scene, readers, writers).with_context(|| format!("{release:?} {variant:?}"))?;
    let process = scene.process()?;
    ensure!(process.version == format!("go{}", release.version) || release.minor() == 19);
    ensure!(process.layout == "table", "{}", process.layout);
    scene.finish()
}

/// Every release, with symbols and without, position-independent and linked with C.
#[test]
fn ten() -> Result<()> {
    for release in go::releases()? {
        for variant in [Variant::Plain, Variant::Stripped] {
            checked(&release, variant, 7, 3)?;
        }
    }
    for release in go::spread()? {
        for variant in [Variant::Pie, Variant::Cgo] {
            checked(&release, variant, 7, 3)?;
        }
    }
    Ok(())
}

#[test]
fn a_thousand() -> Result<()> {
    for release in go::spread()? {
        checked(&release, Variant::Stripped, 700, 300)?;
    }
    Ok(())
}

/// The real outage's size: 142,499 readers and 47,501 writers.
#[test]
fn a_hundred_and_ninety_thousand() -> Result<()> {
    checked(&go::newest()?, Variant::Stripped, 142_499, 47_501)
}

/// A process without section headers, as packers leave them: everything is found by its form.
#[test]
fn without_section_headers() -> Result<()> {
    let scratch = Scratch::new()?;
    for release in go::spread()? {
        let mut bytes = fs::read(release.build("pileup", Variant::Stripped)?)?;
        // `e_shoff`, `e_shnum` and `e_shstrndx`.
        for range in [0x28..0x30, 0x3c..0x40] {
            bytes[range].fill(0);
        }
        let program = program(&scratch, "headless", &bytes)?;
        let scene = pile(&program, 7, 3)?;
        check(&scene, 7, 3).with_context(|| format!("{release:?}"))?;
        scene.finish()?;
    }
    Ok(())
}

/// Releases that are not in our table: their own DWARF says how to read them; else the layout of the newest release does
/// if it fits; else they are refused by name, and nothing is said of them that may be wrong.
#[test]
fn unknown_releases() -> Result<()> {
    let scratch = Scratch::new()?;
    let newest = go::newest()?.minor();
    for release in go::spread()? {
        for variant in [Variant::Plain, Variant::Stripped] {
            let (bytes, unknown) = renamed(&release, variant)?;
            let program = program(&scratch, "unknown", &bytes)?;
            let scene = pile(&program, 7, 3)?;
            let [process] = scene.snapshot.go.as_slice() else {
                anyhow::bail!("{} Go processes", scene.snapshot.go.len());
            };
            ensure!(process.version.starts_with(&unknown), "{}", process.version);
            let layout = match variant {
                Variant::Plain => "dwarf".to_owned(),
                _ if release.minor() == newest => format!("go1.{newest}"),
                _ => String::new(),
            };
            ensure!(
                process.layout == layout,
                "{unknown} {variant:?}: {process:?}"
            );
            if layout.is_empty() {
                let error = process.error.as_deref().context("no error")?;
                ensure!(
                    error.contains(&unknown) && error.contains("not supported"),
                    "{error}"
                );
                ensure!(process.groups.is_empty(), "{process:?}");
            } else {
                check(&scene, 7, 3).with_context(|| format!("{unknown} {variant:?}"))?;
            }
            scene.finish()?;
        }
    }
    Ok(())
}

/// A workload that says to be of a release that does not exist yet, and of which.
fn renamed(release: &Go, variant: Variant) -> Result<(Vec<u8>, String)> {
    let mut bytes = fs::read(release.build("pileup", variant)?)?;
    let known = format!("go1.{}", release.minor());
    let unknown = format!("go1.{}", release.minor() + 40);
    let info = find(&bytes, b"\xff Go buildinf:").context("no build information")?;
    let at = info + find(&bytes[info..], known.as_bytes()).context("no version")?;
    bytes[at..at + known.len()].copy_from_slice(unknown.as_bytes());
    Ok((bytes, unknown))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn program(scratch: &Scratch, name: &str, bytes: &[u8]) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = scratch.path().join(name);
    // A program that runs cannot be overwritten.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The goroutine profile says what Go's own says, as `go tool pprof -traces` shows them.
#[test]
fn the_profile_is_that_of_go_itself() -> Result<()> {
    let scratch = Scratch::new()?;
    for release in go::spread()? {
        let own = scratch.path().join("own.pb.gz").display().to_string();
        let ours = scratch.path().join("ours.pb.gz").display().to_string();
        let program = release.build("pileup", Variant::Stripped)?;
        let mut workload = Workload::start(&program, &["70", "30", &own])?;
        let _: Parked = workload.go_to("parked")?;
        let pid = workload.pid_text();
        holdup::run(&["snapshot", "-p", &pid, "--format", "pprof", "-o", &ours])?.expect(0)?;
        let traces = |profile: &str| {
            release.traces(profile, "goroutine", |stack| {
                stack.iter().any(|name| name.contains("(*hostCache)"))
            })
        };
        let (own, ours) = (traces(&own)?, traces(&ours)?);
        ensure!(own == ours, "{release:?}: Go {own:#?}\nholdup {ours:#?}");
        ensure!(own.values().sum::<u64>() == 101, "{own:#?}");
        workload.finish()?;
    }
    Ok(())
}
