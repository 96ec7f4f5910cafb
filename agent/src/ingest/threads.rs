//! Threads as the kernel side has them on record: those that are parked now, and what others last did.

use std::collections::HashMap as StdHashMap;

use aya::maps::{HashMap, MapData};
use holdup_abi::thread::{IDLE, Thread};

/// Every thread in a wait, with its id. Threads that come or go meanwhile may be missed.
#[must_use]
pub fn parked(map: &HashMap<&MapData, u32, Thread>) -> Vec<(u32, Thread)> {
    map.iter()
        .filter_map(Result::ok)
        .filter(|(_, thread)| thread.state != IDLE)
        .collect()
}

/// These threads, waiting or not, as far as they are on record.
#[must_use]
pub fn these(
    map: &HashMap<&MapData, u32, Thread>,
    tids: impl Iterator<Item = u32>,
) -> StdHashMap<u32, Thread> {
    tids.filter_map(|tid| Some((tid, map.get(&tid, 0).ok()?)))
        .collect()
}
