//! Says where the BPF objects to embed are: the committed ones, unless `HOLDUP_BPF_DIST` names another folder.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=HOLDUP_BPF_DIST");
    let dist = std::env::var_os("HOLDUP_BPF_DIST").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ebpf/dist"),
        PathBuf::from,
    );
    println!("cargo::rustc-env=HOLDUP_BPF_DIST={}", dist.display());
}
