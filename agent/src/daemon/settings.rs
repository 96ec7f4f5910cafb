//! Settings of the agent as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[agent]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Longest time from a request to end until the end, whatever hangs then. Shorter than what Kubernetes (30 s) and
    /// systemd (90 s) allow.
    #[serde(with = "crate::settings::duration")]
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let most = Duration::from_secs(600);
        if (Duration::from_millis(100)..=most).contains(&self.grace) {
            return Ok(());
        }
        Err("agent.grace must be from 100ms to 10m".to_owned())
    }
}
