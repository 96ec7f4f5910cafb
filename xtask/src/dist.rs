//! `cargo xtask dist`

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{paths, shell, ui};

/// What is built in one go. Cargo gives each dependency the features that all of them ask for, so that another choice
/// would build everything again.
pub const PACKAGES: &[&str] = &["xtask", "holdup"];

/// Put a statically linked holdup and what deploys it into `target/dist`, from where `podman build` makes the image
#[derive(clap::Args)]
pub struct Args {}

/// Builds and copies.
pub fn run(_: &Args) -> Result<()> {
    let binary = build(PACKAGES)?.join("holdup");
    let folder = paths::target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let sources = paths::root().join("agent/deploy");
    let mut files = vec![binary];
    for entry in fs::read_dir(&sources).with_context(|| sources.display().to_string())? {
        files.push(entry?.path());
    }
    for file in files {
        let name = file.file_name().unwrap_or_default();
        fs::copy(&file, folder.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    ui::line(format_args!(
        "{folder}: podman build --tag holdup {folder}",
        folder = folder.display()
    ));
    Ok(())
}

/// Builds `packages` linked statically, without debug information, and tells in which folder the programs are.
pub fn build(packages: &[&str]) -> Result<PathBuf> {
    // Named, although it is this machine's: else the flags for static linking would reach build scripts.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = paths::target().join("vm/build");
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--release", "--target", &target]);
    for package in packages {
        build.args(["--package", package]);
    }
    build
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_TARGET_DIR", &folder);
    shell::run(&mut build)?;
    Ok(folder.join(target).join("release"))
}
