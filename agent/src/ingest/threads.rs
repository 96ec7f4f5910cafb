//! Threads that waited or woke, as the kernel side has them on record.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::AsFd,
};

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
        let more = more.iter().filter_map(Result::ok);
        self.waiting()
            .map(|thread| (thread.tid, thread))
            .chain(more.filter(|(_, thread)| thread.state != IDLE))
            .collect()
    }

    /// Threads of the array that are in a wait. Costs one cache line for each that is not.
    pub fn waiting(&self) -> impl Iterator<Item = Thread> {
        let places = u32::try_from(self.0.count()).unwrap_or(u32::MAX);
        (0..places).filter_map(|place| {
            let thread = self.0.at(place)?;
            // SAFETY: fields of a mapped element.
            let (tid, state) = unsafe {
                let tid = (&raw const (*thread).tid).read_volatile();
                (tid, (&raw const (*thread).state).read_volatile())
            };
            if tid == 0 || state == IDLE {
                return None;
            }
            let thread = self.0.get(place)?;
            // It may have gone on meanwhile.
            (thread.tid != 0 && thread.state != IDLE).then_some(thread)
        })
    }

    /// Those of these threads that are on record, waiting or not, by id.
    #[must_use]
    pub fn these(
        &self,
        more: &HashMap<&MapData, u32, Thread>,
        tids: &HashSet<u32>,
    ) -> BTreeMap<u32, Thread> {
        let elsewhere = tids
            .iter()
            .filter_map(|tid| Some((*tid, more.get(tid, 0).ok()?)));
        self.placed()
            .filter(|(tid, _)| tids.contains(tid))
            .chain(elsewhere)
            .collect()
    }

    fn placed(&self) -> impl Iterator<Item = (u32, Thread)> {
        self.0
            .iter()
            .filter(|(_, thread)| thread.tid != 0)
            .map(|(_, thread)| (thread.tid, thread))
    }
}
