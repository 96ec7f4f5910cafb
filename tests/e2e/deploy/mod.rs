//! What is shipped to run the agent with: `agent/deploy`.

use std::path::{Path, PathBuf};

mod container;
mod dashboard;
mod inside;
mod manifest;
mod prometheus;
mod rules;
mod unit;

/// A shipped file.
fn shipped(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.with_file_name("agent").join("deploy").join(name)
}
