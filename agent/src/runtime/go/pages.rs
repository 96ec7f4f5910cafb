//! Memory of a target in pages, for structures that point to each other and lie close together.

use std::collections::HashMap;

use crate::proc::memory::Memory;

/// Bytes read at once.
const PAGE: u64 = 16 << 10;
/// Most pages kept: 128 MiB.
const MAX_PAGES: usize = 8192;

/// Reads through a cache. What it holds is as old as its first use.
pub struct Pages<'a> {
    memory: &'a dyn Memory,
    pages: HashMap<u64, Option<Box<[u8]>>>,
}

impl<'a> Pages<'a> {
    /// An empty cache.
    pub fn new(memory: &'a dyn Memory) -> Self {
        Self {
            memory,
            pages: HashMap::new(),
        }
    }

    fn page(&mut self, base: u64) -> Option<&[u8]> {
        if self.pages.len() >= MAX_PAGES && !self.pages.contains_key(&base) {
            self.pages.clear();
        }
        let memory = self.memory;
        self.pages
            .entry(base)
            .or_insert_with(|| {
                let mut bytes = vec![0; usize::try_from(PAGE).ok()?].into_boxed_slice();
                memory.read(base, &mut bytes).then_some(bytes)
            })
            .as_deref()
    }

    /// Fills `buffer`; false when any of it cannot be read.
    pub fn read(&mut self, address: u64, buffer: &mut [u8]) -> bool {
        let base = address & !(PAGE - 1);
        let mut copied = || {
            let start = usize::try_from(address - base).ok()?;
            let end = start.checked_add(buffer.len())?;
            buffer.copy_from_slice(self.page(base)?.get(start..end)?);
            Some(())
        };
        // Across two pages, or near memory that is not there.
        copied().is_some() || self.memory.read(address, buffer)
    }

    /// The word at an address.
    pub fn word(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)
            .then(|| u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::memory::Copied;

    #[test]
    fn inside_across_and_outside() {
        let bytes: Vec<u8> = (0..3 * PAGE)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        let memory = Copied {
            base: PAGE,
            bytes: &bytes,
        };
        let mut pages = Pages::new(&memory);
        for address in [PAGE, 2 * PAGE - 4, 4 * PAGE - 8] {
            assert_eq!(pages.word(address), memory.u64(address));
            assert!(pages.word(address).is_some());
        }
        assert_eq!(pages.word(4 * PAGE - 7), None);
        assert_eq!(pages.word(u64::MAX - 3), None);
    }
}
