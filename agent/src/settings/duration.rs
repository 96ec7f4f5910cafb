//! Durations as people write them in a configuration file (`250ms`, `5m`): for `#[serde(with = "...")]`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// Reads `1m 30s`.
///
/// # Errors
/// It is no text, or no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}

/// Writes `1m 30s`.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Settings {
        #[serde(with = "super")]
        wait: Duration,
    }

    #[test]
    fn as_people_write_them() {
        let settings: Settings = toml::from_str("wait = \"1m 30s\"").unwrap();
        assert_eq!(settings.wait, Duration::from_secs(90));
        assert_eq!(toml::to_string(&settings).unwrap(), "wait = \"1m 30s\"\n");
        for wrong in ["wait = 5", "wait = \"soon\"", "wait = \"-1s\""] {
            assert!(toml::from_str::<Settings>(wrong).is_err(), "{wrong}");
        }
    }
}
