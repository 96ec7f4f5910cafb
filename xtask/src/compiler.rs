//! Finding a Rust compiler that can build for BPF, and the linker that turns its output into one object.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{apt, paths, shell, toolchain};

/// The target of the kernel side.
pub const TARGET: &str = "bpfel-unknown-none";

/// Names the compiler to use, before all others.
const CHOICE: &str = "HOLDUP_BPF_RUSTC";

/// A compiler that can build for BPF.
pub struct Compiler {
    /// Its path.
    pub rustc: PathBuf,
    /// The cargo to run it with.
    pub cargo: PathBuf,
    /// First line of its `--version`.
    pub version: String,
    /// Version of the LLVM in it, e.g. `22.1.8`.
    pub llvm: String,
    /// Its root folder.
    pub sysroot: PathBuf,
    /// `core` has to be compiled too: only its source is there.
    pub build_std: bool,
}

/// The BPF linker.
pub struct Linker {
    /// Its path.
    pub path: PathBuf,
    /// What it says about itself, e.g. `bpf-linker 0.10.3`.
    pub version: String,
}

impl Compiler {
    /// What of this compiler decides the bytes of an object, one fact a line.
    pub fn identity(&self) -> String {
        let core = if self.build_std { "built" } else { "prebuilt" };
        format!("{}\nLLVM {}\ncore {core}", self.version, self.llvm)
    }

    /// The shared library of this compiler's LLVM, which the linker must load to read this compiler's bitcode.
    pub fn libllvm(&self) -> Result<PathBuf> {
        let mut parts = self.llvm.split('.');
        let (major, minor) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let names = [
            format!("libLLVM.so.{major}.{minor}"),
            format!("libLLVM-{major}.so"),
            format!("libLLVM-{major}-rust"),
            format!("libLLVM.so.{major}"),
        ];
        let folders = [
            self.sysroot.join("lib"),
            PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH)),
            PathBuf::from(format!("/usr/lib/llvm-{major}/lib")),
            PathBuf::from("/usr/lib64"),
        ];
        folders
            .iter()
            .flat_map(fs::read_dir)
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                names.iter().any(|wanted| name.starts_with(wanted.as_str()))
            })
            .with_context(|| format!("no shared library of LLVM {} found", self.llvm))
    }

    /// Looks at one compiler.
    fn probe(rustc: &Path) -> Result<Self> {
        let verbose = shell::capture(Command::new(rustc).arg("-vV"))?;
        let sysroot = shell::capture(Command::new(rustc).args(["--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot.trim_end());
        let rustlib = sysroot.join("lib/rustlib");
        let build_std = !has_core(&rustlib.join(TARGET).join("lib"));
        if build_std && !rustlib.join("src/rust/library/core").is_dir() {
            bail!(
                "{} has neither a prebuilt core for {TARGET} nor its source (rust-src)",
                rustc.display()
            );
        }
        let llvm = verbose
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))
            .with_context(|| format!("{} does not use LLVM", rustc.display()))?;
        let sibling = rustc.with_file_name("cargo");
        Ok(Self {
            cargo: if sibling.is_file() {
                sibling
            } else {
                shell::cargo().get_program().into()
            },
            version: verbose.lines().next().unwrap_or_default().to_owned(),
            llvm: llvm.to_owned(),
            rustc: rustc.to_owned(),
            sysroot,
            build_std,
        })
    }
}

/// The compiler to use.
///
/// # Errors
/// When there is none: what was tried, and how to get one.
pub fn find() -> Result<Compiler> {
    if let Some(choice) = std::env::var_os(CHOICE) {
        return Compiler::probe(Path::new(&choice)).with_context(|| format!("${CHOICE}"));
    }
    let debian = match Compiler::probe(Path::new("/usr/bin/rustc")) {
        Ok(compiler) => return Ok(compiler),
        Err(error) => error,
    };
    let nightly = match rustup_nightly().and_then(|rustc| Compiler::probe(&rustc)) {
        Ok(compiler) => return Ok(compiler),
        Err(error) => error,
    };
    bail!(
        "no compiler for {TARGET}.\n  tried Debian's: {debian:#}\n  tried rustup's nightly: {nightly:#}\n\
         Install one of them: `cargo xtask toolchain` (as root: {}), or `rustup toolchain install nightly \
         --component rust-src` if its LLVM is one that bpf-linker {} can load (22), or set ${CHOICE}",
        apt::command_line(toolchain::PACKAGES),
        toolchain::LINKER_VERSION
    )
}

/// The linker of the right version, in `target/tools` or in `PATH`.
///
/// # Errors
/// When there is none, with the command that installs it.
pub fn linker() -> Result<Linker> {
    let wanted = format!("bpf-linker {}", toolchain::LINKER_VERSION);
    let own = paths::tools().join("bin/bpf-linker");
    for path in [Some(own), shell::find("bpf-linker")].into_iter().flatten() {
        match shell::capture(Command::new(&path).arg("--version")) {
            Ok(version) if version.trim() == wanted => {
                let version = wanted;
                return Ok(Linker { path, version });
            }
            _ => {}
        }
    }
    bail!(
        "no {wanted}. Install it: `cargo xtask toolchain`, or cargo install bpf-linker@{} --locked --root {}",
        toolchain::LINKER_VERSION,
        paths::tools().display()
    )
}

fn has_core(folder: &Path) -> bool {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        })
}

fn rustup_nightly() -> Result<PathBuf> {
    let path =
        shell::capture(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))?;
    Ok(PathBuf::from(path.trim_end()))
}
