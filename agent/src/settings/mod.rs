//! The agent's configuration file (TOML). Every part keeps its own settings beside its code; they come together here.

pub mod duration;

use serde::{Deserialize, Serialize};

use crate::detect;

/// The whole file. Every table and every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is an incident, and which of them are alerts.
    pub detect: detect::settings::Settings,
    // One line for each further part, here and in `check`.
}
