//! Files that a test makes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

/// Cargo's directory for this profile, e.g. `target/debug`.
///
/// # Errors
/// When the test was not started from where Cargo puts it.
pub fn profile_dir() -> Result<PathBuf> {
    let test = env::current_exe()?;
    // target/PROFILE/deps/e2e-0123456789abcdef
    let dir = test.parent().and_then(Path::parent);
    Ok(dir
        .context("the test is not in target/PROFILE/deps")?
        .to_owned())
}

/// Cargo's target directory, which also has what `cargo xtask` makes.
///
/// # Errors
/// As [`profile_dir`].
pub fn target_dir() -> Result<PathBuf> {
    let dir = profile_dir()?;
    Ok(dir.parent().context("no target directory")?.to_owned())
}

/// Directory for what tests build and keep, `target/tmp`, which is also `CARGO_TARGET_TMPDIR`.
///
/// # Errors
/// When it cannot be made.
pub fn build_dir() -> Result<PathBuf> {
    let dir = target_dir()?.join("tmp");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// A directory of one test, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = build_dir()?.join(format!("test-{}-{count}", process::id()));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(Self(dir))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Path of `name` in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
