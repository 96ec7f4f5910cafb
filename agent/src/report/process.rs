//! Facts about processes, read while they live.

use std::collections::HashMap;

use crate::{model, proc::process::Proc, symbol::Space};

/// Processes remembered.
const MAX_PROCESSES: usize = 16_384;

/// Processes that waited, as they were when first seen.
#[derive(Debug, Default)]
pub struct Processes {
    proc: Proc,
    seen: HashMap<Space, Facts>,
    /// Last generation seen of each process id.
    generations: HashMap<u32, u32>,
}

#[derive(Clone, Debug)]
struct Facts {
    process: model::process::Process,
    start_ticks: Option<u64>,
}

impl Processes {
    /// Reads what `/proc` says unless that was done before. After the limit, processes go by their id alone.
    pub fn meet(&mut self, space: Space) {
        if self.seen.contains_key(&space) || self.seen.len() >= MAX_PROCESSES {
            return;
        }
        let process = self.proc.describe(space.pid);
        let start_ticks = self.proc.stat(space.pid).map(|stat| stat.start_ticks);
        self.seen.insert(
            space,
            Facts {
                process,
                start_ticks,
            },
        );
        self.generations.insert(space.pid, space.generation);
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What was read of the last program under this id, or an entry with the id alone.
    #[must_use]
    pub fn latest(&self, pid: u32) -> model::process::Process {
        let generation = self.generations.get(&pid).copied().unwrap_or_default();
        let known = self.seen.get(&Space { pid, generation });
        known.map_or_else(
            || model::process::Process {
                pid,
                ..Default::default()
            },
            |facts| facts.process.clone(),
        )
    }

    /// The last program under each process id that was met, by process id.
    #[must_use]
    pub fn spaces(&self) -> Vec<Space> {
        let mut spaces: Vec<Space> = self
            .generations
            .iter()
            .map(|(&pid, &generation)| Space { pid, generation })
            .collect();
        spaces.sort_unstable();
        spaces
    }

    /// Whether the memory behind this process id is still that of `space`: not exited, reused or replaced by an exec.
    #[must_use]
    pub fn is_alive(&self, space: Space) -> bool {
        let started = self.seen.get(&space).and_then(|facts| facts.start_ticks);
        let same_program = self.generations.get(&space.pid) == Some(&space.generation);
        let now = self.proc.stat(space.pid);
        same_program
            && now.is_some_and(|stat| Some(stat.start_ticks) == started && stat.state != b'Z')
    }

    /// Process that a thread belongs to now.
    #[must_use]
    pub fn of_thread(&self, tid: u32) -> Option<u32> {
        self.proc.tgid(tid)
    }

    /// Last generation seen of a process id; 0 for one that was not met.
    #[must_use]
    pub fn generation(&self, pid: u32) -> u32 {
        self.generations.get(&pid).copied().unwrap_or_default()
    }

    /// Name of a thread of a process now; empty when it is gone.
    #[must_use]
    pub fn thread_comm(&self, pid: u32, tid: u32) -> String {
        self.proc.thread_comm(pid, tid).unwrap_or_default()
    }
}
