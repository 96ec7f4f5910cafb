//! Distribution of wait times.

use std::collections::BTreeMap;

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

/// Adds up histograms, bucket by bucket, ascending.
#[must_use]
pub fn sum<'a>(histograms: impl IntoIterator<Item = &'a [Bucket]>) -> Vec<Bucket> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for bucket in histograms.into_iter().flatten() {
        let count = counts.entry(bucket.le_ns.unwrap_or(u64::MAX)).or_default();
        *count = count.saturating_add(bucket.count);
    }
    counts
        .into_iter()
        .map(|(le_ns, count)| Bucket {
            le_ns: (le_ns != u64::MAX).then_some(le_ns),
            count,
        })
        .collect()
}
