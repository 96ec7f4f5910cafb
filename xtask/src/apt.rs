//! Debian packages: what is missing, and installing it.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{shell, ui};

/// Those of `packages` that are not installed, in order.
pub fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect()
}

/// The command that a user would type to install `packages`.
pub fn command_line(packages: &[&str]) -> String {
    format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs those of `packages` that are not there yet.
///
/// # Errors
/// When there is no apt, no root, or the installation fails; the message says what would have been installed.
pub fn install(packages: &[&str]) -> Result<()> {
    let wanted = missing(packages);
    if wanted.is_empty() {
        return Ok(());
    }
    if shell::find("apt-get").is_none() {
        bail!(
            "no apt-get here: install what Debian calls {} yourself",
            wanted.join(" ")
        );
    }
    let context = || format!("could not install; as root: {}", command_line(&wanted));
    // A fresh image has no package lists and an old machine stale ones: fetch them when the first try fails.
    if try_install(&wanted).is_ok() {
        return Ok(());
    }
    ui::step("package lists may be missing or stale: fetching them");
    shell::run(apt_get()?.args(["-qq", "update"])).with_context(context)?;
    try_install(&wanted).with_context(context)
}

fn try_install(packages: &[&str]) -> Result<()> {
    shell::run(
        apt_get()?
            .args(["-qq", "install", "-y", "--no-install-recommends"])
            .args(packages),
    )
}

fn apt_get() -> Result<Command> {
    let mut command = shell::as_root("apt-get")?;
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Single-user mode, as far as packages ask: their services are not started.
    command.env("RUNLEVEL", "1");
    Ok(command)
}

fn is_installed(package: &str) -> bool {
    shell::capture(Command::new("dpkg-query").args([
        "--show",
        "--showformat=${db:Status-Abbrev}",
        package,
    ]))
    .is_ok_and(|status| status.starts_with("ii"))
}
