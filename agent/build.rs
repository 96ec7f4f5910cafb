//! Says where the BPF objects to embed are: the committed ones, unless `HOLDUP_BPF_DIST` names another folder.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=HOLDUP_BPF_DIST");
    // Asked when it runs: a build script that was compiled for another copy of the sources must not lead there.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let dist = std::env::var_os("HOLDUP_BPF_DIST").map_or_else(
        || here.unwrap_or_default().join("../ebpf/dist"),
        PathBuf::from,
    );
    println!("cargo::rustc-env=HOLDUP_BPF_DIST={}", dist.display());
}
