//! Which locks are worth a series of their own.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::series::All;

/// The `most` locks of each owner by wait, the worst of all owners first. A lock that is shown wins a tie.
pub fn top(series: &All, most: usize) -> Vec<u32> {
    let mut best: Vec<BinaryHeap<Reverse<(u64, bool, u32)>>> = Vec::new();
    for (place, one) in series.iter() {
        if most == 0 || one.locks == 0 || !one.may_be_shown() {
            continue;
        }
        let owner = one.owner() as usize;
        if best.len() <= owner {
            best.resize_with(owner + 1, BinaryHeap::new);
        }
        let entry = Reverse((one.score(), one.shown.is_some(), place));
        if best[owner].len() < most {
            best[owner].push(entry);
        } else if let Some(mut least) = best[owner].peek_mut()
            && entry < *least
        {
            *least = entry;
        }
    }
    let mut all: Vec<_> = best.into_iter().flatten().collect();
    all.sort_unstable();
    all.into_iter()
        .map(|Reverse((_, _, place))| place)
        .collect()
}
