//! A histogram in one line: a block per power of two, and the range of times it covers.

use crate::{model::histogram::Bucket, sink::units};

/// Heights of a bucket that is not empty.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `▁▂█▅▁  ▁ 512 ns .. 17.1 s`; `None` for an empty histogram.
pub fn sparkline(buckets: &[Bucket]) -> Option<String> {
    let mut counts = [0_u64; holdup_abi::lock::BUCKETS];
    for bucket in buckets {
        if let Some(count) = counts.get_mut(index(bucket.le_ns)) {
            *count = count.saturating_add(bucket.count);
        }
    }
    let first = counts.iter().position(|&count| count > 0)?;
    let last = counts.iter().rposition(|&count| count > 0)?;
    let shown = counts.get(first..=last)?;
    let most = shown.iter().copied().max()?;
    let bars: String = shown.iter().map(|&count| bar(count, most)).collect();
    let low = match first
        .checked_sub(1)
        .and_then(holdup_abi::lock::bucket_le_ns)
    {
        Some(ns) => units::duration(ns),
        None => "0".to_owned(),
    };
    let high = match holdup_abi::lock::bucket_le_ns(last) {
        Some(ns) => units::duration(ns),
        None => "more".to_owned(),
    };
    Some(format!("{bars} {low} .. {high}"))
}

/// Bucket that durations up to `le_ns` belong to.
fn index(le_ns: Option<u64>) -> usize {
    le_ns.map_or(holdup_abi::lock::BUCKETS - 1, holdup_abi::lock::bucket)
}

/// A block for `count`, where `most` is the greatest there is.
pub fn bar(count: u64, most: u64) -> char {
    if count == 0 {
        return ' ';
    }
    // Any count at all is visible; only the greatest is full.
    let eighths = u128::from(count) * BLOCKS.len() as u128 / u128::from(most.max(1));
    let level = usize::try_from(eighths).unwrap_or(0).max(1) - 1;
    BLOCKS.get(level).copied().unwrap_or('█')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(Option<u64>, u64)]) -> Vec<Bucket> {
        let bucket = |&(le_ns, count): &(_, _)| Bucket { le_ns, count };
        counts.iter().map(bucket).collect()
    }

    #[test]
    fn blocks_are_relative_to_the_fullest_bucket() {
        let line = sparkline(&buckets(&[
            (Some(2048), 1),
            (Some(4096), 800),
            (Some(8192), 400),
            (Some(32768), 100),
        ]));
        assert_eq!(line.as_deref(), Some("▁█▄ ▁ 1.02 us .. 32.7 us"));
    }

    #[test]
    fn open_ends_and_nonsense() {
        assert_eq!(sparkline(&[]), None);
        assert_eq!(sparkline(&buckets(&[(Some(1024), 0)])), None);
        assert_eq!(
            sparkline(&buckets(&[(Some(1024), 1)])).as_deref(),
            Some("█ 0 .. 1.02 us")
        );
        let last = sparkline(&buckets(&[(None, u64::MAX), (None, 1)]));
        assert_eq!(last.as_deref(), Some("█ 1h 13m .. more"));
        assert!(sparkline(&buckets(&[(Some(0), 1), (Some(u64::MAX), 1)])).is_some());
    }
}
