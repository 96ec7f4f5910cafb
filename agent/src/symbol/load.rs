//! Reading an address space's mappings and opening its modules.

use std::{rc::Rc, time::Instant};

use super::{
    limits::{Limits, Losses},
    module::{
        Module,
        image::Image,
        open::{FileId, Root, open_mapped},
        table::{Key, Table},
    },
    space::{AddressSpace, Instance, Run},
};
use crate::proc::{
    maps::{Mapping, Maps},
    memory::{Memory as _, Process},
};

/// Largest vdso, in bytes; real ones have two to four pages.
const MAX_VDSO: u64 = 64 << 10;
/// Executable mappings of one process whose files are looked at; a browser or a JVM has some hundred.
const MAX_EXECUTABLE: usize = 4096;
/// Most that the time between two readings grows by.
const MAX_PATIENCE: u32 = 8;

/// Reads the mappings of `space` again and opens what is new. What is gone stays known: a stack may still refer to it.
/// False when more modules are needed than may be open.
pub fn read(
    space: &mut AddressSpace,
    table: &mut Table,
    limits: &Limits,
    losses: &mut Losses,
) -> bool {
    let first = space.maps.0.is_empty();
    space.read_at = Instant::now();
    let pid = space.pid;
    let root = Root::of(pid);
    // A kernel thread has no mappings, and neither has a process that is ending.
    let maps = Maps::read(pid).ok().filter(|maps| !maps.0.is_empty());
    let Some(maps) = maps else {
        losses.maps_unreadable += u64::from(first);
        return true;
    };
    let run = Run::of(pid, &maps);
    if !first && run != space.run {
        // The id belongs to another program now.
        return true;
    }
    space.run = run;
    let mut news = false;
    let left_out = std::mem::take(&mut space.left_out);
    let known = std::mem::replace(&mut space.maps, maps);
    let executable: Vec<_> = space
        .maps
        .0
        .iter()
        .filter(|mapping| mapping.executable)
        .take(MAX_EXECUTABLE)
        .cloned()
        .collect();
    let mut unreadable = Vec::new();
    for mapping in executable {
        let old = known.find(mapping.start).is_some_and(|old| *old == mapping);
        news |= !old;
        if old && !left_out.contains(&mapping.start) {
            continue;
        }
        match add(space, &mapping, &root, table, limits) {
            Added::Done => {}
            Added::NoRoom => space.left_out.push(mapping.start),
            Added::TooMany => losses.module_limit += 1,
            Added::Unreadable => unreadable.push(mapping),
        }
    }
    losses.module_unreadable += still_mapped(space, &unreadable);
    space.patience = if news {
        limits.refresh
    } else {
        // Frame pointers that lead astray must not make us read a large file every second.
        (space.patience * 2).min(limits.refresh * MAX_PATIENCE)
    };
    space.open_perf_map(&root);
    space.left_out.is_empty()
}

/// How many of these are there still. What was unmapped while we read it, by an exec most of all, is no file that we failed
/// to open.
fn still_mapped(space: &AddressSpace, unreadable: &[Mapping]) -> u64 {
    if unreadable.is_empty() {
        return 0;
    }
    let Ok(now) = Maps::read(space.pid) else {
        return 0;
    };
    if Run::of(space.pid, &now) != space.run {
        return 0;
    }
    let there = |mapping: &&Mapping| now.find(mapping.start).is_some_and(|now| now == *mapping);
    unreadable.iter().filter(there).count() as u64
}

/// What became of an executable mapping.
enum Added {
    /// Its module is known now, or it has none.
    Done,
    /// There is no room for another module unless one is dropped.
    NoRoom,
    /// This process has too many.
    TooMany,
    /// No file, another file, or no ELF file.
    Unreadable,
}

/// Adds the module of an executable mapping.
fn add(
    space: &mut AddressSpace,
    mapping: &Mapping,
    root: &Root,
    table: &mut Table,
    limits: &Limits,
) -> Added {
    let pid = space.pid;
    let opened = if mapping.path == "[vdso]" {
        read_vdso(pid, mapping)
    } else if mapping.inode != 0
        && !mapping.path.starts_with("/memfd:")
        && !mapping.path.starts_with("/dev/zero")
    {
        open_mapped(pid, root, mapping).ok().and_then(|file| {
            let id = FileId::of(&file).ok()?;
            Some((Key::File(id), Image::File(file)))
        })
    } else {
        // Generated code, vsyscall: no file.
        return Added::Done;
    };
    let Some((key, image)) = opened else {
        return Added::Unreadable;
    };
    let module = match table.get(&key) {
        Some(module) => module,
        // One process alone must not push all others out.
        None if space.instances.len() >= limits.modules / 2 => return Added::TooMany,
        None if table.len() >= limits.modules => return Added::NoRoom,
        None => {
            let Ok(module) = Module::new(table.number(&key), image, root, &mapping.path, limits)
            else {
                return Added::Unreadable;
            };
            let module = Rc::new(module);
            table.insert(key, &module);
            module
        }
    };
    let place = || {
        let bias = module.bias(mapping.start, mapping.file_offset)?;
        let (start, end) = module.elf.extent()?;
        // The first segment is mapped from the start of its page on.
        let (start, end) = (start.wrapping_add(bias), end.wrapping_add(bias));
        (start <= mapping.start && mapping.start < end).then_some((bias, start, end))
    };
    let Some((bias, start, end)) = place() else {
        return Added::Unreadable;
    };
    if !space.has(mapping, bias, &module) {
        // A new library may lie where one was unloaded.
        space
            .instances
            .retain(|old| old.end <= start || end <= old.start);
        space.add(Instance {
            start,
            end,
            bias,
            path: mapping.path.clone(),
            module,
        });
    }
    Added::Done
}

fn read_vdso(pid: u32, mapping: &Mapping) -> Option<(Key, Image)> {
    let length = mapping.end - mapping.start;
    if length > MAX_VDSO {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    Process { pid }
        .read(mapping.start, &mut bytes)
        .then(|| (Key::Vdso(bytes.clone().into()), Image::Bytes(bytes.into())))
}
