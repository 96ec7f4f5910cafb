//! The executable of a process, and where it lies in memory.

use std::io;

use crate::{
    proc::memory::Memory,
    symbol::module::{
        elf::{Elf, LOAD, Section, contents},
        image::{Image, u32_at, u64_at},
        open::open_regular,
    },
};

/// `EM_X86_64`.
const X86_64: u16 = 62;
/// `AT_ENTRY`: where the program was entered.
const AT_ENTRY: u64 = 9;
/// Offset of `e_entry` in the ELF header.
const E_ENTRY: usize = 24;
/// Largest auxiliary vector; the kernel writes some 20 entries.
const MAX_AUXV: usize = 4096;
/// Largest section that is read: that of the biggest programs is about 60 MiB.
const MAX_SECTION_BYTES: u64 = 256 << 20;
/// `PF_W`.
const WRITE: u32 = 2;
/// `st_name`, `st_value` and `st_size` in a symbol of 24 bytes.
const SYMBOL_BYTES: usize = 24;

/// An open executable.
#[derive(Debug)]
pub struct Binary {
    /// Its bytes.
    pub image: Image,
    /// Its headers.
    pub elf: Elf,
    /// What to add to an ELF virtual address, wrapping.
    pub bias: u64,
}

/// A symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Address in memory.
    pub address: u64,
    /// Size in bytes; 0 when not known.
    pub size: u64,
}

impl Binary {
    /// Opens what process `pid` executes, deleted or in a container as it may be.
    ///
    /// # Errors
    /// The process is gone, may not be looked at, or executes no ELF file.
    pub fn open(pid: u32) -> io::Result<Self> {
        let image = Image::File(open_regular(format!("/proc/{pid}/exe"))?);
        let elf = Elf::parse(&image).map_err(io::Error::other)?;
        let header = image.read(0, 64, 64).ok_or(io::ErrorKind::InvalidData)?;
        let auxv = std::fs::read(format!("/proc/{pid}/auxv"))?;
        let bias = bias(&header, &auxv).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { image, elf, bias })
    }

    /// Whether it is made for the processor whose code we can read.
    #[must_use]
    pub const fn is_x86_64(&self) -> bool {
        self.elf.machine == X86_64
    }

    /// Address in memory and bytes in the file of the first section of these that is there.
    #[must_use]
    pub fn section(&self, names: &[&str]) -> Option<(u64, Vec<u8>)> {
        let section = names.iter().find_map(|name| self.elf.section(name))?;
        let bytes = contents(&self.image, section, MAX_SECTION_BYTES)?;
        Some((section.address.wrapping_add(self.bias), bytes))
    }

    /// Address in memory and size of a section, also of one without bytes in the file.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<(u64, u64)> {
        let section = self
            .elf
            .sections
            .iter()
            .find(|section| section.name == name)?;
        Some((section.address.wrapping_add(self.bias), section.size))
    }

    /// Address in memory and bytes in the file of each segment that is not writable, or that is.
    pub fn segments(&self, writable: bool) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.elf
            .segments
            .iter()
            .filter(move |segment| segment.kind == LOAD && (segment.flags & WRITE != 0) == writable)
            .filter_map(|segment| {
                let bytes =
                    self.image
                        .read(segment.offset, segment.file_size, MAX_SECTION_BYTES)?;
                Some((segment.address.wrapping_add(self.bias), bytes))
            })
    }

    /// The symbols of these names, where the program has a symbol table.
    #[must_use]
    pub fn symbols<const N: usize>(&self, names: [&str; N]) -> [Option<Symbol>; N] {
        let read = || {
            let table = self.elf.section(".symtab")?;
            let strings = self.elf.sections.get(usize::try_from(table.link).ok()?)?;
            let bytes = |section: &Section| contents(&self.image, section, MAX_SECTION_BYTES);
            Some(symbols(&bytes(table)?, &bytes(strings)?, self.bias, names))
        };
        read().unwrap_or([None; N])
    }
}

/// What the file has at an address of the process, whether that lives or not.
impl Memory for Binary {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let address = address.wrapping_sub(self.bias);
        let length = buffer.len() as u64;
        let bytes = self.elf.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            let fits = segment.kind == LOAD && inside.checked_add(length)? <= segment.file_size;
            let offset = segment.offset.checked_add(inside).filter(|_| fits)?;
            self.image.read(offset, length, length)
        });
        bytes.is_some_and(|bytes| {
            buffer.copy_from_slice(&bytes);
            true
        })
    }
}

fn bias(header: &[u8], auxv: &[u8]) -> Option<u64> {
    let entry = u64_at(header, E_ENTRY)?;
    let (pairs, _) = auxv.get(..auxv.len().min(MAX_AUXV))?.as_chunks::<16>();
    let entered = pairs
        .iter()
        .find(|pair| u64_at(*pair, 0) == Some(AT_ENTRY))
        .and_then(|pair| u64_at(pair, 8))?;
    Some(entered.wrapping_sub(entry))
}

fn symbols<const N: usize>(
    table: &[u8],
    strings: &[u8],
    bias: u64,
    names: [&str; N],
) -> [Option<Symbol>; N] {
    let mut found = [None; N];
    for symbol in table.chunks_exact(SYMBOL_BYTES) {
        let name = || {
            let start = usize::try_from(u32_at(symbol, 0)?).ok()?;
            strings.get(start..)
        };
        let (Some(text), Some(value), Some(size)) = (name(), u64_at(symbol, 8), u64_at(symbol, 16))
        else {
            continue;
        };
        for (name, slot) in names.iter().zip(&mut found) {
            let rest = text.strip_prefix(name.as_bytes());
            if slot.is_none() && value != 0 && rest.is_some_and(|rest| rest.first() == Some(&0)) {
                *slot = Some(Symbol {
                    address: value.wrapping_add(bias),
                    size,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_no_go_program_but_have_an_entry() {
        let own = Binary::open(std::process::id()).unwrap();
        assert!(own.place(".go.buildinfo").is_none());
        let (text, size) = own.place(".text").unwrap();
        let here = we_are_no_go_program_but_have_an_entry as *const () as u64;
        assert!((text..text + size).contains(&here), "the bias is right");
        assert!(Binary::open(u32::MAX).is_err());
    }

    #[test]
    fn symbols_by_whole_names() {
        let strings = b"\0runtime.allgs\0runtime.allgsx\0";
        let mut table = vec![0; 48];
        table[0] = 15;
        table[8] = 7;
        table[24] = 1;
        table[32] = 9;
        table[40] = 24;
        let [allgs, none] = symbols(&table, strings, 0x1000, ["runtime.allgs", "main"]);
        let expected = Symbol {
            address: 0x1009,
            size: 24,
        };
        assert_eq!((allgs, none), (Some(expected), None));
    }
}
