//! What the agent may cost.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// `[governor]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most of one CPU that the agent's own threads may use, 0.05 is 5 %.
    pub cpu_share: f64,
    /// Most of all CPUs together that its BPF programs may use.
    pub bpf_share: f64,
    /// Most resident memory of the agent in bytes.
    pub resident_bytes: u64,
    /// How often the costs are compared with these.
    #[serde(with = "crate::settings::duration")]
    pub every: Duration,
    /// Comparisons in a row that must be over before something is given up.
    pub over_for: u32,
    /// Comparisons in a row that must be below half of the budget before something is taken up again.
    pub calm_for: u32,
    /// How often the kernel is asked to measure the BPF programs, which costs some 20 ns a run while it does.
    #[serde(with = "crate::settings::duration")]
    pub bpf_every: Duration,
    /// For how long it does; the rest is extrapolated.
    #[serde(with = "crate::settings::duration")]
    pub bpf_for: Duration,
    /// While this file exists, nothing is attached and nothing is read. Empty: there is no such file.
    pub kill_switch: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cpu_share: 0.05,
            bpf_share: 0.01,
            resident_bytes: 256 << 20,
            every: Duration::from_secs(10),
            over_for: 3,
            calm_for: 12,
            bpf_every: Duration::from_secs(30),
            bpf_for: Duration::from_secs(1),
            kill_switch: PathBuf::from("/run/holdup/off"),
        }
    }
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence about the first key that does not.
    pub fn check(&self) -> Result<(), String> {
        let shares = [("cpu_share", self.cpu_share), ("bpf_share", self.bpf_share)];
        for (key, share) in shares {
            if !(share > 0.0 && share.is_finite()) {
                return Err(format!(
                    "governor.{key} must be greater than 0, not {share}"
                ));
            }
        }
        let counts = [("over_for", self.over_for), ("calm_for", self.calm_for)];
        for (key, count) in counts {
            if count == 0 {
                return Err(format!("governor.{key} must be at least 1"));
            }
        }
        let least = Duration::from_millis(10);
        let times = [
            ("every", self.every),
            ("bpf_every", self.bpf_every),
            ("bpf_for", self.bpf_for),
        ];
        for (key, time) in times {
            if time < least {
                return Err(format!(
                    "governor.{key} must be at least 10ms, not {time:?}"
                ));
            }
        }
        if self.bpf_for >= self.bpf_every {
            return Err("governor.bpf_for must be shorter than governor.bpf_every".to_owned());
        }
        if !self.kill_switch.as_os_str().is_empty() && !self.kill_switch.is_absolute() {
            return Err("governor.kill_switch must be an absolute path, or empty".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense() {
        Settings::default().check().unwrap();
    }

    #[test]
    fn the_key_that_makes_no_sense_is_named() {
        for (text, key) in [
            ("cpu_share = 0.0", "cpu_share"),
            ("bpf_share = nan", "bpf_share"),
            ("cpu_share = -1.0", "cpu_share"),
            ("over_for = 0", "over_for"),
            ("every = '0s'", "every"),
            ("bpf_for = '31s'", "bpf_for"),
            ("kill_switch = 'off'", "kill_switch"),
        ] {
            let settings: Settings = toml::from_str(text).unwrap();
            let why = settings.check().unwrap_err();
            assert!(why.contains(&format!("governor.{key}")), "{text}: {why}");
        }
        let settings: Settings = toml::from_str("kill_switch = ''").unwrap();
        settings.check().unwrap();
    }
}
