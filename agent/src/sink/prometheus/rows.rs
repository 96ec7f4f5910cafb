//! Which lock of this tick is which of the last one.

use std::{collections::HashMap, sync::Arc};

use crate::model::{
    Kind,
    watch::{Lock, ProcessKey},
};

/// Stands for no lock, and for no series.
pub const NONE: u32 = u32::MAX;

/// What is remembered of a lock until the next tick.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Place of its series; [`NONE`] for a kind that is not counted.
    pub series: u32,
    /// Threads that wait for it.
    pub waiters: u64,
    /// Monotonic time since which the longest one waits, in nanoseconds.
    pub oldest_since_ns: Option<u64>,
}

/// Names a row of a view.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    process: ProcessKey,
    address: u64,
    kind: Kind,
}

impl Key {
    const fn of(lock: &Lock) -> Self {
        Self {
            process: lock.process,
            address: lock.address,
            kind: lock.kind,
        }
    }
}

/// How many rows may be gone in one place without a search for the next one.
const AHEAD: usize = 8;

/// For each of `new` its position in `old`, or [`NONE`]. Views keep their order by and large, so that one pass finds
/// nearly all; only what is out of order is looked up.
pub fn matched(old: &[Arc<Lock>], new: &[Arc<Lock>]) -> Vec<u32> {
    let mut matched = Vec::with_capacity(new.len());
    let mut strangers = Vec::new();
    let mut skipped = Vec::new();
    let mut next = 0;
    for (position, lock) in new.iter().enumerate() {
        let ahead = &old[next..old.len().min(next + AHEAD)];
        if let Some(gap) = ahead.iter().position(|old| is_same(old, lock)) {
            skipped.extend(next..next + gap);
            matched.push(narrow(next + gap));
            next += gap + 1;
        } else {
            strangers.push(position);
            matched.push(NONE);
        }
    }
    if strangers.is_empty() {
        return matched;
    }
    skipped.extend(next..old.len());
    let mut left: HashMap<Key, usize> = skipped
        .into_iter()
        .map(|position| (Key::of(&old[position]), position))
        .collect();
    for position in strangers {
        if let Some(before) = left.remove(&Key::of(&new[position])) {
            matched[position] = narrow(before);
        }
    }
    matched
}

fn is_same(old: &Arc<Lock>, new: &Arc<Lock>) -> bool {
    Arc::ptr_eq(old, new) || Key::of(old) == Key::of(new)
}

fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lock(address: u64) -> Arc<Lock> {
        Arc::new(Lock {
            process: ProcessKey::default(),
            address,
            id: "mutex:1".into(),
            kind: Kind::Mutex,
            runtime: None,
            symbol: None,
            site: None,
            waiters: 0,
            waiters_peak: 0,
            oldest_since_ns: None,
            oldest_is_at_least: false,
            seen_ns: None,
            holder: None,
            abandoned: false,
            counts: None,
        })
    }

    fn addresses() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::btree_set(0..60_u64, 0..60)
            .prop_map(Vec::from_iter)
            .prop_shuffle()
    }

    proptest! {
        #[test]
        fn every_lock_is_found_whatever_the_order(
            old in addresses(),
            new in addresses(),
            sorted in any::<bool>(),
        ) {
            let (mut old, mut new) = (old, new);
            if sorted {
                old.sort_unstable();
                new.sort_unstable();
            }
            let [all_old, all_new] = [&old, &new].map(|all| all.iter().copied().map(lock).collect::<Vec<_>>());
            let wanted: Vec<u32> = new
                .iter()
                .map(|address| old.iter().position(|old| old == address).map_or(NONE, narrow))
                .collect();
            prop_assert_eq!(matched(&all_old, &all_new), wanted);
        }
    }
}
