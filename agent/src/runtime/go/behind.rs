//! What lies behind pointers on stacks: a structure that a goroutine works with may only point to the lock.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{pages::Pages, suspect::Wanted};
use crate::proc::memory::Process;

/// Bytes of a structure in which pointers are looked for.
const STRUCTURE: usize = 256;
/// Most structures that are looked at.
const MAX_BEHIND: usize = 1 << 20;
/// Addresses that a program may have.
const POSSIBLE: Range<u64> = 0x1_0000..1 << 47;

/// Looks behind pointers: a structure that a goroutine works with may only point to the lock.
pub struct Behind<'a> {
    pages: Pages<'a>,
    wanted: HashMap<u64, usize>,
    /// What was found behind pointers that were looked at.
    known: HashMap<u64, Option<usize>>,
}

impl<'a> Behind<'a> {
    /// Will look for these.
    pub fn new(memory: &'a Process, wanted: &[Wanted]) -> Self {
        Self {
            pages: Pages::new(memory),
            wanted: wanted
                .iter()
                .enumerate()
                .map(|(index, wanted)| (wanted.address, index))
                .collect(),
            known: HashMap::new(),
        }
    }

    /// Those of `wanted` to which structures point that a stack points to, with the number of such structures.
    pub fn hits(&mut self, stack: &[u8]) -> HashMap<usize, u64> {
        let (words, _) = stack.as_chunks::<8>();
        let pointers: HashSet<u64> = words
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .filter(|word| POSSIBLE.contains(word) && word.is_multiple_of(8))
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
        let mut bytes = [0; STRUCTURE];
        let is_read = self.pages.read(pointer, &mut bytes);
        let (words, _) = bytes.as_chunks::<8>();
        let found = words
            .iter()
            .filter(|_| is_read)
            .find_map(|word| self.wanted.get(&u64::from_le_bytes(*word)))
            .copied();
        self.known.insert(pointer, found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut behind = Behind::new(&memory, &wanted);
        let stack = |pointers: &[u64]| -> Vec<u8> {
            pointers
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect()
        };
        let at = |words: &[u64]| words.as_ptr() as u64;
        let both = stack(&[at(&other), at(&structure), at(&structure), 8, u64::MAX]);
        assert_eq!(behind.hits(&both), HashMap::from([(0, 1)]));
        assert_eq!(behind.hits(&stack(&[at(&other)])), HashMap::new());
    }
}
