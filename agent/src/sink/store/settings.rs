//! Settings of the store: `[store]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where bundles are kept. Nothing else should be there.
    pub directory: PathBuf,
    /// Most bundles.
    pub max_count: usize,
    /// Most bytes, over all of them.
    pub max_bytes: u64,
    /// Bundles older than this go.
    #[serde(with = "crate::settings::duration")]
    pub max_age: Duration,
    /// Bytes that stay free on the file system for others.
    pub min_free_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/holdup"),
            max_count: 200,
            max_bytes: 1 << 30,
            max_age: Duration::from_secs(14 * 24 * 60 * 60),
            min_free_bytes: 256 << 20,
        }
    }
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            directory,
            max_count,
            max_bytes,
            max_age,
            min_free_bytes: _,
        } = self;
        if !directory.is_absolute() {
            return Err("store.directory must be an absolute path".to_owned());
        }
        if !(1..=100_000).contains(max_count) {
            return Err("store.max_count must be from 1 to 100000".to_owned());
        }
        if *max_bytes < 1 << 20 {
            return Err("store.max_bytes must be at least 1048576".to_owned());
        }
        if *max_age < Duration::from_secs(60) {
            return Err("store.max_age must be at least 1m".to_owned());
        }
        Ok(())
    }
}
