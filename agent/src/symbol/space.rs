//! One address space: what is mapped where, as of the last time that it was looked at.

use std::{
    fs::File,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    module::{Module, open::Root},
    resolve::perf_map::PerfMap,
    unwind::{Code, rule::Row},
};
use crate::proc::{
    maps::{Mapping, Maps},
    memory::{Memory, Process},
};

/// A module's place in an address space.
pub struct Instance {
    /// First address.
    pub start: u64,
    /// First address after it, with the memory that no file backs (`.bss`).
    pub end: u64,
    /// Address in memory minus ELF virtual address, wrapping.
    pub bias: u64,
    /// Path in the target's mount namespace.
    pub path: String,
    /// The file.
    pub module: Rc<Module>,
}

/// What tells one program run from the next in a process id: start time and place of the vdso, which is random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    started: u64,
    vdso: u64,
}

impl Run {
    /// The program that process `pid` with these mappings runs.
    pub fn of(pid: u32, maps: &Maps) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may contain anything; the start time is the 20th field after it.
        let started = stat
            .rsplit_once(')')
            .and_then(|(_, fields)| fields.split_whitespace().nth(19))
            .and_then(|field| field.parse().ok())
            .unwrap_or(0);
        let vdso = maps.0.iter().find(|mapping| mapping.path == "[vdso]");
        Self {
            started,
            vdso: vdso.map_or(0, |mapping| mapping.start),
        }
    }
}

/// One address space.
pub struct AddressSpace {
    /// Process id, which may be another process's by now.
    pub pid: u32,
    /// Its mappings.
    pub maps: Maps,
    /// Its modules, by first address.
    pub instances: Vec<Instance>,
    /// First addresses of mappings whose module was left out for want of room.
    pub left_out: Vec<u64>,
    /// What it ran when the mappings were read.
    pub run: Run,
    /// When the mappings were read.
    pub read_at: Instant,
    /// How long to wait before they are read again; grows while that brings nothing new.
    pub patience: Duration,
    /// When it was used last, as a number of uses.
    pub used: u64,
    perf_file: Option<File>,
    perf_map: Option<(PerfMap, Instant)>,
}

impl AddressSpace {
    /// Without mappings. They are not read again before `refresh` has passed.
    pub fn new(pid: u32, refresh: Duration) -> Self {
        Self {
            pid,
            maps: Maps::default(),
            instances: Vec::new(),
            left_out: Vec::new(),
            run: Run::default(),
            read_at: Instant::now(),
            patience: refresh,
            used: 0,
            perf_file: None,
            perf_map: None,
        }
    }

    /// The module that `address` belongs to.
    pub fn instance(&self, address: u64) -> Option<&Instance> {
        let after = self
            .instances
            .partition_point(|instance| instance.start <= address);
        let before = self.instances.get(..after)?;
        before.last().filter(|instance| address < instance.end)
    }

    /// Whether a file is already mapped as this module at this place.
    pub fn has(&self, mapping: &Mapping, bias: u64, module: &Rc<Module>) -> bool {
        self.instance(mapping.start)
            .is_some_and(|known| known.bias == bias && Rc::ptr_eq(&known.module, module))
    }

    /// Adds a module.
    pub fn add(&mut self, instance: Instance) {
        let at = self
            .instances
            .partition_point(|known| known.start <= instance.start);
        self.instances.insert(at, instance);
    }

    /// Opens the perf map if there is generated code.
    pub fn open_perf_map(&mut self, root: &Root) {
        let generated = self.maps.0.iter().any(is_generated);
        if self.perf_file.is_none() && generated {
            self.perf_file = PerfMap::open(self.pid, root);
        }
    }

    /// The name of a generated function.
    pub fn generated(&mut self, address: u64, limit: u64, refresh: Duration) -> Option<&str> {
        let file = self.perf_file.as_ref()?;
        let stale = match &self.perf_map {
            // It grows as code is generated.
            Some((map, read_at)) => map.find(address).is_none() && read_at.elapsed() >= refresh,
            None => true,
        };
        if stale {
            self.perf_map = Some((PerfMap::read(file, limit), Instant::now()));
        }
        self.perf_map.as_ref()?.0.find(address)
    }
}

/// Code that no file holds.
pub fn is_generated(mapping: &Mapping) -> bool {
    mapping.executable
        && (mapping.inode == 0 || mapping.path.starts_with("/memfd:"))
        && !mapping.path.starts_with("[v")
}

impl Code for AddressSpace {
    fn executable(&self, address: u64) -> bool {
        self.maps
            .find(address)
            .is_some_and(|mapping| mapping.executable)
    }

    fn in_module(&self, address: u64) -> bool {
        self.instance(address).is_some()
    }

    fn row(&self, address: u64) -> Option<Row> {
        let instance = self.instance(address)?;
        instance.module.row(address.wrapping_sub(instance.bias))
    }

    fn before(&self, address: u64, buffer: &mut [u8]) -> bool {
        let Some(start) = address.checked_sub(buffer.len() as u64) else {
            return false;
        };
        // The file first: it is there for dead processes and sampled stacks too.
        let mut in_file = || {
            let instance = self.instance(start)?;
            let wanted = start.wrapping_sub(instance.bias);
            let elf = &instance.module.elf;
            let offset = elf.loads().find_map(|segment| {
                let inside = wanted.checked_sub(segment.address)?;
                (inside < segment.file_size).then(|| segment.offset.checked_add(inside))?
            })?;
            instance.module.image.fill(offset, buffer).then_some(())
        };
        if in_file().is_some() {
            return true;
        }
        // Generated code may begin with its mapping: what is before is no part of an instruction.
        let first = self.maps.find(address.saturating_sub(1));
        let missing = first.map_or(0, |mapping| mapping.start.saturating_sub(start));
        let (before, code) = buffer.split_at_mut((missing as usize).min(buffer.len()));
        before.fill(0);
        Process { pid: self.pid }.read(start.saturating_add(missing), code)
    }
}
