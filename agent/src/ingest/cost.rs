//! What the maps cost, as the kernel accounts it.

use std::os::fd::{AsFd, AsRawFd as _};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use serde::Serialize;

use crate::probe::object;

/// One map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapCost {
    /// Name in the object.
    pub name: String,
    /// Capacity in elements (bytes for the ring buffer).
    pub capacity: u64,
    /// Kernel memory in bytes.
    pub memory_bytes: u64,
    /// What happens when it is full.
    pub when_full: &'static str,
}

/// What each map does when it is full; the others cannot be.
const WHEN_FULL: &[(&str, &str)] = &[
    (
        "MORE_THREADS",
        "waits of further threads are not accounted: threads_full",
    ),
    (
        "THREADS",
        "a thread whose place is taken goes to MORE_THREADS",
    ),
    ("THREAD_OWNERS", "further threads go to MORE_THREADS"),
    (
        "LOCK_SLOTS",
        "waits on further locks are not accounted: locks_full",
    ),
    (
        "FREE_SLOTS",
        "waits on further locks are not accounted: locks_full",
    ),
    (
        "LOCKS",
        "waits on further locks are not accounted: locks_full",
    ),
    (
        "HOLDS",
        "waits on further locks are not accounted: locks_full",
    ),
    (
        "HOLDS_BESIDE",
        "holds of further locks with two words are not accounted: holds_full",
    ),
    (
        "GO_WAITS",
        "waits of further goroutines are not accounted: go_waits_full",
    ),
    (
        "GO_ENDED",
        "waits of goroutines end when the agent sees that their process is gone",
    ),
    (
        "SAMPLES",
        "samples are dropped, counts stay exact: ring_full",
    ),
    ("TARGETS", "further processes are not watched: targets_full"),
    (
        "ENTRY_SLOTS",
        "calls for further locks are not accounted: entry_locks_full",
    ),
    (
        "ENTRY_LOCKS",
        "calls for further locks are not accounted: entry_locks_full",
    ),
    (
        "ENTRY_FREE",
        "calls for further locks are not accounted: entry_locks_full",
    ),
    (
        "ENTRY_THREADS",
        "calls of further threads are not accounted: entry_threads_full",
    ),
    (
        "ENTRY_EDGES",
        "further pairs of locks are not noted: entry_edges_full",
    ),
];

/// Lists the maps of a loaded object, largest first. The kernel tells memory in `fdinfo` (all versions).
#[must_use]
pub fn of(ebpf: &Ebpf, ring: &RingBuf<MapData>) -> Vec<MapCost> {
    let mut costs: Vec<MapCost> = ebpf
        .maps()
        .filter_map(|(name, map)| cost(name, object::data(map)?.fd()))
        .collect();
    costs.extend(cost("SAMPLES", ring));
    costs.sort_by(|a, b| {
        b.memory_bytes
            .cmp(&a.memory_bytes)
            .then_with(|| a.name.cmp(&b.name))
    });
    costs
}

fn cost(name: &str, fd: impl AsFd) -> Option<MapCost> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(path).ok()?;
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().parse().ok()
    };
    let when_full = WHEN_FULL
        .iter()
        .find(|(map, _)| *map == name)
        .map(|(_, what)| *what);
    Some(MapCost {
        name: name.to_owned(),
        capacity: field("max_entries")?,
        memory_bytes: field("memlock")?,
        when_full: when_full.unwrap_or("never full: one element per purpose"),
    })
}
