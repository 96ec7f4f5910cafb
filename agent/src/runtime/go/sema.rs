//! Who waits for which semaphore: every blocked `Mutex`, `RWMutex` and `WaitGroup` is one. Source:
//! `src/runtime/sema.go`: a table of treaps, in each one node for an address, with a list of its further waiters.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{layout::Layout, pages::Pages};
use crate::{
    proc::memory::Memory,
    symbol::module::image::{u32_at, u64_at},
};

/// `semTabSize`.
const ROOTS: usize = 251;
/// Size of a root, padded to a cache line.
const ROOT_BYTES: usize = 64;
/// Largest waiter record that is believed.
const MAX_SUDOG: u64 = 256;
/// Waiters between two looks at the clock.
const LOOKS: usize = 256;
/// Most waiters.
const MAX_WAITERS: usize = 4 << 20;

/// What the table says.
#[derive(Debug, Default)]
pub struct Semaphores {
    /// Address of the semaphore that a goroutine (by its record's address) waits for.
    pub by_goroutine: HashMap<u64, u64>,
    /// Waiters that made no sense, or were on the move.
    pub torn: u64,
    /// There was no time for all of it.
    pub is_partial: bool,
}

/// A waiter's record (`runtime.sudog`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sudog {
    /// Who waits.
    pub g: u64,
    /// The next one of a queue; a child in a treap.
    pub next: u64,
    /// The one before; the other child in a treap.
    pub prev: u64,
    /// Address of the semaphore, or of the element that is sent.
    pub elem: u64,
    /// Further waiters: of the same semaphore, or the other channels of the same goroutine.
    pub waitlink: u64,
    /// The channel.
    pub channel: u64,
}

impl Sudog {
    /// Reads a waiter.
    pub fn read(pages: &mut Pages<'_>, layout: &Layout, address: u64) -> Option<Self> {
        let row = &layout.sudog;
        let size = usize::try_from(row.size)
            .ok()
            .filter(|_| row.size <= MAX_SUDOG)?;
        let mut buffer = [0; MAX_SUDOG as usize];
        let bytes = buffer.get_mut(..size)?;
        pages.read(address, bytes).then_some(())?;
        let word = |field: u64| u64_at(bytes, usize::try_from(field).ok()?);
        Some(Self {
            g: word(row.g)?,
            next: word(row.next)?,
            prev: word(row.prev)?,
            elem: word(row.elem)?,
            waitlink: word(row.waitlink)?,
            channel: word(row.c)?,
        })
    }
}

/// Reads the roots: for each its treap, and how many wait in it.
pub(super) fn roots(memory: &dyn Memory, layout: &Layout, table: u64) -> Option<Vec<(u64, u32)>> {
    let mut bytes = vec![0; ROOTS * ROOT_BYTES];
    memory.read(table, &mut bytes).then_some(())?;
    let treap = usize::try_from(layout.sema_root.treap).ok()?;
    let waiting = usize::try_from(layout.sema_root.nwait).ok()?;
    bytes
        .chunks_exact(ROOT_BYTES)
        .map(|root| Some((u64_at(root, treap)?, u32_at(root, waiting)?)))
        .collect()
}

/// Whether waiters for the semaphore at `address` are in the root of this number.
pub(super) fn is_root_of(address: u64, index: usize) -> bool {
    usize::try_from(address >> 3).is_ok_and(|number| number % ROOTS == index)
}

/// How many goroutines wait for semaphores now.
///
/// # Cost
/// One read of 16 KiB: about 1 us.
pub fn waiting(memory: &dyn Memory, layout: &Layout, table: u64) -> Option<u64> {
    let roots = roots(memory, layout, table)?;
    Some(roots.iter().map(|(_, waiting)| u64::from(*waiting)).sum())
}

/// Reads all waiters.
///
/// # Cost
/// About 1 us for each.
pub fn walk(memory: &dyn Memory, layout: &Layout, table: u64, deadline: Instant) -> Semaphores {
    let mut found = Semaphores::default();
    let mut pages = Pages::new(memory);
    let mut seen = HashSet::new();
    for (index, (treap, _)) in roots(memory, layout, table)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let mut nodes = vec![treap];
        while let Some(node) = nodes.pop() {
            if node == 0 {
                continue;
            }
            let mut head = None;
            let mut at = node;
            // The node, then its further waiters.
            while at != 0 {
                let is_late = seen.len() % LOOKS == 0 && Instant::now() >= deadline;
                if seen.len() >= MAX_WAITERS || is_late {
                    found.is_partial = true;
                    return found;
                }
                let sudog = Sudog::read(&mut pages, layout, at);
                let of = head.map_or_else(|| sudog.map(|sudog| sudog.elem), Some);
                // All waiters of a list wait for the same address, whose root this is.
                let fits = |sudog: &Sudog| {
                    sudog.g != 0 && Some(sudog.elem) == of && is_root_of(sudog.elem, index)
                };
                // A circle comes of a list that was changed while it was read.
                let Some(sudog) = sudog.filter(fits).filter(|_| seen.insert(at)) else {
                    found.torn += 1;
                    break;
                };
                if head.is_none() {
                    head = Some(sudog.elem);
                    nodes.extend([sudog.prev, sudog.next]);
                }
                found.by_goroutine.insert(sudog.g, sudog.elem);
                at = sudog.waitlink;
            }
        }
    }
    found
}

/// A table with two semaphores in one root.
#[cfg(test)]
pub(super) mod fixture {
    use super::{ROOT_BYTES, ROOTS};
    use crate::{
        proc::memory::Copied,
        runtime::go::layout::{Layout, of_minor},
    };

    pub const BASE: u64 = 0x10_0000;
    pub const TABLE: usize = ROOTS * ROOT_BYTES;
    pub const SIZE: usize = TABLE + 4 * WAITER;
    const WAITER: usize = 88;
    /// Shares root 1 with the semaphore at 8.
    pub const SECOND: u64 = 8 + 251 * 8;

    pub fn layout() -> &'static Layout {
        of_minor(22).unwrap()
    }

    pub fn copied(bytes: &[u8]) -> Copied<'_> {
        Copied { base: BASE, bytes }
    }

    pub fn put(bytes: &mut [u8], at: usize, word: u64) {
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    pub fn address(index: usize) -> u64 {
        BASE + (TABLE + index * WAITER) as u64
    }

    /// How many wait, as the root says.
    pub fn set_waiting(bytes: &mut [u8], count: u64) {
        put(bytes, ROOT_BYTES + 16, count);
    }

    /// Where a waiter leads to.
    pub fn set_link(bytes: &mut [u8], index: usize, to: u64) {
        put(bytes, TABLE + index * WAITER + 64, to);
    }

    /// The semaphore at 8 has waiters 1, 2, 3, the other one 4.
    pub fn memory() -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        put(&mut bytes, ROOT_BYTES + 8, address(0));
        set_waiting(&mut bytes, 4);
        for (index, g, next, elem, link) in [
            (0, 1, address(3), 8, address(1)),
            (1, 2, 0, 8, address(2)),
            (2, 3, 0, 8, 0),
            (3, 4, 0, SECOND, 0),
        ] {
            let at = TABLE + index * WAITER;
            put(&mut bytes, at, g);
            put(&mut bytes, at + 8, next);
            put(&mut bytes, at + 24, elem);
            set_link(&mut bytes, index, link);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{fixture::*, *};

    fn walked(bytes: &[u8]) -> Semaphores {
        let deadline = Instant::now() + Duration::from_secs(5);
        walk(&copied(bytes), layout(), BASE, deadline)
    }

    #[test]
    fn nodes_and_lists() {
        let bytes = memory();
        let found = walked(&bytes);
        let mut pairs: Vec<_> = found.by_goroutine.into_iter().collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [(1, 8), (2, 8), (3, 8), (4, SECOND)]);
        assert_eq!((found.torn, found.is_partial), (0, false));
        let memory = copied(&bytes);
        assert_eq!(waiting(&memory, layout(), BASE), Some(4));
        assert_eq!(waiting(&memory, layout(), 0), None);
    }

    #[test]
    fn circles_and_strangers_are_counted() {
        let mut bytes = memory();
        set_link(&mut bytes, 2, address(0));
        put(&mut bytes, TABLE + 3 * 88 + 24, 16);
        let found = walked(&bytes);
        assert_eq!((found.by_goroutine.len(), found.torn), (3, 2));
    }

    #[test]
    fn no_time() {
        let bytes = memory();
        assert!(walk(&copied(&bytes), layout(), BASE, Instant::now()).is_partial);
    }

    proptest! {
        #[test]
        fn any_damage(damage in proptest::collection::vec((0..SIZE, any::<u8>()), 0..64)) {
            let mut bytes = memory();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let found = walked(&bytes);
            prop_assert!(found.by_goroutine.len() <= 4);
        }

        #[test]
        fn pointers_to_anywhere_in_it(
            words in proptest::collection::vec((0..SIZE / 8, 0..352_u64), 0..64),
        ) {
            let mut bytes = memory();
            for (at, to) in words {
                put(&mut bytes, at * 8, BASE + TABLE as u64 + to);
            }
            let found = walked(&bytes);
            prop_assert!(!found.is_partial);
        }
    }
}
