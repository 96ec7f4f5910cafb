//! Where an object of Go's heap begins and ends. Source: `src/runtime/{mheap,malloc}.go`.

use super::{
    globals,
    layout::{Layout, Mheap},
    pages::Pages,
    pclntab::Pclntab,
};
use crate::proc::memory::Memory;

/// `arenaBaseOffset`: addresses are signed.
const BASE: u64 = 1 << 47;
/// Bytes of an arena, and of a page.
const ARENA: u64 = 64 << 20;
const PAGE: u64 = 8 << 10;
/// Largest object whose bounds are told.
const MAX_OBJECT: u64 = 1 << 20;

/// The heap of a process.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    row: Mheap,
    /// Address of the table of arenas.
    arenas: u64,
}

impl Heap {
    /// Finds it, by an object of at least `size` bytes that is known to be on it.
    pub fn find(
        memory: &dyn Memory,
        layout: &Layout,
        table: &Pclntab,
        (known, size): (u64, u64),
    ) -> Option<Self> {
        let mut pages = Pages::new(memory);
        let heaps = globals::taken(memory, table, "runtime.mallocinit");
        heaps.into_iter().find_map(|heap| {
            let arenas = pages.word(heap.checked_add(layout.mheap.arenas)?)?;
            let found = Self {
                row: layout.mheap,
                arenas,
            };
            let (start, whole) = found.object(&mut pages, known)?;
            (start <= known && known + size <= start + whole).then_some(found)
        })
    }

    /// Begin and size of the object that an address lies in.
    pub fn object(&self, pages: &mut Pages<'_>, address: u64) -> Option<(u64, u64)> {
        let mut word = |base: u64, index: u64| pages.word(base.checked_add(index.checked_mul(8)?)?);
        let arena = word(self.arenas, address.checked_add(BASE)? / ARENA)?;
        let spans = arena.checked_add(self.row.spans).filter(|_| arena != 0)?;
        let span = word(spans, address % ARENA / PAGE)?;
        let mut field = |field: u64| word(span.checked_add(field).filter(|_| span != 0)?, 0);
        let (start, size) = (field(self.row.start)?, field(self.row.elem_size)?);
        let inside = address.checked_sub(start)?;
        (1..=MAX_OBJECT).contains(&size).then_some(())?;
        Some((start + inside / size * size, size))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{proc::memory::Copied, runtime::go::layout::of_minor};

    /// The table of arenas is at 0, so that its entry for low addresses is here.
    const ENTRY: u64 = BASE / ARENA * 8;

    /// An arena whose first page is a span of objects of 48 bytes from 0x800 on.
    fn memory() -> (Heap, Vec<u8>) {
        let row = of_minor(22).unwrap().mheap;
        let mut bytes = vec![0; usize::try_from(row.spans).unwrap() + 0x2_0000];
        let mut put = |at: u64, word: u64| {
            let at = usize::try_from(at).unwrap();
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        };
        put(0, ENTRY + 0x1_0000);
        put(0x1_0000 + row.spans, ENTRY + 0x100);
        put(0x100 + row.start, 0x800);
        put(0x100 + row.elem_size, 48);
        (Heap { row, arenas: 0 }, bytes)
    }

    fn object(heap: &Heap, bytes: &[u8], address: u64) -> Option<(u64, u64)> {
        let memory = Copied { base: ENTRY, bytes };
        heap.object(&mut Pages::new(&memory), address)
    }

    #[test]
    fn bounds_of_an_object() {
        let (heap, bytes) = memory();
        for address in [0x830, 0x838, 0x85f] {
            assert_eq!(object(&heap, &bytes, address), Some((0x830, 48)));
        }
        assert_eq!(object(&heap, &bytes, 0x860), Some((0x860, 48)));
        // Before the span, in a page without one, and in no arena.
        for address in [0x7ff, PAGE, ARENA, u64::MAX] {
            assert_eq!(object(&heap, &bytes, address), None, "{address:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_memory(
            words in proptest::collection::vec((0..0x80_usize, any::<u64>()), 0..32),
            address in 0..PAGE,
            wild in any::<u64>(),
        ) {
            let (mut heap, mut bytes) = memory();
            for (at, word) in words {
                bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
            }
            if let Some((start, size)) = object(&heap, &bytes, address) {
                prop_assert!(start <= address && address - start < size);
            }
            let _ = object(&heap, &bytes, wild);
            heap.arenas = wild;
            let _ = object(&heap, &bytes, address);
        }
    }
}
