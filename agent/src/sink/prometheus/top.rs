//! Which locks are worth a series of their own.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::series::All;

/// The `most` locks of each owner by wait, the worst of all owners first. A lock that is shown wins a tie.
pub fn top(series: &All, most: usize) -> Vec<u32> {
    let mut best: HashMap<u32, BinaryHeap<Reverse<(u64, bool, u32)>>> = HashMap::new();
    for (place, one) in series.iter() {
        if most == 0 || one.locks == 0 || !one.may_be_shown() {
            continue;
        }
        let entry = Reverse((one.score(), one.shown.is_some(), place));
        let best = best.entry(one.owner()).or_default();
        if best.len() < most {
            best.push(entry);
        } else if let Some(mut least) = best.peek_mut()
            && least.0 < entry.0
        {
            *least = entry;
        }
    }
    let mut all: Vec<_> = best.into_values().flatten().collect();
    all.sort_unstable();
    all.into_iter()
        .map(|Reverse((_, _, place))| place)
        .collect()
}
