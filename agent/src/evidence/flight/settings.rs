//! How far back the flight recorder goes, and how much memory it takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LockRow, ProcessRow, Slot, delta::Total};

/// `[evidence.flight]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Length of one interval.
    #[serde(with = "crate::settings::duration")]
    pub interval: Duration,
    /// How far back it goes.
    #[serde(with = "crate::settings::duration")]
    pub length: Duration,
    /// Memory that it takes, in bytes.
    pub max_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            length: Duration::from_secs(300),
            max_bytes: 8 << 20,
        }
    }
}

/// How many of each there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub intervals: usize,
    /// In each interval.
    pub locks: usize,
    /// In each interval.
    pub processes: usize,
    /// Locks that are followed.
    pub totals: usize,
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            interval,
            length,
            max_bytes,
        } = self;
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(interval) {
            return Err("evidence.flight.interval must be from 100ms to 1m".to_owned());
        }
        if !(*interval * 2..=*interval * 3600).contains(length) {
            return Err("evidence.flight.length must be 2 to 3600 intervals".to_owned());
        }
        if !((64 << 10)..=(1 << 30)).contains(max_bytes) {
            return Err("evidence.flight.max_bytes must be from 65536 to 1073741824".to_owned());
        }
        if self.room().locks == 0 {
            return Err("evidence.flight.max_bytes is too little for so many intervals".to_owned());
        }
        Ok(())
    }

    /// Half of the memory follows the locks, the other half is for the intervals: a quarter of that for processes.
    pub(super) fn room(&self) -> Room {
        let intervals = self.length.as_nanos() / self.interval.as_nanos().max(1);
        let intervals = usize::try_from(intervals)
            .unwrap_or(usize::MAX)
            .clamp(1, 3600);
        let totals = self.max_bytes / 2 / size_of::<Total>();
        let each = (self.max_bytes / 2 / intervals).saturating_sub(size_of::<Slot>());
        let processes = each / 4 / size_of::<ProcessRow>();
        let locks = (each - processes * size_of::<ProcessRow>()) / size_of::<LockRow>();
        Room {
            intervals,
            locks,
            processes,
            totals,
        }
    }
}
