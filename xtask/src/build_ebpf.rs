//! `cargo xtask build-ebpf`

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    compiler::{self, Compiler, Linker},
    object_file, paths, shell, ui,
};

/// Architectures that an object is built for. The bytecode is the same machine's; what differs is where the kernel
/// keeps a system call's arguments and a task's registers.
const ARCHITECTURES: &[&str] = &["x86_64", "aarch64"];

/// Package and binary of the kernel side.
const BINARY: &str = "holdup-ebpf";

/// File beside the objects that names what made them.
const RECORD: &str = "TOOLCHAIN";

/// Build the kernel side into ebpf/dist, one object per architecture
#[derive(clap::Args)]
pub struct Args {
    /// Rebuild from nothing and compare with ebpf/dist instead of replacing it. With the compiler that made the
    /// committed objects they must be equal to the byte; with another one, the new objects are left in
    /// target/ebpf/dist, to be tested with HOLDUP_BPF_DIST=target/ebpf/dist
    #[arg(long)]
    check: bool,
}

/// Builds or checks the objects.
pub fn run(args: &Args) -> Result<()> {
    let builder = Builder::new()?;
    if args.check {
        check(&builder)
    } else {
        build(&builder)
    }
}

/// Name of the object for an architecture.
fn object_name(architecture: &str) -> String {
    format!("holdup-{architecture}.bpf.o")
}

fn dist() -> PathBuf {
    paths::ebpf().join("dist")
}

fn build(builder: &Builder) -> Result<()> {
    let cache = paths::target().join("ebpf/build");
    builder.build_all(&cache, &dist(), false)?;
    for architecture in ARCHITECTURES {
        object_file::report(&dist().join(object_name(architecture)))?;
    }
    Ok(())
}

fn check(builder: &Builder) -> Result<()> {
    // Nothing of an earlier build may decide the outcome, nor an earlier outcome be taken for this one.
    let fresh = paths::target().join("ebpf/check");
    let other = paths::target().join("ebpf/dist");
    remove_folder(&fresh)?;
    remove_folder(&other)?;
    let objects = fresh.join("dist");
    builder.build_all(&fresh, &objects, true)?;
    for architecture in ARCHITECTURES {
        object_file::report(&objects.join(object_name(architecture)))?;
    }

    let recorded = fs::read_to_string(dist().join(RECORD))
        .with_context(|| format!("cannot read {}", dist().join(RECORD).display()))?;
    if recorded != builder.record() {
        fs::rename(&objects, &other).context("cannot move the objects to target/ebpf/dist")?;
        remove_folder(&fresh)?;
        ui::line(format_args!(
            "ebpf/dist was made by another compiler, so its bytes were not compared.\n\
             recorded:\n{}here:\n{}The objects made here are to be tested with HOLDUP_BPF_DIST={}",
            indent(&recorded),
            indent(&builder.record()),
            other.display()
        ));
        return Ok(());
    }

    let mut differences = Vec::new();
    for architecture in ARCHITECTURES {
        let name = object_name(architecture);
        if let Some(difference) =
            object_file::difference(&dist().join(&name), &objects.join(&name))?
        {
            differences.push(format!("{name}: {difference}"));
        }
    }
    if !differences.is_empty() {
        bail!(
            "ebpf/dist is not what its sources give:\n{}\nRebuild it with `cargo xtask build-ebpf`; the objects made \
             here are in {}",
            indent(&differences.join("\n")),
            objects.display()
        );
    }
    remove_folder(&fresh)?;
    ui::line("ebpf/dist is what its sources give, to the byte");
    Ok(())
}

/// A compiler and a linker that fit each other.
struct Builder {
    compiler: Compiler,
    linker: Linker,
    libllvm: PathBuf,
}

impl Builder {
    fn new() -> Result<Self> {
        let compiler = compiler::find()?;
        let linker = compiler::linker()?;
        let libllvm = compiler.libllvm()?;
        Ok(Self {
            compiler,
            linker,
            libllvm,
        })
    }

    /// What is written beside the objects.
    fn record(&self) -> String {
        format!("{}\n{}\n", self.compiler.identity(), self.linker.version)
    }

    /// Builds the object of every architecture into `output`, with compiler caches below `cache`.
    fn build_all(&self, cache: &Path, output: &Path, locked: bool) -> Result<()> {
        if !paths::ebpf().join("Cargo.toml").is_file() {
            bail!("there is no package in {}", paths::ebpf().display());
        }
        fs::create_dir_all(output)
            .with_context(|| format!("cannot create {}", output.display()))?;
        for architecture in ARCHITECTURES {
            let target = cache.join(architecture);
            shell::run(&mut self.command(architecture, &target, locked)?)
                .with_context(|| format!("building the kernel side for {architecture}"))?;
            let made = target.join(compiler::TARGET).join("release").join(BINARY);
            let object = output.join(object_name(architecture));
            object_file::install(&made, &object)?;
        }
        fs::write(output.join(RECORD), self.record())
            .with_context(|| format!("cannot write {}", output.join(RECORD).display()))
    }

    fn command(&self, architecture: &str, target: &Path, locked: bool) -> Result<Command> {
        let mut command = Command::new(&self.compiler.cargo);
        command.current_dir(paths::ebpf()).args([
            "build",
            "--release",
            "--bin",
            BINARY,
            "--target",
            compiler::TARGET,
        ]);
        if locked {
            command.arg("--locked");
        }
        if self.compiler.build_std {
            command.arg("-Zbuild-std=core");
        }
        // What a developer has set for other builds must not reach these bytes.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "RUST"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        let linker_folder = self.linker.path.parent().unwrap_or(Path::new("."));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [linker_folder.to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&path));
        command
            .env("PATH", std::env::join_paths(path)?)
            .env("LD_LIBRARY_PATH", self.libllvm_folder()?)
            .env("RUSTC", &self.compiler.rustc)
            // aya-ebpf uses #![feature(asm_experimental_arch)], and -Z flags need it too.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(architecture)?);
        Ok(command)
    }

    /// Compiler flags, separated as `CARGO_ENCODED_RUSTFLAGS` wants them.
    fn flags(&self, architecture: &str) -> Result<OsString> {
        let mut flags = vec![
            // aya-ebpf's build script reads it back from here.
            OsString::from(format!("--cfg=bpf_target_arch=\"{architecture}\"")),
            // BTF is made from debug information.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
        ];
        // No path of this machine may get into the objects.
        let mut folders = vec![
            (cargo_home()?, "/cargo"),
            (paths::root().to_owned(), "/holdup"),
        ];
        if self.compiler.build_std {
            folders.push((self.compiler.sysroot.clone(), "/sysroot"));
        }
        // Dependencies lie in a folder named after the registry; of several prefixes that fit, the last counts.
        folders.extend(
            self.registries()?
                .into_iter()
                .map(|folder| (folder, "/registry")),
        );
        for (folder, name) in folders {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(folder);
            flag.push("=");
            flag.push(name);
            flags.push(flag);
        }
        Ok(flags.join("\x1f".as_ref()))
    }

    /// Folders of unpacked dependencies, which are downloaded first if need be.
    fn registries(&self) -> Result<Vec<PathBuf>> {
        shell::run(
            Command::new(&self.compiler.cargo)
                .current_dir(paths::ebpf())
                .args(["fetch", "--quiet", "--locked"])
                .env("RUSTC", &self.compiler.rustc),
        )?;
        let sources = cargo_home()?.join("registry/src");
        let entries =
            fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        Ok(folders)
    }

    /// A folder that holds nothing but a link to this compiler's LLVM: the linker loads the first `libLLVM*` it meets,
    /// and a system folder may hold several.
    fn libllvm_folder(&self) -> Result<PathBuf> {
        let folder = paths::target().join("ebpf/llvm").join(&self.compiler.llvm);
        remove_folder(&folder)?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let link = folder.join(self.libllvm.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(&self.libllvm, &link)
            .with_context(|| format!("cannot create {}", link.display()))?;
        Ok(folder)
    }
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_HOME") {
        return Ok(folder.into());
    }
    let home = std::env::home_dir().context("no home folder")?;
    Ok(home.join(".cargo"))
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .fold(String::new(), |all, line| all + "    " + line + "\n")
}
