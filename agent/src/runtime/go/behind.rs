//! What lies behind pointers on stacks: a structure that a goroutine works with may only point to the lock.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{census::Census, heap::Heap, layout::Sudog, pages::Pages, suspect::Wanted};
use crate::proc::memory::Process;

/// Most bytes of a structure in which pointers are looked for.
const STRUCTURE: usize = 1024;
/// The same when it is not known where the structure ends: what lies beside it has nothing to do with it.
const BLIND: u64 = 64;
/// Most structures that are looked at.
const MAX_BEHIND: usize = 1 << 20;
/// Addresses that a program may have.
const POSSIBLE: Range<u64> = 0x1_0000..1 << 47;

/// Looks behind pointers: a structure that a goroutine works with may only point to the lock.
pub struct Behind<'a> {
    pages: Pages<'a>,
    wanted: HashMap<u64, usize>,
    /// Tells where structures begin and end.
    heap: Option<Heap>,
    layout: Sudog,
    /// Addresses of goroutines' records.
    goroutines: HashSet<u64>,
    /// What was found behind pointers that were looked at.
    known: HashMap<u64, Option<usize>>,
}

impl<'a> Behind<'a> {
    /// Will look for these.
    pub fn new(memory: &'a Process, census: &Census, wanted: &[Wanted]) -> Self {
        let layout = &census.program.layout;
        let goroutines = census.goroutines.iter();
        let goroutines: HashSet<u64> = goroutines.map(|g| g.record.address).collect();
        let known = census.goroutines.first();
        let known = known.map_or(0, |goroutine| goroutine.record.address);
        let table = &census.program.table;
        Self {
            heap: Heap::find(memory, layout, table, (known, layout.g.size)),
            ..Self::among(memory, layout.sudog, goroutines, wanted)
        }
    }

    fn among(
        memory: &'a Process,
        layout: Sudog,
        goroutines: HashSet<u64>,
        wanted: &[Wanted],
    ) -> Self {
        Self {
            pages: Pages::new(memory),
            wanted: wanted
                .iter()
                .enumerate()
                .map(|(index, wanted)| (wanted.address, index))
                .collect(),
            heap: None,
            layout,
            goroutines,
            known: HashMap::new(),
        }
    }

    /// Those of `wanted` to which structures point that a stack points to, with the number of such structures.
    /// `own` is where the stack lies.
    pub fn hits(&mut self, stack: &[u8], own: &Range<u64>) -> HashMap<usize, u64> {
        let (words, _) = stack.as_chunks::<8>();
        let pointers: HashSet<u64> = words
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .filter(|word| POSSIBLE.contains(word) && word.is_multiple_of(8))
            .filter(|word| !own.contains(word))
            .collect();
        let mut hits = HashMap::new();
        for pointer in pointers {
            if let Some(index) = self.look(pointer) {
                *hits.entry(index).or_default() += 1;
            }
        }
        hits
    }

    fn look(&mut self, pointer: u64) -> Option<usize> {
        if let Some(found) = self.known.get(&pointer) {
            return *found;
        }
        if self.known.len() >= MAX_BEHIND {
            return None;
        }
        let heap = self.heap;
        let bounds = heap.map_or(Some((pointer, BLIND)), |heap| {
            heap.object(&mut self.pages, pointer)
        });
        let (start, size) = bounds.unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(STRUCTURE).min(STRUCTURE);
        let mut bytes = [0; STRUCTURE];
        let bytes = bytes.get_mut(..size).unwrap_or_default();
        let is_read = self.pages.read(start, bytes);
        let (words, _) = bytes.as_chunks::<8>();
        let found = words.iter().zip(0..).filter(|_| is_read);
        let found = found.filter_map(|(word, number)| {
            let index = *self.wanted.get(&u64::from_le_bytes(*word))?;
            Some((start + 8 * number, index))
        });
        let found: Vec<(u64, usize)> = found.collect();
        let found = found.into_iter().find(|(at, _)| !self.is_waiter(*at));
        let found = found.map(|(_, index)| index);
        self.known.insert(pointer, found);
        found
    }

    /// Whether what points to a channel is the record of somebody's wait for it: those lie side by side.
    fn is_waiter(&mut self, at: u64) -> bool {
        let field = at
            .checked_sub(self.layout.c)
            .and_then(|sudog| sudog.checked_add(self.layout.g));
        let g = field.and_then(|field| self.pages.word(field));
        g.is_some_and(|g| self.goroutines.contains(&g))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::go::layout::of_minor;

    #[test]
    fn pointers_to_what_points_to_it() {
        // In our own memory: a structure whose second word is the address of a lock.
        let lock = 0_u64;
        let address = std::ptr::from_ref(&lock) as u64;
        let mut structure = [0_u64; STRUCTURE / 8];
        structure[1] = address;
        let other = [0_u64; STRUCTURE / 8];
        let wanted = [Wanted {
            address,
            size: 1,
            is_embedded: false,
            is_pointed_to: true,
            calls: &[],
            inside: &[],
            waiters: HashSet::new(),
        }];
        let memory = Process {
            pid: std::process::id(),
        };
        let layout = of_minor(27).unwrap().sudog;
        let goroutine = 0xabc0;
        let mut behind = Behind::among(&memory, layout, HashSet::from([goroutine]), &wanted);
        let stack = |pointers: &[u64]| -> Vec<u8> {
            pointers
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect()
        };
        let at = |words: &[u64]| words.as_ptr() as u64;
        let both = stack(&[at(&other), at(&structure), at(&structure), 8, u64::MAX]);
        assert_eq!(behind.hits(&both, &(0..0)), HashMap::from([(0, 1)]));
        assert_eq!(behind.hits(&stack(&[at(&other)]), &(0..0)), HashMap::new());
        // The stack itself.
        let own = at(&structure)..at(&structure) + 8;
        assert_eq!(behind.hits(&both, &own), HashMap::new());
        // The record of a wait.
        let mut waiter = [0_u64; STRUCTURE / 8];
        let field = |offset: u64| usize::try_from(offset / 8).unwrap();
        waiter[field(layout.g)] = goroutine;
        waiter[field(layout.c)] = address;
        assert_eq!(behind.hits(&stack(&[at(&waiter)]), &(0..0)), HashMap::new());
    }
}
