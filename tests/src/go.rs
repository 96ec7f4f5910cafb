//! Go releases, and the workloads that they build. `cargo xtask test` installs those that `go-versions.txt` names.

use std::{
    collections::BTreeMap,
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use crate::{scratch, toolchain};

/// Names further releases to test with, separated by spaces, or `all` that are installed.
const VARIABLE: &str = "HOLDUP_GO_VERSIONS";
/// Where Debian puts its one.
const DEBIAN: &str = "/usr/lib/go-";

/// Minor releases of [`spread`], besides the newest.
const SPREAD: [u32; 2] = [19, 22];

/// How a workload is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// With symbols and debug information.
    Plain,
    /// Without.
    Stripped,
    /// Position-independent, without symbols and debug information.
    Pie,
    /// Linked with C, without symbols and debug information.
    Cgo,
}

/// An installed release.
#[derive(Clone, Debug)]
pub struct Go {
    /// `1.22.10`.
    pub version: String,
    root: PathBuf,
}

/// The releases to test with, oldest first.
///
/// # Errors
/// When one is not installed.
pub fn releases() -> Result<Vec<Go>> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("go-versions.txt");
    let mut versions: Vec<String> = fs::read_to_string(&list)?
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    match env::var(VARIABLE).unwrap_or_default().as_str() {
        "all" => {
            for entry in fs::read_dir(installed()?)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.starts_with("1.") && !name.contains("part") {
                    versions.push(name);
                }
            }
        }
        more => versions.extend(more.split_whitespace().map(str::to_owned)),
    }
    versions.sort_by_key(|version| minor(version));
    versions.dedup();
    versions.iter().map(|version| Go::of(version)).collect()
}

/// Some of them, for what takes long and is hardly up to the release: the oldest, one in between and the newest.
///
/// # Errors
/// As [`releases`].
pub fn spread() -> Result<Vec<Go>> {
    let mut releases = releases()?;
    let newest = releases.pop();
    let between = releases
        .into_iter()
        .filter(|go| SPREAD.contains(&go.minor()));
    Ok(between.chain(newest).collect())
}

/// The newest release.
///
/// # Errors
/// As [`releases`].
pub fn newest() -> Result<Go> {
    releases()?.pop().context("no release")
}

fn installed() -> Result<PathBuf> {
    let target = scratch::profile_dir()?;
    Ok(target.parent().context("no target directory")?.join("go"))
}

fn minor(version: &str) -> u32 {
    version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0)
}

impl Go {
    fn of(version: &str) -> Result<Self> {
        let debian = PathBuf::from(format!("{DEBIAN}{version}"));
        let own = installed()?.join(version).join("go");
        let root = if debian.is_dir() { debian } else { own };
        ensure!(
            root.join("bin/go").is_file(),
            "Go {version} is not at {}: `cargo xtask test` installs it",
            root.display()
        );
        Ok(Self {
            version: version.to_owned(),
            root,
        })
    }

    /// 22 for Go 1.22.
    #[must_use]
    pub fn minor(&self) -> u32 {
        minor(&self.version)
    }

    /// Its `go` command, which downloads nothing.
    ///
    /// # Errors
    /// When there is no place for its cache.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.root.join("bin/go"));
        command
            .args(arguments)
            .env("GOROOT", &self.root)
            .env("GOCACHE", installed()?.join("cache"))
            .env("GOPATH", installed()?.join("path"))
            .env("HOME", installed()?)
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0");
        Ok(command)
    }

    /// What `go tool pprof -traces` says of a profile: counts by stack, innermost function first, for stacks of which
    /// `is_wanted` says so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn traces(
        &self,
        profile: &str,
        sample_index: &str,
        is_wanted: impl Fn(&[String]) -> bool,
    ) -> Result<BTreeMap<Vec<String>, u64>> {
        let index = format!("-sample_index={sample_index}");
        let mut command = self.command(&["tool", "pprof", &index, "-traces", profile])?;
        let text = toolchain::run(&mut command)?;
        let mut traces = BTreeMap::new();
        for trace in text.split("-----------+-------").skip(1) {
            // Labels come before the count.
            let lines = trace.lines().skip(1).filter(|line| !line.contains(": "));
            let mut lines = lines.map(str::trim).filter(|line| !line.is_empty());
            let Some((count, first)) = lines.next().and_then(|line| line.split_once(' ')) else {
                continue;
            };
            let mut stack = vec![first.trim().to_owned()];
            stack.extend(lines.map(str::to_owned));
            if is_wanted(&stack) {
                *traces.entry(stack).or_default() +=
                    count.parse::<u64>().with_context(|| trace.to_owned())?;
            }
        }
        Ok(traces)
    }

    /// Builds a workload of `workloads/go`; one that was built before of the same sources is used again.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn build(&self, program: &str, variant: Variant) -> Result<PathBuf> {
        let sources = toolchain::sources().join("go");
        let sources: Vec<PathBuf> = ["truth.go", "cgo.go", &format!("{program}.go")]
            .iter()
            .filter(|name| variant == Variant::Cgo || **name != "cgo.go")
            .map(|name| sources.join(name))
            .collect();
        self.build_files(program, &sources, variant)
    }

    /// Builds a program of these files.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn build_files(
        &self,
        name: &str,
        sources: &[PathBuf],
        variant: Variant,
    ) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        for source in sources {
            fs::read(source)
                .with_context(|| source.display().to_string())?
                .hash(&mut hasher);
        }
        let version = &self.version;
        let hash = hasher.finish();
        let path =
            scratch::build_dir()?.join(format!("{name}-go{version}-{variant:?}-{hash:016x}"));
        if path.exists() {
            return Ok(path);
        }
        // Under a name of its own, since tests build at the same time.
        let fresh = path.with_extension(format!("{}-{:?}", process::id(), thread::current().id()));
        let mut command = self.command(&["build", "-trimpath"])?;
        if variant != Variant::Plain {
            command.arg("-ldflags=-s -w");
        }
        match variant {
            Variant::Pie => command.arg("-buildmode=pie"),
            Variant::Cgo => command.env("CGO_ENABLED", "1"),
            Variant::Plain | Variant::Stripped => &mut command,
        };
        toolchain::run(command.arg("-o").arg(&fresh).args(sources))?;
        fs::rename(&fresh, &path)?;
        Ok(path)
    }
}
