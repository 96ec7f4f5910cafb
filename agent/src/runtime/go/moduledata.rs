//! What the linker says of the program's parts. Source: `src/runtime/symtab.go`, `moduledata`.

use super::{binary::Binary, layout::Layout, pclntab::Header};
use crate::{proc::memory::Memory, symbol::module::image::u64_at};

/// Sections that it lies in: Go 1.26 and later, then earlier ones, with and without position-independent code.
const SECTIONS: [&str; 4] = [".go.module", ".noptrdata", ".data", ".data.rel.ro"];
/// Most bytes of a section that are searched.
const MAX_SEARCHED: u64 = 64 << 20;

/// Addresses in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moduledata {
    /// Where code begins.
    pub text: u64,
    /// Where code ends.
    pub etext: u64,
    /// Where static data begin.
    pub data: u64,
    /// Where static data end.
    pub data_end: u64,
    /// What offsets of function data are relative to.
    pub gofunc: u64,
}

impl Moduledata {
    /// Finds and reads it; `None` when the program has none that fits its function table at `pclntab`.
    #[must_use]
    pub fn find(
        binary: &Binary,
        memory: &dyn Memory,
        layout: &Layout,
        (pclntab, header): (u64, Header),
    ) -> Option<Self> {
        let sections = SECTIONS.iter().filter_map(|name| binary.place(name));
        // Without section headers, anywhere in the data.
        let segments: Vec<(u64, u64)> = if binary.elf.sections.is_empty() {
            let (writable, others) = (binary.segments(true), binary.segments(false));
            writable
                .chain(others)
                .map(|(address, bytes)| (address, bytes.len() as u64))
                .collect()
        } else {
            Vec::new()
        };
        sections.chain(segments).find_map(|(address, size)| {
            let mut bytes = vec![0; usize::try_from(size.min(MAX_SEARCHED)).ok()?];
            memory.read(address, &mut bytes).then_some(())?;
            search(&bytes, layout, pclntab, header.functions)
        })
    }
}

fn search(bytes: &[u8], layout: &Layout, pclntab: u64, functions: u64) -> Option<Moduledata> {
    let size = usize::try_from(layout.moduledata.size).ok()?;
    (0..bytes.len().checked_sub(size)? + 1)
        .step_by(8)
        .find_map(|start| {
            // Most words are something else: asked first.
            (u64_at(bytes, start)? == pclntab).then_some(())?;
            decode(bytes.get(start..start + size)?, layout, functions)
        })
}

fn decode(bytes: &[u8], layout: &Layout, functions: u64) -> Option<Moduledata> {
    let word = |field: u64| u64_at(bytes, usize::try_from(field).ok()?);
    let row = &layout.moduledata;
    let found = Moduledata {
        text: word(row.text)?,
        etext: word(row.etext)?,
        data: word(row.noptrdata)?,
        data_end: word(row.enoptrbss)?,
        gofunc: word(row.gofunc)?,
    };
    let fits = word(row.ftab_len)? == functions + 1
        && found.text < found.etext
        && found.data < found.data_end;
    fits.then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::go::layout::of_minor;

    fn row() -> &'static Layout {
        of_minor(22).unwrap()
    }

    fn data() -> Vec<u8> {
        let row = row().moduledata;
        let mut bytes = vec![0; 64 + usize::try_from(row.size).unwrap()];
        let words = [
            (0, 0x5000),
            (row.ftab_len, 11),
            (row.text, 0x1000),
            (row.etext, 0x2000),
            (row.noptrdata, 0x7000),
            (row.enoptrbss, 0x9000),
            (row.gofunc, 0x6000),
        ];
        for (field, word) in words {
            let at = 64 + usize::try_from(field).unwrap();
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(word));
        }
        bytes
    }

    #[test]
    fn found_by_what_it_says() {
        let found = search(&data(), row(), 0x5000, 10).unwrap();
        assert_eq!((found.text, found.gofunc), (0x1000, 0x6000));
        assert_eq!(search(&data(), row(), 0x5000, 11), None);
        assert_eq!(search(&data(), row(), 0x5008, 10), None);
        assert_eq!(search(&[], row(), 0x5000, 10), None);
    }

    proptest! {
        #[test]
        fn any_damage(damage in proptest::collection::vec((0..600_usize, any::<u8>()), 0..64)) {
            let mut bytes = data();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            if let Some(found) = search(&bytes, row(), 0x5000, 10) {
                prop_assert!(found.text < found.etext && found.data < found.data_end);
            }
        }
    }
}
