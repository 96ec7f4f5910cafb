//! What Python packages do better than we could: YAML, and the schemas of Kubernetes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{scratch, toolchain::run};

/// A program of the environment that `cargo xtask test` makes from `requirements.txt`.
///
/// # Errors
/// When it is not there.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = scratch::target_dir()?.join("python/bin").join(name);
    ensure!(
        path.is_file(),
        "there is no {}: `cargo xtask test` installs it",
        path.display()
    );
    Ok(path)
}

/// The documents of a YAML file.
///
/// # Errors
/// When it cannot be read.
pub fn yaml(path: &Path) -> Result<Vec<Value>> {
    const PROGRAM: &str = "import json, sys, yaml; \
        json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let json = run(Command::new(tool("python3")?)
        .args(["-c", PROGRAM])
        .arg(path))?;
    Ok(serde_json::from_str(&json)?)
}
