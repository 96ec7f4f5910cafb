//! Stacks to functions and lines: unwinding of sampled and of parked stacks, symbols, and names of static data.
//!
//! - [`Symbols`] is the only way in; it keeps one [`Space`] for each program that a process ran
//! - `module`: ELF files, opened as the target sees them; `load` and `space` put them at their addresses
//! - `unwind`: registers and stack memory to addresses
//! - `resolve`: addresses to functions, lines and variables
//!
//! Not here: which threads to look at, and whose memory to read (the caller brings both), nor frames of interpreters
//! and goroutines (`runtime`).
//!
//! Everything a target can influence is bounded by [`Limits`], and what was left out is counted in [`Losses`].

pub mod limits;
mod load;
pub(crate) mod module;
pub(crate) mod resolve;
#[cfg(test)]
mod scratch;
mod space;
mod unwind;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt::Write as _, rc::Rc, time::Instant};

use holdup_abi::record::Regs;

pub use self::limits::{Limits, Losses};
use self::{
    module::table::Table,
    resolve::Symbolizer,
    space::AddressSpace,
    unwind::{Bounds, Code as _, arch::NATIVE, words::Words},
};
use crate::{
    model::{Frame, RawFrame},
    proc::{maps::Mapping, memory::Memory},
};

/// One address space: an exec or a reused process id has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    /// Process id.
    pub pid: u32,
    /// Tells the programs apart that had this id.
    pub generation: u32,
}

/// Where an address lies in an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Path in the target's mount namespace, or `[vdso]`.
    pub module: String,
    /// GNU build id in hexadecimal, if the file has one.
    pub build_id: Option<String>,
    /// ELF virtual address.
    pub offset: u64,
    /// Function or variable that holds the address, demangled, as `name` or `name+0x10`.
    pub symbol: Option<String>,
}

/// Names an address of code that has no symbols, innermost activation first; gives nothing for what it does not know.
pub type Namer = Rc<dyn Fn(u64) -> Vec<Frame>>;

/// Unwinds and symbolises. Not `Send`: it belongs to one thread.
pub struct Symbols {
    limits: Limits,
    losses: Losses,
    spaces: HashMap<Space, AddressSpace>,
    modules: Table,
    symbolizer: Symbolizer,
    namers: HashMap<Space, Namer>,
    uses: u64,
}

impl Symbols {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            losses: Losses::default(),
            spaces: HashMap::new(),
            modules: Table::default(),
            symbolizer: Symbolizer::new(limits),
            namers: HashMap::new(),
            uses: 0,
        }
    }

    /// Reads a process's mappings and opens its files, so that its stacks can be named even when it is gone. Costs a
    /// look into a hash table when that was done before.
    pub fn load(&mut self, space: Space) {
        self.uses += 1;
        if let Some(known) = self.spaces.get_mut(&space) {
            known.used = self.uses;
            return;
        }
        while self.spaces.len() >= self.limits.spaces.max(1) {
            self.evict(space);
        }
        let mut new = AddressSpace::new(space.pid, self.limits.refresh);
        new.used = self.uses;
        self.spaces.insert(space, new);
        self.read(space);
    }

    /// Asks `namer` where the files of `space` have no symbols: some languages carry tables of their own. They have stacks
    /// of their own as well, one beside the other, so that a scan may run into another one's: what is guessed to be a
    /// call of theirs is none.
    pub fn name_with(&mut self, space: Space, namer: Namer) {
        self.namers.insert(space, namer);
    }

    /// Unwinds one stack of `space`, innermost frame first; never empty. `memory` holds at least the stack's upper
    /// end (a sampled copy), or is the whole process. A frame pointer of 0 means that it is not known.
    pub fn unwind(&mut self, space: Space, regs: Regs, memory: &dyn Memory) -> Vec<RawFrame> {
        self.load(space);
        let walk = self.walk(space, regs, memory);
        let walk = if walk.unknown && self.refresh(space) {
            self.walk(space, regs, memory)
        } else {
            walk
        };
        self.losses.unwind_truncated += u64::from(walk.truncated);
        if let Some(known) = self.spaces.get(&space) {
            let modules = known.instances.iter().map(|instance| &instance.module);
            let too_large = modules.filter(|module| module.take_too_large()).count();
            self.losses.module_too_large += too_large as u64;
        }
        walk.frames
    }

    /// Frames of a stack that the kernel unwound by frame pointers: the program counter, then return addresses. It
    /// ends at the first address that is no code, which is where frame pointers led astray.
    pub fn from_addresses(&mut self, space: Space, addresses: &[u64]) -> Vec<RawFrame> {
        self.load(space);
        let unknown = self.spaces.get(&space).is_some_and(|known| {
            addresses
                .iter()
                .any(|&address| !known.executable(address.saturating_sub(1)))
        });
        if unknown {
            self.refresh(space);
        }
        let Some(known) = self.spaces.get(&space) else {
            return Vec::new();
        };
        let lookups = addresses.iter().enumerate().map(|(index, &address)| {
            (address & NATIVE.address_mask).saturating_sub(u64::from(index > 0))
        });
        lookups
            .enumerate()
            .take(self.limits.frames)
            .take_while(|&(index, address)| index == 0 || known.executable(address))
            .map(|(_, address)| RawFrame {
                address,
                guessed: false,
            })
            .collect()
    }

    /// Names frames. An address in inlined code gives several frames, any other one exactly one.
    pub fn symbolize(&mut self, space: Space, frames: &[RawFrame]) -> Vec<Frame> {
        self.load(space);
        let mut named = Vec::with_capacity(frames.len());
        let namer = self.namers.get(&space).cloned();
        let is_of_another = |raw: &&RawFrame| {
            let namer = namer.as_ref().filter(|_| raw.guessed);
            namer.is_some_and(|namer| !namer(raw.address).is_empty())
        };
        for raw in frames.iter().take_while(|raw| !is_of_another(raw)) {
            let first = named.len();
            self.name(space, raw.address, &mut named);
            for frame in named.iter_mut().skip(first) {
                frame.guessed = raw.guessed;
                self.losses.unsymbolized += u64::from(frame.function.is_none());
            }
        }
        named
    }

    /// The module, place in it and symbol of an address of code or static data; nothing for heap, stacks and
    /// generated code.
    pub fn locate(&mut self, space: Space, address: u64) -> Option<Location> {
        self.load(space);
        let mapped = |known: &AddressSpace| known.instance(address).is_some();
        let known = self.spaces.get(&space)?;
        if !mapped(known) && known.maps.find(address).is_none() {
            self.refresh(space);
        }
        let instance = self.spaces.get(&space)?.instance(address)?;
        let offset = address.wrapping_sub(instance.bias);
        let build_id = instance.module.elf.build_id.as_ref().map(|id| {
            id.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        });
        Some(Location {
            module: resolve::name::path(&instance.path),
            build_id,
            offset,
            symbol: self
                .symbolizer
                .symbol(&instance.module, offset, &mut self.losses),
        })
    }

    /// The mapping that an address lies in, as it was when mappings were last read.
    pub fn mapping(&mut self, space: Space, address: u64) -> Option<Mapping> {
        self.load(space);
        let find = |known: &AddressSpace| known.maps.find(address).cloned();
        if let Some(mapping) = self.spaces.get(&space).and_then(find) {
            return Some(mapping);
        }
        self.refresh(space);
        self.spaces.get(&space).and_then(find)
    }

    /// Drops an address space, and with it the files that no other one needs.
    pub fn forget(&mut self, space: Space) {
        self.namers.remove(&space);
        self.spaces.remove(&space);
    }

    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    fn walk(&mut self, space: Space, regs: Regs, memory: &dyn Memory) -> unwind::Walk {
        let bounds = Bounds {
            frames: self.limits.frames.max(1),
            scan_words: self.limits.scan_words,
            deadline: Instant::now() + self.limits.stack_time,
        };
        self.spaces
            .get(&space)
            .map(|known| unwind::walk(&NATIVE, known, regs, &Words::new(memory), bounds))
            .unwrap_or_default()
    }

    fn name(&mut self, space: Space, address: u64, named: &mut Vec<Frame>) {
        let Some(known) = self.spaces.get_mut(&space) else {
            return;
        };
        if let Some(instance) = known.instance(address) {
            let offset = address.wrapping_sub(instance.bias);
            let found = self
                .symbolizer
                .frames(&instance.module, offset, &mut self.losses);
            let is_named = found.iter().any(|frame| frame.function.is_some());
            let namer = self.namers.get(&space).filter(|_| !is_named);
            let others = namer.map(|namer| namer(address)).unwrap_or_default();
            if !others.is_empty() {
                named.extend(others);
                return;
            }
            let module = resolve::name::path(&instance.path);
            named.extend(found.iter().map(|frame| Frame {
                module: Some(module.clone()),
                offset,
                ..frame.clone()
            }));
            return;
        }
        let mapping = known.maps.find(address);
        let module = mapping
            .filter(|mapping| !mapping.path.is_empty())
            .map(|mapping| resolve::name::path(&mapping.path));
        let function = known
            .generated(address, self.limits.perf_map_bytes, self.limits.refresh)
            .map(str::to_owned);
        named.push(Frame {
            function,
            module,
            offset: address,
            ..Frame::default()
        });
    }

    /// Reads the mappings again unless that was done just now.
    fn refresh(&mut self, space: Space) -> bool {
        let due = self
            .spaces
            .get(&space)
            .is_some_and(|known| known.read_at.elapsed() >= known.patience);
        if due {
            self.read(space);
        }
        due
    }

    fn read(&mut self, space: Space) {
        loop {
            let Some(known) = self.spaces.get_mut(&space) else {
                return;
            };
            let room = load::read(known, &mut self.modules, &self.limits, &mut self.losses);
            if room {
                return;
            }
            if !self.evict(space) {
                self.losses.module_limit += 1;
                return;
            }
        }
    }

    /// Drops the address space that was not used for longest, other than `keep`. False when there is none.
    fn evict(&mut self, keep: Space) -> bool {
        let others = self.spaces.iter().filter(|(space, _)| **space != keep);
        let Some(oldest) = others
            .min_by_key(|(_, known)| known.used)
            .map(|(space, _)| *space)
        else {
            return false;
        };
        self.spaces.remove(&oldest);
        self.losses.space_evicted += 1;
        true
    }
}
