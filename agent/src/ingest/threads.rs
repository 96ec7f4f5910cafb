//! Threads that are parked now, as the kernel side has them on record.

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
