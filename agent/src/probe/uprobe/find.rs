//! Functions of ELF files by name, as offsets in the file.
//!
//! Names come from `.dynsym`, `.symtab` and the `.symtab` of a separate debug file. Everything in a file is hostile: what
//! is read is bounded, and what makes no sense is left out.

pub mod usdt;

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::PathBuf,
};

use super::placement::{self, Needs, Placement};
use crate::{
    proc::maps::{Mapping, Maps},
    symbol::{
        Limits,
        module::{
            debug_file,
            elf::{self, EXECUTE, Elf, Section},
            image::{Image, u16_at, u32_at, u64_at},
            open::{self, Root},
        },
    },
};

/// Most functions that one search finds in one file.
const MAX_FOUND: usize = 65_536;
/// Longest name, in bytes; mangled names of generic code are long.
const MAX_NAME: usize = 16 << 10;
/// Bytes of code looked at when the symbol table does not tell the size.
const UNKNOWN_SIZE: u64 = 256;
/// An entry of a symbol table.
const SYMBOL_BYTES: usize = 24;
/// `STT_FUNC`.
const FUNCTION: u8 = 2;
/// Bit of an entry of `.gnu.version`: not what a program that is linked today gets.
const HIDDEN: u16 = 0x8000;
/// `e_machine` of what runs here.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};

/// An open ELF file that a process runs code of.
#[derive(Debug)]
pub struct Binary {
    /// What the process calls it.
    pub name: String,
    image: Image,
    elf: Elf,
    debug: Option<(Image, Elf)>,
    path: PathBuf,
}

/// A function that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function<T> {
    /// What the search said about it.
    pub tag: T,
    /// Its name, without a version.
    pub name: String,
    /// An old version of a symbol, kept for programs that were linked long ago.
    pub old: bool,
    /// ELF virtual address.
    pub address: u64,
    /// Offset of its entry in the file.
    pub offset: u64,
    /// Its size in bytes, if the file tells.
    pub size: u64,
}

/// Every file that process `pid` runs code of, each once. What cannot be opened or is no ELF file of this machine is left
/// out.
///
/// # Errors
/// The process is gone or may not be looked at.
pub fn binaries(pid: u32) -> io::Result<Vec<Binary>> {
    let maps = Maps::read(pid)?;
    let root = Root::of(pid);
    let mut seen = HashSet::new();
    let files = maps
        .0
        .iter()
        .filter(|mapping| mapping.executable && mapping.inode != 0)
        .filter(|mapping| seen.insert((mapping.device, mapping.inode)));
    Ok(files
        .filter_map(|mapping| Binary::mapped(pid, &root, mapping).ok())
        .collect())
}

impl Binary {
    /// The file behind a mapping of process `pid`.
    ///
    /// # Errors
    /// It cannot be opened, or is no ELF file of this machine.
    pub fn mapped(pid: u32, root: &Root, mapping: &Mapping) -> io::Result<Self> {
        let file = open::open_mapped(pid, root, mapping)?;
        Self::new(file, root, mapping.path.clone())
    }

    /// A file by its path in the root directory of process `pid`.
    ///
    /// # Errors
    /// As [`Self::mapped`].
    pub fn in_root(pid: u32, path: &str) -> io::Result<Self> {
        let root = Root::of(pid);
        Self::new(root.open(path)?, &root, path.to_owned())
    }

    fn new(file: File, root: &Root, name: String) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        let image = Image::File(file);
        let elf = Elf::parse(&image).map_err(io::Error::other)?;
        if elf.machine != MACHINE {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let debug = debug_file::find(root, &name, (&image, &elf), Limits::default().symbol_bytes);
        Ok(Self {
            name,
            image,
            elf,
            debug,
            path,
        })
    }

    /// A path to the open file, for [`super::Site::file`]: whatever happens to its name, it is the file that was read. Valid
    /// while this lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Functions for whose name `wanted` has something, each address once, ascending. Where it has several names, the
    /// one of the newest version counts, and of these the first. `wanted` gets names without versions.
    pub fn functions<T>(&self, mut wanted: impl FnMut(&str) -> Option<T>) -> Vec<Function<T>> {
        let mut found = BTreeMap::new();
        let own = (&self.image, &self.elf);
        let debug = self.debug.as_ref().map(|(image, elf)| (image, elf));
        let tables = [
            (Some(own), ".dynsym"),
            (Some(own), ".symtab"),
            (debug, ".symtab"),
        ];
        for (source, table) in tables {
            let Some((image, elf)) = source else { continue };
            let Some(table) = Table::read(image, elf, table) else {
                continue;
            };
            for symbol in table.functions() {
                if let Some(tag) = wanted(symbol.name) {
                    self.add(&mut found, &symbol, tag);
                }
            }
        }
        found.into_values().collect()
    }

    fn add<T>(&self, found: &mut BTreeMap<u64, Function<T>>, symbol: &Symbol<'_>, tag: T) {
        let known = found.get(&symbol.address);
        let better = known.is_none_or(|known| known.old && !symbol.old);
        let Some(offset) = self.offset(symbol.address).filter(|_| better) else {
            return;
        };
        if known.is_some() || found.len() < MAX_FOUND {
            let function = Function {
                tag,
                name: symbol.name.to_owned(),
                old: symbol.old,
                address: symbol.address,
                offset,
                size: symbol.size,
            };
            found.insert(symbol.address, function);
        }
    }

    /// Offset in the file of code at an ELF virtual address.
    #[must_use]
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.elf.loads().find_map(|segment| {
            let distance = address.checked_sub(segment.address)?;
            let inside = segment.flags & EXECUTE != 0 && distance < segment.file_size;
            inside.then(|| segment.offset.checked_add(distance))?
        })
    }

    /// Code at an offset in the file, as much as there is of `size` bytes and at most [`placement::MAX_CODE`].
    #[must_use]
    pub fn code(&self, offset: u64, size: u64) -> Vec<u8> {
        let size = if size == 0 { UNKNOWN_SIZE } else { size };
        let size = size
            .min(placement::MAX_CODE as u64)
            .min(self.image.len().saturating_sub(offset));
        self.image.read(offset, size, size).unwrap_or_default()
    }

    /// Where in a function to place a probe.
    #[must_use]
    pub fn place<T>(&self, function: &Function<T>, needs: Needs) -> Placement {
        let code = self.code(function.offset, function.size);
        placement::place(&code, function.offset, needs)
    }
}

struct Symbol<'a> {
    name: &'a str,
    old: bool,
    address: u64,
    size: u64,
}

/// A symbol table with its names and versions.
struct Table {
    entries: Vec<u8>,
    names: Vec<u8>,
    versions: Vec<u8>,
}

impl Table {
    fn read(image: &Image, elf: &Elf, name: &str) -> Option<Self> {
        let limit = Limits::default().section_bytes;
        let contents = |section: &Section| elf::contents(image, section, limit);
        let section = elf.section(name)?;
        let versions = match name {
            ".dynsym" => elf.section(".gnu.version").and_then(contents),
            _ => None,
        };
        Some(Self {
            entries: contents(section)?,
            names: contents(elf.sections.get(section.link as usize)?)?,
            versions: versions.unwrap_or_default(),
        })
    }

    fn functions(&self) -> impl Iterator<Item = Symbol<'_>> {
        let entries = self.entries.chunks_exact(SYMBOL_BYTES).enumerate();
        entries.filter_map(|(index, entry)| {
            let is_function = entry.get(4)? & 15 == FUNCTION && u16_at(entry, 6)? != 0;
            let name = is_function.then(|| self.name(u32_at(entry, 0)?))??;
            // The static table has versions in its names: `f@@NOW`, `f@ONCE`.
            let (name, once) = match name.split_once('@') {
                Some((name, version)) => (name, !version.starts_with('@')),
                None => (name, false),
            };
            let hidden =
                u16_at(&self.versions, index * 2).is_some_and(|version| version & HIDDEN != 0);
            Some(Symbol {
                name,
                old: once || hidden,
                address: u64_at(entry, 8)?,
                size: u64_at(entry, 16)?,
            })
        })
    }

    fn name(&self, offset: u32) -> Option<&str> {
        let rest = self.names.get(offset as usize..)?;
        let rest = rest.get(..MAX_NAME).unwrap_or(rest);
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }
}
