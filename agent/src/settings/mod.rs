//! The agent's configuration file (TOML). Every part keeps its own settings beside its code; they come together here.

pub mod duration;
