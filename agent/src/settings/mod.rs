//! The agent's configuration file (TOML). Every part keeps its own settings beside its code; they come together here.

pub mod duration;

use std::{fs::File, io::Read as _, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    daemon, detect, evidence, serve,
    sink::{alert, store},
    watch,
};

/// Longest file that is read: more rules than anybody writes.
const MAX_BYTES: u64 = 4 << 20;

/// The whole file. Every table and every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The agent as a whole.
    pub agent: daemon::settings::Settings,
    /// How often the node is looked at, and how much of it fits.
    pub watch: watch::Settings,
    /// What is an incident, and which of them are alerts.
    pub detect: detect::settings::Settings,
    /// What is kept of an incident.
    pub evidence: evidence::Settings,
    /// Where it is kept.
    pub store: store::Settings,
    /// Who is told.
    pub alert: alert::Settings,
    /// HTTP.
    pub serve: serve::Settings,
    /// What the agent may cost.
    pub governor: daemon::governor::settings::Settings,
}

impl Settings {
    /// Reads a file and checks it.
    ///
    /// # Errors
    /// It cannot be read, is no TOML of ours, or makes no sense; in one or a few lines that name the key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        let path = path.display();
        read.map_err(|error| format!("cannot read {path}: {error}"))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("{path}: longer than {MAX_BYTES} bytes"));
        }
        let settings = Self::parse(&text).map_err(|error| format!("{path}: {error}"))?;
        Ok(settings)
    }

    /// As [`Self::read`], from text.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            agent,
            watch,
            detect,
            evidence,
            store,
            alert,
            serve,
            governor,
        } = self;
        agent.check()?;
        watch.check()?;
        detect.check().map_err(|error| format!("detect.{error}"))?;
        evidence.check()?;
        store.check()?;
        alert.check()?;
        serve.check().map_err(|error| format!("serve.{error}"))?;
        governor.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_needs_to_be_written() {
        let settings = Settings::parse("").unwrap();
        assert_eq!(settings, Settings::default());
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(Settings::parse(&text).unwrap(), settings);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("[watch]\ntick = '1ms'", "watch.tick"),
            ("[detect]\nclear_percent = 0", "detect.clear_percent"),
            ("[evidence]\ndeadline = '1ms'", "evidence.deadline"),
            ("[store]\nmax_count = 0", "store.max_count"),
            ("[alert]\nqueue = 0", "alert.queue"),
            (
                "[serve.limits]\nconnections = 0",
                "serve.limits.connections",
            ),
            ("[governor]\ncpu_share = 0.0", "governor.cpu_share"),
            ("[agent]\ngrace = '0s'", "agent.grace"),
            ("[wacth]", "wacth"),
            ("[watch]\ntock = 1", "tock"),
            ("[watch", "line 1"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Settings::read(Path::new("/nowhere/holdup.toml")).unwrap_err();
        assert!(
            error.starts_with("cannot read /nowhere/holdup.toml: "),
            "{error}"
        );
        let error = Settings::read(Path::new("/dev/zero")).unwrap_err();
        assert!(error.contains("/dev/zero"), "{error}");
    }
}
