//! How much `/metrics` may have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds on series. What has no series of its own is counted in `other`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Locks of one process name (in one container or unit) that get a series of their own: those with most wait.
    pub top_locks: usize,
    /// Locks with a series of their own on the whole node. With the default buckets each takes 22 lines.
    pub max_locks: usize,
    /// Process names (each container and unit apart) that are told apart.
    pub max_processes: usize,
    /// Active incidents that are told apart.
    pub max_incidents: usize,
    /// Only every so manyth power of two nanoseconds bounds a bucket: 1 = all 33 of them, 2 = 17.
    pub bucket_step: usize,
    /// How long the series of a lock that left the top, or of a process that ended, stay.
    #[serde(with = "crate::settings::duration")]
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            top_locks: 10,
            max_locks: 1000,
            max_processes: 500,
            max_incidents: 200,
            bucket_step: 2,
            linger: Duration::from_secs(15 * 60),
        }
    }
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that begins with the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            top_locks,
            max_locks,
            max_processes,
            max_incidents,
            bucket_step,
            linger: _, // any is fine: 0 drops at once
        } = self;
        let bounds = [
            ("top_locks", *top_locks, 0, 1000),
            ("max_locks", *max_locks, 0, 100_000),
            ("max_processes", *max_processes, 1, 100_000),
            ("max_incidents", *max_incidents, 0, 10_000),
            ("bucket_step", *bucket_step, 1, 16),
        ];
        for (key, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(format!(
                    "{key} must be between {min} and {max}, it is {value}"
                ));
            }
        }
        Ok(())
    }
}
