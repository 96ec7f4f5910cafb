//! The committed table of layouts is what the releases themselves say.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    go::{self, Variant},
    toolchain,
};

#[test]
fn the_table_is_what_releases_say() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = fs::read_to_string(root.join("agent/src/runtime/go/layout/table.rs"))?;
    let source = root.join("xtask/workload/go_layout.go");
    let releases = go::releases()?;
    ensure!(releases.len() >= 2, "{releases:?}");
    for release in releases {
        let program =
            release.build_files("layout", std::slice::from_ref(&source), Variant::Plain)?;
        let row = toolchain::run(&mut Command::new(program))?;
        // The first line names the patch release, of which there may be a later one.
        let (_, row) = row.split_once('\n').context("an empty row")?;
        ensure!(table.contains(row), "Go {} says\n{row}", release.version);
    }
    Ok(())
}
