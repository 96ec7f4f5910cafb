//! Stacks of goroutines that were sampled when they parked. Unwound as they come, and named at once: the process may end
//! before there is a report.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use holdup_abi::record::WaitSample;

use super::frames;
use crate::{
    ingest::decode::Stack,
    model::{Frame, RawFrame},
    proc::memory::{Memory, Process},
    runtime::go::{
        Census, Program,
        ages::Ages,
        binary::Binary,
        census::Options,
        operation::{self, Operation},
        pclntab::Named,
        stack::Unwinder,
    },
    symbol::Space,
};

/// Processes whose goroutines are followed.
const MAX_PROGRAMS: usize = 4_096;
/// Innermost addresses of a stack that tell what is wanted.
const MAX_CALLS: usize = 8;
/// Addresses of a program that are remembered with their names.
const MAX_NAMES: usize = 65_536;

/// Programs that were met.
#[derive(Debug, Default)]
pub struct Live {
    programs: HashMap<Space, Option<Known>>,
}

/// A program, and what was learned of it.
#[derive(Debug)]
pub struct Known {
    /// The program.
    pub program: Arc<Program>,
    binary: Option<Binary>,
    /// Who waited when we came.
    ages: Ages,
    unwinder: Unwinder,
    names: HashMap<u64, Arc<[Named]>>,
}

impl Known {
    fn new(program: Arc<Program>) -> Self {
        Self {
            binary: Binary::open(program.pid).ok(),
            program,
            ages: Ages::default(),
            unwinder: Unwinder::default(),
            names: HashMap::new(),
        }
    }

    /// Since when those wait that waited when we came.
    pub fn take_ages(&mut self) -> Ages {
        std::mem::take(&mut self.ages)
    }

    /// The activations at an address, innermost first; wrappers are left out as Go does.
    pub fn names(&mut self, address: u64) -> Arc<[Named]> {
        if let Some(names) = self.names.get(&address) {
            return Arc::clone(names);
        }
        let table = &self.program.table;
        let process = Process {
            pid: self.program.pid,
        };
        // The file is there when the process is gone.
        let memory: &dyn Memory = match &self.binary {
            Some(binary) => binary,
            None => &process,
        };
        let frames = table
            .find(address)
            .map(|function| table.frames(function, address, memory));
        let names: Arc<[Named]> = frames
            .into_iter()
            .flatten()
            .filter(|named| !named.is_wrapper)
            .collect();
        if self.names.len() < MAX_NAMES {
            self.names.insert(address, Arc::clone(&names));
        }
        names
    }

    /// Frames of a stack.
    pub fn frames(&mut self, stack: &[RawFrame]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for RawFrame { address, .. } in stack {
            let names = self.names(*address);
            let program = &self.program;
            frames.extend(
                names
                    .iter()
                    .map(|named| frames::frame(program, *address, named)),
            );
        }
        frames
    }

    /// What one wants who parks here.
    pub fn operation(&mut self, stack: &[RawFrame]) -> Operation {
        let names = stack.iter().take(MAX_CALLS);
        let names: Vec<Named> = names
            .flat_map(|frame| self.names(frame.address).to_vec())
            .collect();
        operation::of(&names, "")
    }

    /// Addresses of a stack without those functions that only tell how a goroutine parks: the same whether it was seen on
    /// its way there or at rest.
    pub fn from_lock(&mut self, addresses: &[u64]) -> Vec<RawFrame> {
        let parks = |known: &mut Self, address| {
            let names = known.names(address);
            !names.is_empty()
                && names
                    .iter()
                    .all(|named| operation::is_parking(&named.function))
        };
        let mut rest = addresses;
        while let [first, more @ ..] = rest
            && !more.is_empty()
            && parks(self, *first)
        {
            rest = more;
        }
        // Wrappers have no names.
        let frames = rest
            .iter()
            .filter(|address| !self.names(**address).is_empty());
        frames
            .map(|&address| RawFrame {
                address,
                guessed: false,
            })
            .collect()
    }
}

impl Live {
    /// What is known of the program that a process runs; `None` when it cannot be read.
    pub fn known(&mut self, space: Space) -> Option<&mut Known> {
        let is_full = self.programs.len() >= MAX_PROGRAMS;
        match self.programs.entry(space) {
            Entry::Occupied(known) => known.into_mut().as_mut(),
            Entry::Vacant(_) if is_full => None,
            Entry::Vacant(place) => {
                let program = Program::open(space.pid).ok();
                place
                    .insert(program.map(|program| Known::new(Arc::new(program))))
                    .as_mut()
            }
        }
    }

    /// Looks at who waits already, so that it is known later who still does.
    ///
    /// # Cost
    /// See [`Census::take`]; stacks are left out.
    pub fn look(&mut self, space: Space) {
        let options = Options {
            stacks: 0,
            ..Options::default()
        };
        if let Some(known) = self.known(space)
            && let Ok(census) = Census::take(Arc::clone(&known.program), options)
        {
            known.ages.note(&census);
        }
    }

    /// Since when those wait that waited when we came, for whoever looks on.
    pub fn take_ages(&mut self) -> HashMap<Space, Ages> {
        let known = self.programs.iter_mut();
        known
            .filter_map(|(space, known)| Some((*space, known.as_mut()?.take_ages())))
            .collect()
    }

    /// Takes a program that was read already.
    pub fn meet(&mut self, space: Space, program: &Arc<Program>) -> &mut Known {
        let known = self.programs.entry(space).or_default();
        known.get_or_insert_with(|| Known::new(Arc::clone(program)))
    }

    /// Unwinds a sample; empty when that is not possible.
    pub fn stack(&mut self, space: Space, head: &WaitSample, stack: &Stack<'_>) -> Vec<RawFrame> {
        let Some(known) = self.known(space) else {
            return Vec::new();
        };
        let addresses = match stack {
            Stack::Memory([]) => return Vec::new(),
            Stack::Memory(bytes) => {
                let table = &known.program.table;
                let (sp, pc) = (head.regs.sp, head.regs.pc);
                known.unwinder.walk_copy(table, sp, pc, bytes)
            }
            Stack::Addresses(addresses) => {
                // All but the first are return addresses.
                let inside = |(index, &at): (usize, &u64)| at.saturating_sub(u64::from(index > 0));
                addresses.iter().enumerate().map(inside).collect()
            }
        };
        known.from_lock(&addresses)
    }
}
