//! `cargo xtask toolchain`

use anyhow::Result;

use crate::{apt, compiler, paths, shell, ui};

/// Debian's compiler with its prebuilt `core` for BPF.
pub const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// The linker's version: part of what the committed objects depend on. Later ones need LLVM's development files.
pub const LINKER_VERSION: &str = "0.10.3";

/// Install what `build-ebpf` needs: Debian's BPF compiler, and bpf-linker into target/tools
#[derive(clap::Args)]
pub struct Args {}

/// Installs what is missing; quick when nothing is.
pub fn run(_: &Args) -> Result<()> {
    // A compiler that the user chose, or a nightly with rust-src, does as well.
    if let Err(lacking) = compiler::find() {
        ui::step(format_args!("{lacking:#}"));
        apt::install(PACKAGES)?;
    }
    let compiler = compiler::find()?;
    if compiler::linker().is_err() {
        shell::run(
            shell::cargo()
                .arg("install")
                .arg(format!("bpf-linker@{LINKER_VERSION}"))
                .args(["--locked", "--quiet", "--root"])
                .arg(paths::tools()),
        )?;
    }
    let linker = compiler::linker()?;
    ui::line(format_args!(
        "{}\n{}\n{} at {}",
        compiler.identity(),
        compiler.rustc.display(),
        linker.version,
        linker.path.display()
    ));
    Ok(())
}
