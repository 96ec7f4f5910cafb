//! Uprobes, and what is watched by them alone.

use std::collections::HashSet;

use aya::Ebpf;
use holdup_abi::{lock::LockKey, uprobe::PRICES};

use super::{Plane, PlaneError, census_error, map_error};
use crate::{
    ingest::{clock::monotonic_ns, goroutines},
    probe::uprobe::{self, Links, Site, Uprobes},
};

impl Plane {
    /// Attaches a uprobe program, when [`uprobes`](crate::probe::plan::Wanted::uprobes) were wanted. See [`Uprobes::attach`].
    ///
    /// # Errors
    /// Nothing could be attached.
    pub fn probe(
        &mut self,
        program: &str,
        sites: &[Site],
        scope: Option<u32>,
    ) -> Result<Links, uprobe::AttachError> {
        self.uprobes
            .get_or_insert_with(Uprobes::single_only)
            .attach(&mut self.attached.ebpf, program, sites, scope)
    }

    /// What attaches uprobes, when [`uprobes`](crate::probe::plan::Wanted::uprobes) were wanted, and the object that it needs for that.
    pub fn uprobes(&mut self) -> Option<(&mut Uprobes, &mut Ebpf)> {
        Some((self.uprobes.as_mut()?, &mut self.attached.ebpf))
    }

    /// Hits of uprobes so far, by price.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn hits(&self) -> Result<[u64; PRICES as usize], PlaneError> {
        uprobe::hits(&self.attached.ebpf).map_err(map_error("HITS"))
    }

    /// Notes that goroutines are watched from now on.
    pub fn watch_goroutines(&mut self) {
        self.goroutines_since_ns.get_or_insert_with(monotonic_ns);
    }

    /// Waits of goroutines that go on, once those of processes that are gone are accounted. None when the uprobes were
    /// taken away: any of them may be over.
    ///
    /// # Errors
    /// A table cannot be used.
    pub fn goroutines(&mut self) -> Result<goroutines::Waits, PlaneError> {
        let failed = |source| PlaneError::Map {
            name: "GO_WAITS",
            source,
        };
        let mut waits = goroutines::waits(self.object()).map_err(failed)?;
        if waits.is_empty() || self.uprobes.as_ref().is_some_and(Uprobes::is_taken_away) {
            return Ok(goroutines::Waits::new());
        }
        let id = |key: &LockKey| (key.tgid, key.generation);
        let mut lives: HashSet<(u32, u32)> = waits.values().map(|wait| id(&wait.key)).collect();
        if self.has_census() {
            let tasks = self.census().map_err(census_error)?;
            let seen: HashSet<_> = tasks
                .iter()
                .map(|task| (task.tgid, task.generation))
                .collect();
            lives.retain(|process| seen.contains(process));
        }
        // Go keeps the first thread to the last: when that has ended, the others are about to.
        let proc = crate::proc::process::Proc::default();
        lives.retain(|(pid, _)| proc.stat(*pid).is_some_and(|stat| stat.state != b'Z'));
        let lives = |key: &LockKey| lives.contains(&id(key));
        let Self {
            attached, locks, ..
        } = self;
        goroutines::settle(&mut attached.ebpf, locks, &waits, lives).map_err(failed)?;
        waits.retain(|_, wait| lives(&wait.key));
        Ok(waits)
    }
}
