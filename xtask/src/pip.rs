//! Python packages, in an environment of their own in `target/python`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{paths, shell};

/// Installs what `list` names, unless the environment was made from just that list.
///
/// # Errors
/// When there is no Python with `venv`, or the installation fails.
pub fn install(list: &Path) -> Result<()> {
    let wanted =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let folder = paths::target().join("python");
    let installed = folder.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    // The system's: another one that comes first in the path may have no `venv`.
    shell::run(
        Command::new("/usr/bin/python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    shell::run(
        Command::new(folder.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(list),
    )?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}
