//! Threads that waited or woke, as the kernel side has them on record.

use std::{io, os::fd::AsFd};

use aya::maps::{HashMap, MapData};
use holdup_abi::thread::{IDLE, Thread};

use super::mapped::Mapped;

/// Read-only view of the kernel's array of threads. Those without a place in it are in a hash besides.
#[derive(Debug)]
pub struct ThreadTable(Mapped<Thread>);

impl ThreadTable {
    /// Maps the array map `fd` of `count` elements, created with `BPF_F_MMAPABLE` (Linux 5.5).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map(fd: impl AsFd, count: usize) -> io::Result<Self> {
        Mapped::new(fd, count).map(Self)
    }

    /// Every thread in a wait, with its id; `more` is the hash. Threads that come or go meanwhile may be missed.
    #[must_use]
    pub fn parked(&self, more: &HashMap<&MapData, u32, Thread>) -> Vec<(u32, Thread)> {
        let placed = self
            .0
            .iter()
            .filter(|(_, thread)| thread.tid != 0)
            .map(|(_, thread)| (thread.tid, thread));
        placed
            .chain(more.iter().filter_map(Result::ok))
            .filter(|(_, thread)| thread.state != IDLE)
            .collect()
    }
}
