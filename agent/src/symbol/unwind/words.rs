//! Stack words, read a page at a time: a system call for each word would cost more than all the rest.

use std::cell::RefCell;

use crate::proc::memory::Memory;

const PAGE: usize = 4096;
/// Pages kept for one stack: twice what the deepest scan spans.
const MAX_PAGES: usize = 16;

/// A page number and its bytes, or nothing for a page that cannot be read as a whole.
type Page = (u64, Option<Box<[u8; PAGE]>>);

/// One stack's memory.
pub struct Words<'a> {
    memory: &'a dyn Memory,
    pages: RefCell<Vec<Page>>,
}

impl<'a> Words<'a> {
    /// Reads from `memory`.
    pub fn new(memory: &'a dyn Memory) -> Self {
        Self {
            memory,
            pages: RefCell::default(),
        }
    }

    /// The word at `address`.
    pub fn read(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address % PAGE as u64).ok()?;
        if offset > PAGE - 8 {
            return self.memory.u64(address);
        }
        let number = address / PAGE as u64;
        let mut pages = self.pages.borrow_mut();
        let index = pages.iter().position(|page| page.0 == number);
        if index.is_none() {
            let mut page = Box::new([0; PAGE]);
            let whole = self.memory.read(number * PAGE as u64, &mut *page);
            if pages.len() >= MAX_PAGES {
                pages.remove(0);
            }
            pages.push((number, whole.then_some(page)));
        }
        let at = index.unwrap_or(pages.len().saturating_sub(1));
        match &pages.get(at)?.1 {
            Some(page) => Some(u64::from_le_bytes(*page.get(offset..)?.first_chunk()?)),
            // A sampled stack begins and ends inside a page.
            None => self.memory.u64(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::memory::Copied;

    #[test]
    fn reads_whole_and_partial_pages() {
        let bytes: Vec<u8> = (0..2 * PAGE).map(|byte| (byte % 251) as u8).collect();
        let base = 0x7000_0000_0f80;
        let copied = Copied {
            base,
            bytes: &bytes,
        };
        let words = Words::new(&copied);
        for offset in [0, 8, 0x7c, 0x80, 0x100, PAGE, 2 * PAGE - 8] {
            let expected = u64::from_le_bytes(*bytes[offset..].first_chunk().unwrap());
            assert_eq!(words.read(base + offset as u64), Some(expected), "{offset}");
        }
        assert_eq!(words.read(base - 1), None);
        assert_eq!(words.read(base + 2 * PAGE as u64 - 7), None);
        assert_eq!(words.read(u64::MAX), None);
        assert_eq!(words.read(u64::MAX - 8), None);
    }
}
