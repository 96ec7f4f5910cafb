//! What was attached and why the rest was not.

use serde::{Deserialize, Serialize};

/// Whether a probe is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Attached.
    Attached,
    /// Not needed, because an alternative is attached or it was not asked for.
    Skipped,
    /// The kernel refused it.
    Unavailable,
}

/// One row of the probe table with its fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// Name of the probe, e.g. `futex_enter (tracepoint)`.
    pub probe: String,
    /// Its fate.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
}
