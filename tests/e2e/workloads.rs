//! The workloads themselves, without holdup: when one of these fails, what the others say means nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    toolchain::{self, Build, build, debug_file},
    workload::{Parked, Released, Truth},
};

const ALL_C: &[Build] = &[
    Build::Plain,
    Build::FramePointers,
    Build::DebugLink,
    Build::Stripped,
    Build::FixedAddress,
    Build::Musl,
    Build::StaticPie,
];

fn parks_and_releases(program: &Path, mode: &str, waiters: &str) -> Result<()> {
    let mut workload = Workload::start(program, &[mode, waiters])?;
    let parked: Parked = workload.go_to("parked")?;
    let released: Released = workload.go_to("truth")?;
    ensure!(parked.waiters.len().to_string() == waiters, "{parked:?}");
    ensure!(
        released.woken.to_string() == waiters && released.timed_out == 0,
        "{released:?}"
    );
    workload.finish()
}

#[test]
fn c_in_every_build() -> Result<()> {
    for variant in ALL_C {
        let program = build("primitives.c", *variant)?;
        for mode in [
            "mutex_normal",
            "read_behind_writer",
            "cond",
            "barrier",
            "once",
        ] {
            parks_and_releases(&program, mode, "3")
                .with_context(|| format!("{variant:?} {mode}"))?;
        }
    }
    Ok(())
}

#[test]
fn cpp_and_rust() -> Result<()> {
    for variant in [Build::Plain, Build::FramePointers, Build::DebugLink] {
        parks_and_releases(&build("standard.cpp", variant)?, "shared_mutex_write", "3")?;
        parks_and_releases(&build("rust_std.rs", variant)?, "mutex", "3")?;
    }
    let parking_lot = PathBuf::from(env!("CARGO_BIN_EXE_holdup-test-parking-lot"));
    parks_and_releases(&parking_lot, "condvar", "3")
}

/// The separate debug file is where the names went, and nothing of them is left.
#[test]
fn stripped_means_stripped() -> Result<()> {
    for variant in [Build::DebugLink, Build::Stripped] {
        let program = build("primitives.c", variant)?;
        let names = |path: &Path| -> Result<bool> {
            let text = toolchain::run(
                std::process::Command::new("readelf")
                    .args(["-s", "-W"])
                    .arg(path),
            )?;
            Ok(text.contains("app_take_mutex"))
        };
        ensure!(!names(&program)?, "{variant:?} has names");
        ensure!(
            names(&debug_file(&program))?,
            "{variant:?}: its debug file has no names"
        );
    }
    Ok(())
}

/// The truth of the counting workloads adds up.
#[test]
fn truth_adds_up() -> Result<()> {
    for (source, arguments) in [
        ("futex_pingpong.c", &["10000"][..]),
        ("futex_storm.c", &["4", "2000"]),
        ("futex_ops.c", &["5"]),
        ("many_locks.c", &["100", "2"]),
        ("churn.c", &["1000", "2"]),
        ("family.c", &["5"]),
    ] {
        let mut workload = Workload::start(&build(source, Build::Plain)?, arguments)?;
        let truth: Truth = workload.go_to("truth").context(source)?;
        for lock in &truth.locks {
            ensure!(lock.waits == lock.outcomes.sum(), "{source}: {lock:?}");
        }
        ensure!(truth.waits() > 0, "{source}: nothing happened");
        workload.finish().context(source)?;
    }
    Ok(())
}
