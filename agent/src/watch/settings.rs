//! `[watch]`: how often the node is looked at, and how much of it fits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::go::settings as go;
use crate::probe::object::Capacity;

/// What is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Hooks on the contended path: waits are counted, ages are exact.
    #[default]
    Default,
    /// No hook at all: parked threads are counted by the task iterator, at no cost to the watched programs.
    None,
}

/// How the node is watched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is attached.
    pub probe: Probe,
    /// Time between two looks, from 100 ms to 1 min.
    #[serde(with = "crate::settings::duration")]
    pub tick: Duration,
    /// Least time between two samples of one lock while it is not known what it is.
    #[serde(with = "crate::settings::duration")]
    pub sample_interval: Duration,
    /// Locks that can be told apart at once: about 550 bytes each in the kernel, and 900 in the agent when they are in
    /// use.
    pub locks: u32,
    /// Threads that waited or woke and still live: about 350 bytes each in the kernel.
    pub threads: u32,
    /// Ring buffer for samples in bytes: a power of two.
    pub ring_bytes: u32,
    /// Waiters of one lock at which the kernel side calls at once; 0: never, the timer alone finds it. Not those of a whole
    /// process: a second counter, to be looked up at both ends of every wait, would cost a quarter more, for what the next
    /// tick sees anyway.
    pub waiters_threshold: u32,
    /// A lock that nobody has waited for so long gives its place back, sooner when the table is full.
    #[serde(with = "crate::settings::duration")]
    pub idle: Duration,
    /// Locks whose holders are looked for in one tick: those that are waited for longest.
    pub holders: u32,
    /// Hand-offs per second from which a lock is hot: at `no_detail` its waits are in no histogram.
    pub hot_per_second: u32,
    /// Time after which a read of a process is given up: its memory may be stuck behind a lock of the kernel's.
    #[serde(with = "crate::settings::duration")]
    pub read_timeout: Duration,
    /// Programs written in Go.
    pub go: go::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            probe: Probe::Default,
            tick: Duration::from_secs(1),
            sample_interval: Duration::from_secs(1),
            locks: 32_768,
            threads: 65_536,
            ring_bytes: 4 << 20,
            waiters_threshold: 64,
            idle: Duration::from_secs(600),
            holders: 128,
            hot_per_second: 1_000,
            read_timeout: Duration::from_secs(2),
            go: go::Settings::default(),
        }
    }
}

/// Shortest tick: the census looks at every thread of the machine.
const MIN_TICK: Duration = Duration::from_millis(100);
/// Longest tick: beyond it, what is seen is history.
const MAX_TICK: Duration = Duration::from_secs(60);
/// Least room for locks and for threads.
const MIN_CAPACITY: u32 = 64;
/// Most: half a gigabyte in the kernel.
const MAX_CAPACITY: u32 = 1 << 20;
/// Least ring buffer: a few samples.
const MIN_RING_BYTES: u32 = 64 << 10;
/// Largest ring buffer.
const MAX_RING_BYTES: u32 = 1 << 30;

impl Settings {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            probe: _,
            tick,
            sample_interval: _, // any will do
            locks,
            threads,
            ring_bytes,
            waiters_threshold: _,
            idle,
            holders: _,
            hot_per_second: _,
            read_timeout,
            go,
        } = self;
        if !(MIN_TICK..=MAX_TICK).contains(tick) {
            return Err("watch.tick must be from 100ms to 1m".into());
        }
        for (name, capacity) in [("locks", locks), ("threads", threads)] {
            if !(MIN_CAPACITY..=MAX_CAPACITY).contains(capacity) {
                return Err(format!(
                    "watch.{name} must be from {MIN_CAPACITY} to {MAX_CAPACITY}"
                ));
            }
        }
        let fits = (MIN_RING_BYTES..=MAX_RING_BYTES).contains(ring_bytes);
        if !ring_bytes.is_power_of_two() || !fits {
            return Err("watch.ring_bytes must be a power of two from 65536 to 1073741824".into());
        }
        if idle < tick {
            return Err("watch.idle must not be shorter than watch.tick".into());
        }
        if read_timeout.is_zero() {
            return Err("watch.read_timeout must not be zero".into());
        }
        go.check()
    }

    /// Room in the kernel.
    #[must_use]
    pub const fn capacity(&self) -> Capacity {
        Capacity {
            locks: self.locks,
            threads: self.threads,
            ring_bytes: self.ring_bytes,
            entry: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_survive_a_file() {
        let settings = Settings::default();
        settings.check().unwrap();
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
        assert_eq!(toml::from_str::<Settings>("").unwrap(), settings);
    }

    #[test]
    fn each_wrong_value_names_its_key() {
        for (text, key) in [
            ("tick = \"10ms\"", "watch.tick"),
            ("tick = \"2m\"", "watch.tick"),
            ("locks = 1", "watch.locks"),
            ("threads = 2000000", "watch.threads"),
            ("ring_bytes = 100000", "watch.ring_bytes"),
            ("ring_bytes = 1024", "watch.ring_bytes"),
            ("idle = \"1ms\"", "watch.idle"),
            ("read_timeout = \"0s\"", "watch.read_timeout"),
        ] {
            let settings: Settings = toml::from_str(text).unwrap();
            let error = settings.check().unwrap_err();
            assert!(error.starts_with(key), "{text}: {error}");
        }
        assert!(toml::from_str::<Settings>("tock = 1").is_err());
    }
}
