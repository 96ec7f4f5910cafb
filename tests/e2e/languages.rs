//! The locks of C++, of Rust's standard library and of parking_lot.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    report::Lock,
    toolchain::{Build, build},
};

use crate::primitives::{Demands, observe};

const CPP_MODES: &[&str] = &[
    "mutex",
    "recursive_mutex",
    "timed_mutex",
    "shared_mutex_read",
    "shared_mutex_write",
    "condition_variable",
];

/// With the number of waiters: some can have but one.
const RUST_MODES: &[(&str, &str)] = &[
    ("mutex", "3"),
    ("read", "3"),
    ("write", "3"),
    ("condvar", "3"),
    ("once", "3"),
    ("mpsc", "1"),
    ("park", "1"),
];

fn all<'a>(
    program: &Path,
    modes: impl IntoIterator<Item = (&'a str, &'a str)>,
    holder: bool,
) -> Result<()> {
    let mut wrong = Vec::new();
    for (mode, waiters) in modes {
        let checked = observe(program, &[mode, waiters]).and_then(|observed| {
            observed.check(Demands {
                holder,
                function: true,
            })
        });
        wrong.extend(checked.err().map(|error| format!("{mode}: {error:#}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn cpp(variant: Build) -> Result<()> {
    all(
        &build("standard.cpp", variant)?,
        CPP_MODES.iter().map(|mode| (*mode, "3")),
        true,
    )
}

#[test]
fn cpp_without_frame_pointers() -> Result<()> {
    cpp(Build::Plain)
}

#[test]
fn cpp_with_frame_pointers() -> Result<()> {
    cpp(Build::FramePointers)
}

#[test]
fn cpp_with_a_debug_file() -> Result<()> {
    cpp(Build::DebugLink)
}

#[test]
fn rust_std_without_frame_pointers() -> Result<()> {
    all(
        &build("rust_std.rs", Build::Plain)?,
        RUST_MODES.iter().copied(),
        false,
    )
}

#[test]
fn rust_std_with_frame_pointers() -> Result<()> {
    all(
        &build("rust_std.rs", Build::FramePointers)?,
        RUST_MODES.iter().copied(),
        false,
    )
}

#[test]
fn rust_std_with_a_debug_file() -> Result<()> {
    all(
        &build("rust_std.rs", Build::DebugLink)?,
        RUST_MODES.iter().copied(),
        false,
    )
}

/// Rust's locks store no holder, so a report names none: no guess.
#[test]
fn rust_std_has_no_holder() -> Result<()> {
    let observed = observe(&build("rust_std.rs", Build::Plain)?, &["mutex", "2"])?;
    let lock = observed
        .snapshot
        .lock(observed.pid, observed.parked.address, "mutex")?;
    ensure!(lock.holder.is_none(), "{:?}", lock.holder);
    Ok(())
}

/// A futex of parking_lot belongs to a thread, and several of them to one lock: what is demanded is the kind, the
/// function and the number of waits, whatever they are summed under.
#[test]
fn parking_lot() -> Result<()> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_holdup-test-parking-lot"));
    let mut wrong = Vec::new();
    for mode in ["mutex", "read", "write", "condvar"] {
        wrong.extend(
            parking_lot_mode(&program, mode)
                .err()
                .map(|error| format!("{mode}: {error:#}")),
        );
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn parking_lot_mode(program: &Path, mode: &str) -> Result<()> {
    let observed = observe(program, &[mode, "3"])?;
    let parked = &observed.parked;
    let theirs = |lock: &&Lock| {
        lock.pid == observed.pid && lock.kind == parked.kind && lock.names(&parked.function)
    };
    let waiting: u64 = observed
        .snapshot
        .locks
        .iter()
        .filter(theirs)
        .map(|lock| lock.waiters)
        .sum();
    ensure!(
        waiting == 3,
        "{waiting} wait for a {} in {}",
        parked.kind,
        parked.function
    );
    let waits: u64 = observed
        .capture
        .locks
        .iter()
        .filter(theirs)
        .map(|lock| lock.outcomes.woken)
        .sum();
    // Whoever is released first may meet the others at the lock and park again.
    ensure!(
        waits >= 3,
        "{waits} waits for a {} in {}",
        parked.kind,
        parked.function
    );
    let ghosts: u64 = observed.capture.locks.iter().map(|lock| lock.waiters).sum();
    ensure!(ghosts == 0, "{ghosts} ghost waiters");
    observed.capture.nothing_lost().context("loss")
}
