//! `holdup.verdict/v1`: is this process, control group or pod held up? Made for liveness probes and exit statuses.

use serde::{Deserialize, Serialize};

use super::incident::Incident;

/// Value of `schema`.
pub const SCHEMA: &str = "holdup.verdict/v1";

/// Whom a verdict is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// One process, by its id in the initial pid namespace.
    Pid(u32),
    /// Every process in this control group, and in those below it: a path in the hierarchy.
    Cgroup(String),
    /// Every process of this Kubernetes pod: its uid, with dashes.
    Pod(String),
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing that would not go on by itself.
    Healthy,
    /// Threads are held up, and what holds them up does not move.
    Wedged,
    /// It cannot be told: the agent does not see the target, or not well enough. Never a reason to kill anybody.
    Unknown,
}

/// The answer with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The answer.
    pub health: Health,
    /// One sentence for a person.
    pub text: String,
    /// Open incidents that make it so; those that do not (a slow holder that moves) are not listed.
    pub incidents: Vec<Incident>,
}
