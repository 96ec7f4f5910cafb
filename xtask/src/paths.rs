//! Where things are in the workspace.

use std::path::{Path, PathBuf};

/// Root of the workspace.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Cargo's target folder, which also holds everything xtask downloads or makes.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The package of the kernel side.
pub fn ebpf() -> PathBuf {
    root().join("ebpf")
}

/// Where `cargo install --root` puts the tools that only this workspace uses.
pub fn tools() -> PathBuf {
    target().join("tools")
}
