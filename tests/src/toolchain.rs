//! Compiles workloads into the variants that stacks must be read from.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::scratch;

/// How a workload is built. All are optimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Build {
    /// Frame pointers omitted, which is the compilers' default, and with debug information.
    Plain,
    /// With frame pointers and debug information.
    FramePointers,
    /// Frame pointers omitted; symbols and debug information only in a second file that `.gnu_debuglink` names.
    DebugLink,
    /// Frame pointers omitted, no symbols at all: debug information only in the file that [`debug_file`] names, for the
    /// test to put where a build id leads.
    Stripped,
    /// As [`Self::Plain`], at a fixed address, so that static locks keep theirs over an exec.
    FixedAddress,
    /// C only: linked statically with musl, with debug information for the program but no unwind tables in the library.
    Musl,
    /// Linked statically with the system's C library, position-independent.
    StaticPie,
}

/// Which Debian package has a tool that building needs.
pub const PACKAGES: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("c++", "g++"),
    ("musl-gcc", "musl-tools"),
    ("objcopy", "binutils"),
    ("readelf", "binutils"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("chromium-headless-shell", "chromium-headless-shell"),
    ("podman", "podman"),
    ("promtool", "prometheus"),
    ("prometheus", "prometheus"),
    ("systemd-analyze", "systemd"),
    ("javac", "openjdk-17-jdk-headless"),
    ("xz", "xz-utils"),
];

/// Directory of the workloads' sources.
#[must_use]
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads")
}

/// Compiles `source` (`name.c`, `name.cpp` or `name.rs` in [`sources`]) and tells where the program is. What was
/// compiled before from the same text in the same way is used again.
///
/// # Errors
/// When a tool is missing, with the package that has it, or the source does not compile.
pub fn build(source: &str, build: Build) -> Result<PathBuf> {
    let path = sources().join(source);
    let (stem, extension) = source.rsplit_once('.').context("a source needs a suffix")?;
    let (tool, arguments) = compiler(extension, build)?;
    let mut hasher = DefaultHasher::new();
    (&tool, &arguments, build).hash(&mut hasher);
    hash_sources(&mut hasher)?;
    let name = format!("{stem}-{build:?}-{:016x}", hasher.finish());
    let program = scratch::build_dir()?.join(&name);
    if program.exists() {
        return Ok(program);
    }
    // Built under a name of its own and moved into place, since tests build at the same time. The directory differs
    // and not the file name, for `.gnu_debuglink` records the latter.
    let workshop = scratch::build_dir()?.join(format!(
        "build-{name}-{}-{:?}",
        process::id(),
        thread::current().id()
    ));
    fs::create_dir_all(&workshop)?;
    let fresh = workshop.join(&name);
    let made = make(&tool, &arguments, &path, &fresh, build);
    let moved = made.and_then(|()| {
        if debug_file(&fresh).exists() {
            fs::rename(debug_file(&fresh), debug_file(&program))?;
        }
        Ok(fs::rename(&fresh, &program)?)
    });
    fs::remove_dir_all(&workshop)?;
    moved.with_context(|| format!("building {source} as {build:?}"))?;
    Ok(program)
}

/// Where the separate debug file of `program` is.
#[must_use]
pub fn debug_file(program: &Path) -> PathBuf {
    program.with_extension("debug")
}

/// Build id of `program` in hexadecimal.
///
/// # Errors
/// When it has none.
pub fn build_id(program: &Path) -> Result<String> {
    let notes = run(Command::new("readelf").arg("-n").arg(program))?;
    let id = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    Ok(id.context("no build id")?.to_owned())
}

/// Runs a tool to its end and returns what it printed.
///
/// # Errors
/// When it is missing, with the package that has it, or fails.
pub fn run(command: &mut Command) -> Result<String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let package = PACKAGES
                .iter()
                .find_map(|(name, package)| (*name == tool).then_some(*package));
            bail!(
                "{tool} is not installed: apt-get install {}",
                package.unwrap_or("the package that has it")
            );
        }
        other => other.with_context(|| tool.clone())?,
    };
    ensure!(
        output.status.success(),
        "{tool} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn compiler(extension: &str, build: Build) -> Result<(String, Vec<&'static str>)> {
    let musl = build == Build::Musl;
    let (tool, mut arguments) = match extension {
        "c" if musl => ("musl-gcc".to_owned(), vec!["-std=gnu11", "-static"]),
        "c" => ("cc".to_owned(), vec!["-std=gnu11"]),
        "cpp" if !musl => ("c++".to_owned(), vec!["-std=c++17"]),
        "rs" if !musl => (rustc(), vec!["--edition=2024"]),
        _ => bail!("no way to build .{extension} as {build:?}"),
    };
    let rust = extension == "rs";
    arguments.extend(if rust {
        ["-Copt-level=2", "-Cdebuginfo=2"].as_slice()
    } else {
        &[
            "-O2",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
            "-Wl,--build-id",
        ]
    });
    arguments.push(match (build, rust) {
        (Build::FramePointers, true) => "-Cforce-frame-pointers=yes",
        (_, true) => "-Cforce-frame-pointers=no",
        (Build::FramePointers, false) => "-fno-omit-frame-pointer",
        (_, false) => "-fomit-frame-pointer",
    });
    match (build, rust) {
        (Build::FixedAddress, true) => arguments.push("-Crelocation-model=static"),
        (Build::FixedAddress, false) => arguments.extend(["-fno-pie", "-no-pie"]),
        (Build::StaticPie, true) => arguments.push("-Ctarget-feature=+crt-static"),
        (Build::StaticPie, false) => arguments.extend(["-fPIE", "-static-pie"]),
        _ => {}
    }
    Ok((tool, arguments))
}

/// The compiler of the toolchain that builds the tests.
fn rustc() -> String {
    let sibling = env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    match sibling {
        Some(path) if path.exists() => path.to_string_lossy().into_owned(),
        _ => "rustc".to_owned(),
    }
}

fn hash_sources(hasher: &mut DefaultHasher) -> Result<()> {
    let mut paths: Vec<_> = fs::read_dir(sources())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    // What is in a folder is built by tools of its own.
    for path in paths.into_iter().filter(|path| path.is_file()) {
        path.hash(hasher);
        fs::read(&path)?.hash(hasher);
    }
    Ok(())
}

fn make(tool: &str, arguments: &[&str], source: &Path, program: &Path, build: Build) -> Result<()> {
    run(Command::new(tool)
        .args(arguments)
        .arg(source)
        .arg("-o")
        .arg(program))?;
    if matches!(build, Build::DebugLink | Build::Stripped) {
        let debug = debug_file(program);
        run(Command::new("objcopy")
            .arg("--only-keep-debug")
            .arg(program)
            .arg(&debug))?;
        run(Command::new("objcopy").arg("--strip-all").arg(program))?;
        if build == Build::DebugLink {
            let link = format!("--add-gnu-debuglink={}", debug.display());
            run(Command::new("objcopy").arg(link).arg(program))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_needed_package_is_listed() {
        let listed = include_str!("../packages.txt");
        for (tool, package) in PACKAGES {
            assert!(
                listed.lines().any(|line| line == *package),
                "{tool} needs {package}, which packages.txt does not list"
            );
        }
    }

    #[test]
    fn a_missing_tool_is_named_with_a_package() {
        let error = run(Command::new("holdup-no-such-tool").env("PATH", "/nonexistent"))
            .expect_err("there is no such tool");
        assert!(error.to_string().contains("is not installed"), "{error:#}");
    }
}
