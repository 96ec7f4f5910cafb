//! Call frame information of one module: `.eh_frame`, else `.debug_frame`.
//!
//! gimli decodes it; this file bounds what a hostile file can make it do, which is why the lookup tables are read here.

use std::rc::Rc;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, DebugFrameOffset, EhFrame, EhFrameOffset,
    EndianSlice, FrameDescriptionEntry, LittleEndian, RegisterRule, UnwindContext,
    UnwindExpression, UnwindSection, UnwindTableRow, Vendor,
};

use super::{
    arch::NATIVE,
    index::{Header, Index},
    rule::{Cfa, Row, Saved},
};
use crate::symbol::module::{
    elf::{self, Elf},
    image::Image,
};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Longest entry that is interpreted, in bytes; the longest of real programs have some ten thousand.
const MAX_ENTRY: usize = 1 << 16;
/// Longest expression that is kept, in bytes.
const MAX_EXPRESSION: usize = 1024;
/// Most entries that are put into an index.
const MAX_ENTRIES: usize = 4 << 20;

/// Call frame information of one module.
pub struct Cfi {
    tables: Vec<Table>,
    /// A section was left out because it is larger than the limit.
    pub too_large: bool,
}

struct Table {
    debug: bool,
    data: Vec<u8>,
    bases: BaseAddresses,
    index: Index,
}

impl Cfi {
    /// Reads the sections of a module and of its debug file, each at most `limit` bytes long.
    pub fn load(module: (&Image, &Elf), debug: Option<(&Image, &Elf)>, limit: u64) -> Self {
        let mut cfi = Self {
            tables: Vec::new(),
            too_large: false,
        };
        cfi.add_eh_frame(module, limit);
        for (image, elf) in [Some(module), debug].into_iter().flatten() {
            if let Some(section) = elf.section(".debug_frame") {
                match elf::contents(image, section, limit) {
                    Some(data) => cfi.tables.push(Table::debug_frame(data)),
                    None => cfi.too_large = true,
                }
            }
        }
        cfi
    }

    /// The rules at an ELF virtual address.
    pub fn row(&self, address: u64) -> Option<Row> {
        self.tables.iter().find_map(|table| table.row(address))
    }

    fn add_eh_frame(&mut self, (image, elf): (&Image, &Elf), limit: u64) {
        let start = |name| elf.section(name).map_or(0, |section| section.address);
        let bases = BaseAddresses::default()
            .set_text(start(".text"))
            .set_got(start(".got"));
        let header = Header::load(image, elf, limit);
        let found = match elf.section(".eh_frame") {
            Some(section) => {
                elf::contents(image, section, limit).map(|data| (section.address, data))
            }
            // No section headers: the program header leads to the table, and the table to the section.
            None => match header.as_ref().and_then(|header| header.frame_address(elf)) {
                Some((address, offset, size)) => {
                    image.read(offset, size, limit).map(|data| (address, data))
                }
                None => return,
            },
        };
        match found {
            Some((address, data)) => {
                let bases = bases.set_eh_frame(address);
                self.tables
                    .push(Table::eh_frame(data, bases, address, header));
            }
            None => self.too_large = true,
        }
    }
}

impl Table {
    fn eh_frame(data: Vec<u8>, bases: BaseAddresses, address: u64, header: Option<Header>) -> Self {
        let index = match header {
            Some(header) => Index::Header(header, address),
            None => {
                let section = eh_frame(&data);
                Index::Sorted(index(&section, &bases))
            }
        };
        Self {
            debug: false,
            data,
            bases,
            index,
        }
    }

    fn debug_frame(data: Vec<u8>) -> Self {
        let bases = BaseAddresses::default();
        let entries = index(&debug_frame(&data), &bases);
        Self {
            debug: true,
            data,
            bases,
            index: Index::Sorted(entries),
        }
    }

    fn row(&self, address: u64) -> Option<Row> {
        let offset = self.index.find(address)?;
        if self.debug {
            let section = debug_frame(&self.data);
            let fde = section
                .fde_from_offset(
                    &self.bases,
                    DebugFrameOffset(offset),
                    DebugFrame::cie_from_offset,
                )
                .ok()?;
            row(&section, &self.bases, &fde, address)
        } else {
            let section = eh_frame(&self.data);
            let fde = section
                .fde_from_offset(&self.bases, EhFrameOffset(offset), EhFrame::cie_from_offset)
                .ok()?;
            row(&section, &self.bases, &fde, address)
        }
    }
}

fn vendor() -> Vendor {
    if cfg!(target_arch = "aarch64") {
        Vendor::AArch64
    } else {
        Vendor::Default
    }
}

fn eh_frame(data: &[u8]) -> EhFrame<Slice<'_>> {
    let mut section = EhFrame::new(data, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(vendor());
    section
}

fn debug_frame(data: &[u8]) -> DebugFrame<Slice<'_>> {
    let mut section = DebugFrame::new(data, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(vendor());
    section
}

/// Every entry's first address and offset, ascending.
fn index<'a, S: UnwindSection<Slice<'a>>>(section: &S, bases: &BaseAddresses) -> Vec<(u64, usize)> {
    let mut found = Vec::new();
    let mut entries = section.entries(bases);
    let mut last_cie = None;
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let fde = partial.parse(|section: &S, bases, offset| {
            // One common entry serves thousands in a row.
            if let Some((known, cie)) = &last_cie
                && *known == offset
            {
                return Ok(Clone::clone(cie));
            }
            let cie = section.cie_from_offset(bases, offset)?;
            last_cie = Some((offset, cie.clone()));
            Ok(cie)
        });
        if let Ok(fde) = fde
            && fde.len() > 0
        {
            found.push((fde.initial_address(), fde.offset()));
        }
        if found.len() >= MAX_ENTRIES {
            break;
        }
    }
    found.sort_unstable();
    found
}

fn row<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    fde: &FrameDescriptionEntry<Slice<'a>>,
    address: u64,
) -> Option<Row> {
    let short = fde.entry_len() <= MAX_ENTRY && fde.cie().entry_len() <= MAX_ENTRY;
    (short && fde.contains(address)).then_some(())?;
    let mut context = UnwindContext::new();
    let row = fde
        .unwind_info_for_address(section, bases, &mut context, address)
        .ok()?;
    translate(section, row, fde.is_signal_trampoline())
}

fn translate<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    row: &UnwindTableRow<usize>,
    signal: bool,
) -> Option<Row> {
    let expression = |expression: UnwindExpression<usize>| -> Option<Rc<[u8]>> {
        let bytes = expression.get(section).ok()?.0.slice();
        (bytes.len() <= MAX_EXPRESSION).then(|| bytes.into())
    };
    let saved = |register, otherwise| {
        Some(match row.register(register) {
            None => otherwise,
            Some(RegisterRule::Undefined) => Saved::Undefined,
            Some(RegisterRule::SameValue) => Saved::Same,
            Some(RegisterRule::Offset(offset)) => Saved::AtCfa(offset),
            Some(RegisterRule::ValOffset(offset)) => Saved::Cfa(offset),
            Some(RegisterRule::Register(register)) => Saved::Register(register),
            Some(RegisterRule::Expression(code)) => Saved::At(expression(code)?),
            Some(RegisterRule::ValExpression(code)) => Saved::Value(expression(code)?),
            Some(_) => return None,
        })
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => Cfa::Offset(*register, *offset),
        CfaRule::Expression(code) => Cfa::Expression(expression(*code)?),
    };
    let in_register = if NATIVE.link_register {
        Saved::Same
    } else {
        Saved::Undefined
    };
    Some(Row {
        cfa,
        return_address: saved(NATIVE.return_address, in_register)?,
        frame_pointer: saved(NATIVE.frame_pointer, Saved::Same)?,
        signal,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn own() -> (Image, Elf) {
        let image = Image::Bytes(std::fs::read("/proc/self/exe").unwrap().into());
        let elf = Elf::parse(&image).unwrap();
        (image, elf)
    }

    /// ELF virtual address of some code of this file.
    fn code(elf: &Elf) -> u64 {
        elf.section(".text").unwrap().address + 0x10000
    }

    #[test]
    fn header_and_index_agree() {
        let (image, elf) = own();
        let cfi = Cfi::load((&image, &elf), None, 1 << 30);
        let table = &cfi.tables[0];
        assert!(matches!(table.index, Index::Header(..)));
        let sorted = index(&eh_frame(&table.data), &table.bases);
        assert!(sorted.len() > 1000);
        let by_index = Table {
            debug: false,
            data: table.data.clone(),
            bases: table.bases.clone(),
            index: Index::Sorted(sorted),
        };
        let mut covered = 0;
        for step in 0..2000 {
            let address = code(&elf) + step * 61;
            let row = table.row(address);
            assert_eq!(row, by_index.row(address), "{address:x}");
            covered += usize::from(row.is_some());
        }
        assert!(covered > 1000, "{covered}");
    }

    #[test]
    fn works_without_section_headers() {
        let (image, mut elf) = own();
        let address = code(&elf);
        let with = Cfi::load((&image, &elf), None, 1 << 30);
        elf.sections.clear();
        let without = Cfi::load((&image, &elf), None, 1 << 30);
        let found = (0..100).find_map(|step| with.row(address + step));
        assert!(found.is_some());
        assert_eq!(found, (0..100).find_map(|step| without.row(address + step)));
    }

    #[test]
    fn a_limit_is_told() {
        let (image, elf) = own();
        let cfi = Cfi::load((&image, &elf), None, 100);
        assert!(cfi.too_large && cfi.row(code(&elf)).is_none());
    }

    proptest! {
        #[test]
        fn any_eh_frame_is_survived(data in proptest::collection::vec(any::<u8>(), 0..512), address: u64) {
            let table = Table::eh_frame(data.clone(), BaseAddresses::default().set_eh_frame(0), 0, None);
            table.row(address);
            Table::debug_frame(data).row(address);
        }

        #[test]
        fn damaged_eh_frame_is_survived(damage in proptest::collection::vec((0usize..600, any::<u8>()), 1..16)) {
            // One common entry and one frame: def_cfa, offsets, advances, an expression that loops.
            let mut data = vec![
                0x14, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0, 0xc, 7, 8, 0x90, 1, 0, 0,
                0x1c, 0, 0, 0, 0x1c, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                0x44, 0xe, 16, 0x86, 2, 0xf, 3, 0x2f, 0xfd, 0xff,
            ];
            for (at, byte) in damage {
                let length = data.len();
                data[at % length] = byte;
            }
            let table = Table::eh_frame(data, BaseAddresses::default().set_eh_frame(0), 0, None);
            for address in [0, 0x1000, 0x1004, 0x1010, u64::MAX] {
                table.row(address);
            }
        }
    }
}
