//! Settings of the evidence: `[evidence]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flight;

/// `[evidence]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Longest time for one bundle. What is not known by then is left out.
    #[serde(with = "crate::settings::duration")]
    pub deadline: Duration,
    /// Threads of a process beyond which the stacks of a sample are read.
    pub ceiling: usize,
    /// Work on a process that hangs may be left behind: a thread that reads memory of a process whose memory map is
    /// locked does not come back before it is unlocked. This many at most, then there are no snapshots.
    pub max_abandoned: usize,
    /// Locks of the process that are listed with their counts.
    pub max_locks: usize,
    /// `[evidence.flight]`.
    pub flight: flight::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            ceiling: 20_000,
            max_abandoned: 4,
            max_locks: 64,
            flight: flight::Settings::default(),
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
            deadline,
            ceiling,
            max_abandoned,
            max_locks,
            flight,
        } = self;
        let seconds = Duration::from_millis(200)..=Duration::from_secs(600);
        if !seconds.contains(deadline) {
            return Err("evidence.deadline must be from 200ms to 10m".to_owned());
        }
        let counts = [
            ("ceiling", *ceiling, 1_000_000),
            ("max_abandoned", *max_abandoned, 64),
            ("max_locks", *max_locks, 10_000),
        ];
        for (key, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(format!("evidence.{key} must be from 1 to {most}"));
            }
        }
        flight.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_nonsense_is_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let error = |text: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            settings.check().unwrap_err()
        };
        for (text, key) in [
            ("deadline = \"0s\"", "evidence.deadline"),
            ("ceiling = 0", "evidence.ceiling"),
            ("max_abandoned = 65", "evidence.max_abandoned"),
            ("max_locks = 0", "evidence.max_locks"),
            (
                "flight = { interval = \"1ms\" }",
                "evidence.flight.interval",
            ),
            ("flight = { max_bytes = 1 }", "evidence.flight.max_bytes"),
            ("flight = { length = \"1s\" }", "evidence.flight.length"),
        ] {
            assert!(error(text).starts_with(key), "{text}: {}", error(text));
        }
        assert!(toml::from_str::<Settings>("ceilin = 1").is_err());
    }
}
