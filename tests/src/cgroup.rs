//! A control group of one test.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::child;

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
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Moves one thread in, and leaves the rest of its process in the group above, which it must be in already.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt_thread(&self, tid: u32) -> Result<()> {
        self.write("cgroup.type", "threaded")?;
        self.write("cgroup.threads", &tid.to_string())
    }

    /// Freezes all that is inside, or lets it go on, and waits until that has come about.
    ///
    /// # Errors
    /// When the kernel refuses, or does not get there in time.
    pub fn freeze(&self, freeze: bool) -> Result<()> {
        self.write("cgroup.freeze", if freeze { "1" } else { "0" })?;
        let started = Instant::now();
        while self.is_frozen()? != freeze {
            ensure!(started.elapsed() < child::DEADLINE, "{:?} stays", self.0);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether all that is inside is frozen.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_frozen(&self) -> Result<bool> {
        let events = fs::read_to_string(self.0.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "frozen 1"))
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let file = self.0.join(file);
        fs::write(&file, text).with_context(|| file.display().to_string())
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
