//! A control group of one test.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

/// A control group (v2), removed when dropped.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one below the root of the unified hierarchy.
    ///
    /// # Errors
    /// When there is no cgroup2 mount, or it cannot be written to.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = mount()?.join(format!("holdup-test-{}-{count}", process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Makes one inside this one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn child(&self, name: &str) -> Result<Self> {
        let path = self.0.join(name);
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process in.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, pid: u32) -> Result<()> {
        let file = self.0.join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| file.display().to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever is still inside goes home first, or the directory stays.
        let pids = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        if let Ok(root) = mount() {
            for pid in pids.lines() {
                let _ = fs::write(root.join("cgroup.procs"), pid);
            }
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some("cgroup2"))
        .context("no cgroup2 file system is mounted; mount one with `mount -t cgroup2 none DIR`")?;
    Ok(line.split(' ').nth(1).unwrap_or_default().into())
}
