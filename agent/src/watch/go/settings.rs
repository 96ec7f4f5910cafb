//! `[watch.go]`: how goroutines are watched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How programs written in Go are watched: how many of their goroutines wait, and for what, is read from outside.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether they are.
    pub enabled: bool,
    /// Time between two looks at how many goroutines of a process wait: one read of 16 KiB each.
    #[serde(with = "crate::settings::duration")]
    pub poll: Duration,
    /// Time between two searches for new processes.
    #[serde(with = "crate::settings::duration")]
    pub search: Duration,
    /// Most processes that are watched: those that are found first.
    pub processes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            poll: Duration::from_millis(100),
            search: Duration::from_secs(2),
            processes: 512,
        }
    }
}

/// Shortest time between two looks.
const MIN_POLL: Duration = Duration::from_millis(10);
/// Longest: beyond it, what is seen is history.
const MAX_POLL: Duration = Duration::from_secs(60);
/// Most processes: some 20 KiB each, and a microsecond or two for each look.
const MAX_PROCESSES: u32 = 16_384;

impl Settings {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            enabled: _,
            poll,
            search,
            processes,
        } = self;
        if !(MIN_POLL..=MAX_POLL).contains(poll) {
            return Err("watch.go.poll must be from 10ms to 1m".into());
        }
        if !(*poll..=10 * MAX_POLL).contains(search) {
            return Err("watch.go.search must be from watch.go.poll to 10m".into());
        }
        if !(1..=MAX_PROCESSES).contains(processes) {
            return Err(format!(
                "watch.go.processes must be from 1 to {MAX_PROCESSES}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_value_names_its_key() {
        Settings::default().check().unwrap();
        for (text, key) in [
            ("poll = \"1ms\"", "watch.go.poll"),
            ("poll = \"2m\"", "watch.go.poll"),
            ("search = \"50ms\"", "watch.go.search"),
            ("search = \"1h\"", "watch.go.search"),
            ("processes = 0", "watch.go.processes"),
        ] {
            let settings: Settings = toml::from_str(text).unwrap();
            let error = settings.check().unwrap_err();
            assert!(error.starts_with(key), "{text}: {error}");
        }
        assert!(toml::from_str::<Settings>("pole = 1").is_err());
    }
}
