//! A copy of a module's symbols and debug information, for blazesym.
//!
//! blazesym maps the file that it is given. A file that shrinks under a mapping kills the reader, and a library that
//! is overwritten in place does shrink; so blazesym gets a private copy, in memory, of just the sections it needs.
//! That also joins a stripped module with its debug file, keeps blazesym from following links to files that a target
//! names, and bounds what is read. Addresses stay as they are.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Seek as _, Write as _},
    os::fd::{FromRawFd as _, OwnedFd},
};

use super::units;
use crate::symbol::module::{
    Module,
    elf::{self, Elf},
    image::Image,
};

/// What blazesym reads for lines and inlined functions. Locations of variables are large and not needed.
const DEBUG: [&str; 11] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
    ".debug_types",
];
const MEMORY_NAME: &CStr = c"holdup-symbols";
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const DYNSYM: u32 = 11;
const SYMBOL_BYTES: u64 = 24;

/// A copy.
pub struct Slim {
    /// The file in memory.
    pub file: File,
    /// Its length in bytes.
    pub bytes: u64,
    /// Debug information had to be left out.
    pub without_debug: bool,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum SlimError {
    /// Even the symbol tables are above the limit.
    #[error("the symbol tables are too large")]
    TooLarge,
    /// No memory file.
    #[error("no file in memory")]
    Io(#[from] io::Error),
}

/// Copies the symbols of `module`, at most `limit` bytes.
pub fn copy(module: &Module, limit: u64) -> Result<Slim, SlimError> {
    let own = (&module.image, &module.elf);
    let debug = module.debug.as_ref().map(|(image, elf)| (image, elf));
    let sources = [debug, Some(own)];
    let with = |name: &str| {
        let mut sources = sources.into_iter().flatten();
        sources.find(|(_, elf)| elf.section(name).is_some())
    };
    let mut writer = Writer::new(module.elf.machine, limit)?;
    if let Some((image, elf)) = with(".symtab") {
        writer.symbols(image, elf, ".symtab", SYMTAB, ".strtab")?;
    }
    // The debug file has only a hole in its place.
    writer.symbols(own.0, own.1, ".dynsym", DYNSYM, ".dynstr")?;
    let mut without_debug = false;
    if let Some((image, elf)) = with(".debug_info") {
        without_debug = writer.debug(image, elf)?;
    }
    let (file, bytes) = writer.finish()?;
    Ok(Slim {
        file,
        bytes,
        without_debug,
    })
}

/// Writes an ELF file section by section: one section's bytes at a time are held besides the copy.
struct Writer {
    file: File,
    at: u64,
    limit: u64,
    machine: u16,
    names: Vec<u8>,
    headers: Vec<[u8; 64]>,
}

impl Writer {
    fn new(machine: u16, limit: u64) -> io::Result<Self> {
        // SAFETY: the name is NUL-terminated.
        let fd = unsafe { libc::memfd_create(MEMORY_NAME.as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave this descriptor to us alone.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        let mut writer = Self {
            file,
            at: 0,
            limit,
            machine,
            names: vec![0],
            headers: vec![[0; 64]],
        };
        writer.file.write_all(&[0; 64])?;
        writer.at = 64;
        Ok(writer)
    }

    fn symbols(
        &mut self,
        image: &Image,
        elf: &Elf,
        name: &str,
        kind: u32,
        strings_name: &str,
    ) -> Result<(), SlimError> {
        let Some(section) = elf.section(name) else {
            return Ok(());
        };
        let Some(strings) = elf.sections.get(section.link as usize) else {
            return Ok(());
        };
        let room = self.room();
        if section.size.saturating_add(strings.size) > room {
            return Err(SlimError::TooLarge);
        }
        let (Some(mut table), Some(strings)) = (
            elf::contents(image, section, room),
            elf::contents(image, strings, room),
        ) else {
            return Ok(());
        };
        table.truncate(table.len() - table.len() % SYMBOL_BYTES as usize);
        let link = u32::try_from(self.headers.len()).unwrap_or(0) + 1;
        self.add(name, kind, link, SYMBOL_BYTES, &table)?;
        self.add(strings_name, STRTAB, 0, 0, &strings)?;
        Ok(())
    }

    /// True when there was no room.
    fn debug(&mut self, image: &Image, elf: &Elf) -> io::Result<bool> {
        let (start, sections, names) = (self.at, self.headers.len(), self.names.len());
        for section in DEBUG.iter().filter_map(|name| elf.section(name)) {
            let bytes = elf::contents(image, section, self.room())
                .filter(|bytes| units::acceptable(&section.name, bytes));
            let Some(bytes) = bytes else {
                // Some sections without the others would only mislead.
                self.headers.truncate(sections);
                self.names.truncate(names);
                self.file.set_len(start)?;
                self.file.seek(io::SeekFrom::Start(start))?;
                self.at = start;
                return Ok(true);
            };
            self.add(&section.name, PROGBITS, 0, 0, &bytes)?;
        }
        Ok(false)
    }

    fn room(&self) -> u64 {
        self.limit.saturating_sub(self.at)
    }

    fn add(
        &mut self,
        name: &str,
        kind: u32,
        link: u32,
        entry: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut header = [0; 64];
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(field) = header.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        let name_at = u32::try_from(self.names.len()).unwrap_or(0);
        put(0, &name_at.to_le_bytes());
        put(4, &kind.to_le_bytes());
        put(24, &self.at.to_le_bytes());
        put(32, &(bytes.len() as u64).to_le_bytes());
        put(40, &link.to_le_bytes());
        put(48, &8_u64.to_le_bytes());
        put(56, &entry.to_le_bytes());
        self.headers.push(header);
        self.names.extend(name.bytes());
        self.names.push(0);
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        let padding = self.at.next_multiple_of(8) - self.at;
        self.file
            .write_all([0; 8].get(..padding as usize).unwrap_or_default())?;
        self.at += padding;
        Ok(())
    }

    fn finish(mut self) -> io::Result<(File, u64)> {
        let names_at = self.headers.len();
        let mut names = self.names.clone();
        names.extend(b".shstrtab\0");
        self.add(".shstrtab", STRTAB, 0, 0, &names)?;
        let table_at = self.at;
        for header in std::mem::take(&mut self.headers) {
            self.write(&header)?;
        }
        let count = names_at + 1;
        let mut head = Vec::with_capacity(64);
        head.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        head.extend(3_u16.to_le_bytes()); // ET_DYN
        head.extend(self.machine.to_le_bytes());
        head.extend(1_u32.to_le_bytes());
        head.extend(0_u64.to_le_bytes()); // entry
        head.extend(0_u64.to_le_bytes()); // no program headers
        head.extend(table_at.to_le_bytes());
        head.extend(0_u32.to_le_bytes());
        for field in [64, 56, 0, 64, count as u16, names_at as u16] {
            head.extend(u16::to_le_bytes(field));
        }
        self.file.seek(io::SeekFrom::Start(0))?;
        self.file.write_all(&head)?;
        Ok((self.file, self.at))
    }
}
