//! Distribution of wait times.

use serde::{Deserialize, Serialize};

/// One non-empty bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Inclusive upper bound in nanoseconds, a power of two; null for the last bucket, which has none. The lower bound
    /// is half of it, exclusive (the first bucket starts at 0).
    pub le_ns: Option<u64>,
    /// Waits in this bucket alone (not cumulative).
    pub count: u64,
}
