//! Rust's standard library and `parking_lot`, in both manglings, with symbols and without.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    report::parse_address,
    scratch,
    toolchain::{self, Build, build},
};
use serde::Deserialize;

use super::{TOLD, check, count, file_name, plan, recording};

/// The standard library of today's compilers has names in the newer mangling.
#[test]
fn std_waits_are_counted_by_lock() -> Result<()> {
    let program = build("slow_std.rs", Build::Plain)?;
    for options in [&[][..], &["--no-stacks"]] {
        let (pid, counted, capture) = count(&program, &[], options)?;
        check(pid, &counted, &capture, "rust-std")?;
        let row = plan(&capture, file_name(&program)?)?;
        ensure!(row.status == "attached", "{row:?}");
        ensure!(row.reason.contains("Mutex::lock_contended"), "{row:?}");
        ensure!(row.reason.contains(" on emulated instructions"), "{row:?}");
    }
    Ok(())
}

/// Nothing to attach to: the plan says so, and the report is that of a recording without the probes.
#[test]
fn stripped_programs_are_guessed_as_before() -> Result<()> {
    let program = build("slow_std.rs", Build::Stripped)?;
    let (pid, counted, capture) = count(&program, &[], &["--no-stacks"])?;
    let row = plan(&capture, file_name(&program)?)?;
    ensure!(row.status == "skipped", "{row:?}");
    let total: u64 = counted.locks.iter().map(|lock| lock.waits).sum();
    ensure!(capture.waits_of(pid) == total, "counted {total}");
    let told = capture
        .locks
        .iter()
        .find(|lock| lock.evidence.starts_with(TOLD));
    ensure!(told.is_none(), "{told:?}");
    Ok(())
}

fn parking_lot(program: &Path, options: &[&str]) -> Result<()> {
    let (pid, counted, capture) = count(program, &[], options)?;
    check(pid, &counted, &capture, "parking_lot")?;
    for lock in &counted.locks {
        let found = capture.lock(pid, lock.address, &lock.kind)?;
        // Each waiter is woken by a call of its own, on its own word.
        ensure!(
            found.wakes == lock.waits,
            "{} wakes of {lock:?}",
            found.wakes
        );
        // Who is woken does not always wake when it lets go, so that nothing can be said of holds.
        ensure!(found.holds.as_ref().is_none_or(|holds| holds.measured == 0));
        ensure!(found.waiters == 0, "{} ghosts", found.waiters);
    }
    Ok(())
}

#[test]
fn parking_lot_waits_are_counted_by_lock() -> Result<()> {
    let program = scratch::profile_dir()?.join("holdup-test-slow-parking-lot");
    parking_lot(&program, &[])?;
    parking_lot(&program, &["--no-stacks"])
}

/// The same program in the mangling that compilers do not use by default yet, with the same versions of everything.
fn newer_mangling() -> Result<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = scratch::build_dir()?.join("slow-parking-lot");
    fs::create_dir_all(&package)?;
    let source = toolchain::sources().join("slow_parking_lot.rs");
    let manifest = format!(
        "[workspace]\n[package]\nname = \"v0\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nparking_lot = \"0.12\"\n[[bin]]\nname = \"v0\"\npath = {source:?}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    fs::copy(tests.join("../Cargo.lock"), package.join("Cargo.lock"))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--offline", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package.join("target"))
        .env("RUSTFLAGS", "-Csymbol-mangling-version=v0");
    toolchain::run(&mut cargo)?;
    Ok(package.join("target/debug/v0"))
}

#[test]
fn parking_lot_in_the_newer_mangling() -> Result<()> {
    parking_lot(&newer_mangling()?, &["--no-stacks"])
}

/// Where statistics are kept by lock, whoever was given it last and has not passed it on is known from them; a snapshot that
/// is taken meanwhile has no probes and finds the lock as before.
#[test]
fn parking_lot_holders_are_known_as_before() -> Result<()> {
    let program = scratch::profile_dir()?.join("holdup-test-holders");
    let mut workload = Workload::start(&program, &["handed_on_parking_lot"])?;
    let pid = workload.pid();
    let recording = recording(&workload, &[])?;
    let truth: HeldUp = workload.go_to("held_up")?;
    let capture = recording.stop()?;
    let lock = capture.lock(pid, parse_address(&truth.address)?, "mutex")?;
    ensure!(lock.evidence.starts_with(TOLD), "{lock:?}");
    ensure!(
        lock.waiters == truth.waiters.len() as u64,
        "{lock:?}, {truth:?}"
    );
    let holder = lock.holder.as_ref().context("no holder")?;
    ensure!(
        holder.tid == truth.holder && holder.confidence == "observed",
        "{holder:?}, {truth:?}"
    );
    workload.kill()
}

#[derive(Debug, Deserialize)]
struct HeldUp {
    address: String,
    holder: u32,
    waiters: Vec<u32>,
}
