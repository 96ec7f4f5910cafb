//! `holdup.diff/v1`: two documents compared, lock by lock.

use serde::{Deserialize, Serialize};

use super::Kind;

/// Value of `schema`.
pub const SCHEMA: &str = "holdup.diff/v1";

/// How a lock has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// More is waited for it.
    Worse,
    /// Nobody waited for it before.
    New,
    /// Less is waited for it.
    Better,
    /// Nobody waits for it any more.
    Gone,
    /// It differs by less than chance does.
    Same,
}

impl Trend {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::New => "new",
            Self::Better => "better",
            Self::Gone => "gone",
            Self::Same => "same",
        }
    }
}

/// One of the two documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its schema.
    pub document: String,
    /// When it was begun, RFC 3339.
    pub at: String,
    /// Time that its counts cover, in nanoseconds; null for a moment.
    pub duration_ns: Option<u64>,
}

/// What a document says of all locks of one id and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Threads that waited, on average over the time that the document covers: a wait that goes on counts as if it was as
    /// long as the oldest. For a moment, `waiters`.
    pub waiting: f64,
    /// Threads that waited at the end.
    pub waiters: u64,
    /// Age of the longest wait that went on, in nanoseconds.
    pub oldest_wait_ns: Option<u64>,
    /// Waits that ended, for each second; null for a moment.
    pub waits_per_second: Option<f64>,
    /// Mean of those in nanoseconds; null when there were none.
    pub mean_wait_ns: Option<u64>,
    /// Longest of those in nanoseconds; null when there were none, or when it is not known.
    pub max_wait_ns: Option<u64>,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockDiff {
    /// Stable id: locks are matched by it, and by kind. Those of several processes that run the same program are one.
    pub id: String,
    /// Kind.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// How it has changed, judged by `waiting`.
    pub trend: Trend,
    /// Change of `waiting` in percent; null from or to nothing.
    pub change_percent: Option<f64>,
    /// Before; null when it is not in the document.
    pub before: Option<Measure>,
    /// After; null likewise.
    pub after: Option<Measure>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: String,
    /// The first document.
    pub before: Side,
    /// The second one.
    pub after: Side,
    /// Locks: those that changed for the worse first, by how much.
    pub locks: Vec<LockDiff>,
}
