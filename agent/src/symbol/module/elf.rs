//! ELF headers: just enough to find segments, sections, the build id and the debug link.

use super::image::{Image, inflate, u16_at, u32_at, u64_at};

/// `PF_X`.
pub const EXECUTE: u32 = 1;
/// `PT_LOAD`.
pub const LOAD: u32 = 1;
/// `PT_NOTE`.
const NOTE: u32 = 4;
/// `PT_GNU_EH_FRAME`.
pub const EH_FRAME: u32 = 0x6474_e550;
/// `SHT_NOBITS`.
const NOBITS: u32 = 8;
/// `SHF_COMPRESSED`.
const COMPRESSED: u64 = 0x800;
/// `ELFCOMPRESS_ZLIB`.
const ZLIB: u32 = 1;
const MAX_SEGMENTS: u64 = 256;
const MAX_SECTIONS: u64 = 16_384;
const MAX_NAMES: u64 = 1 << 20;
const MAX_NAME: usize = 64;
const MAX_NOTES: u64 = 64 << 10;
const MAX_BUILD_ID: usize = 64;

/// Why a file is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The magic number is missing.
    #[error("not an ELF file")]
    NotElf,
    /// 32-bit or big-endian.
    #[error("not a 64-bit little-endian ELF file")]
    Unsupported,
    /// A table lies outside the file or is absurdly long.
    #[error("the ELF headers are damaged")]
    Damaged,
}

/// A program header.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// Offset in the file.
    pub offset: u64,
    /// ELF virtual address.
    pub address: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory.
    pub memory_size: u64,
}

/// A section header.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name, at most 64 bytes of it.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// ELF virtual address, 0 when it is not loaded.
    pub address: u64,
    /// Offset in the file.
    pub offset: u64,
    /// Bytes in the file (in memory, for `SHT_NOBITS`).
    pub size: u64,
    /// Index of the related section.
    pub link: u32,
}

/// An ELF file's headers.
#[derive(Debug)]
pub struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// Program headers.
    pub segments: Vec<Segment>,
    /// Section headers, possibly none.
    pub sections: Vec<Section>,
    /// GNU build id.
    pub build_id: Option<Vec<u8>>,
}

impl Elf {
    /// Reads the headers.
    pub fn parse(image: &Image) -> Result<Self, ElfError> {
        let header = image.read(0, 64, 64).ok_or(ElfError::NotElf)?;
        if !header.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        if header.get(4..6) != Some(&[2, 1]) {
            return Err(ElfError::Unsupported);
        }
        let parse = || {
            let sections = sections(image, &header)?;
            let segments = segments(image, &header)?;
            let mut elf = Self {
                machine: u16_at(&header, 18)?,
                segments,
                sections,
                build_id: None,
            };
            elf.build_id = elf.find_build_id(image);
            Some(elf)
        };
        parse().ok_or(ElfError::Damaged)
    }

    /// The first section of that name which has bytes in the file.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name == name && section.kind != NOBITS)
    }

    /// Loadable segments.
    pub fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == LOAD && segment.memory_size > 0)
    }

    /// First address and first address after the last of all loadable segments.
    pub fn extent(&self) -> Option<(u64, u64)> {
        let start = self.loads().map(|segment| segment.address).min()?;
        let end = self
            .loads()
            .filter_map(|segment| segment.address.checked_add(segment.memory_size))
            .max()?;
        (start < end).then_some((start, end))
    }

    /// The file and checksum that `.gnu_debuglink` names.
    pub fn debug_link(&self, image: &Image) -> Option<(String, u32)> {
        let section = self.section(".gnu_debuglink")?;
        let bytes = image.read(section.offset, section.size, 4096)?;
        let length = bytes.iter().position(|&byte| byte == 0)?;
        let name = std::str::from_utf8(bytes.get(..length)?).ok()?;
        let checksum = u32_at(&bytes, (length + 4) & !3)?;
        let plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
        plain.then(|| (name.to_owned(), checksum))
    }

    fn find_build_id(&self, image: &Image) -> Option<Vec<u8>> {
        let segments = self
            .segments
            .iter()
            .filter(|segment| segment.kind == NOTE)
            .map(|segment| (segment.offset, segment.file_size));
        // A file that has only debug information has its notes in sections: its segments point nowhere.
        let sections = self
            .section(".note.gnu.build-id")
            .map(|section| (section.offset, section.size));
        sections
            .into_iter()
            .chain(segments)
            .filter_map(|(offset, size)| image.read(offset, size, MAX_NOTES))
            .find_map(|notes| build_id(&notes))
    }
}

/// A section's bytes, uncompressed; nothing when it is larger than `limit` or compressed in an unknown way.
pub fn contents(image: &Image, section: &Section, limit: u64) -> Option<Vec<u8>> {
    if section.kind == NOBITS {
        return None;
    }
    let bytes = image.read(section.offset, section.size, limit)?;
    if section.flags & COMPRESSED == 0 {
        return Some(bytes);
    }
    (u32_at(&bytes, 0)? == ZLIB).then_some(())?;
    inflate(bytes.get(24..)?, u64_at(&bytes, 8)?, limit)
}

fn segments(image: &Image, header: &[u8]) -> Option<Vec<Segment>> {
    let table = table(image, header, 32, 54, 56, MAX_SEGMENTS, 56)?;
    table
        .chunks_exact(56)
        .map(|entry| {
            Some(Segment {
                kind: u32_at(entry, 0)?,
                flags: u32_at(entry, 4)?,
                offset: u64_at(entry, 8)?,
                address: u64_at(entry, 16)?,
                file_size: u64_at(entry, 32)?,
                memory_size: u64_at(entry, 40)?,
            })
        })
        .collect()
}

fn sections(image: &Image, header: &[u8]) -> Option<Vec<Section>> {
    // The vdso's and some packers' section headers are cut off: then there are none.
    let Some(table) = table(image, header, 40, 58, 60, MAX_SECTIONS, 64) else {
        return Some(Vec::new());
    };
    let names = table
        .chunks_exact(64)
        .nth(usize::from(u16_at(header, 62)?))
        .and_then(|entry| image.read(u64_at(entry, 24)?, u64_at(entry, 32)?, MAX_NAMES))
        .unwrap_or_default();
    table
        .chunks_exact(64)
        .map(|entry| {
            Some(Section {
                name: name(&names, u32_at(entry, 0)?),
                kind: u32_at(entry, 4)?,
                flags: u64_at(entry, 8)?,
                address: u64_at(entry, 16)?,
                offset: u64_at(entry, 24)?,
                size: u64_at(entry, 32)?,
                link: u32_at(entry, 40)?,
            })
        })
        .collect()
}

/// The bytes of a header table whose offset, entry size and count stand at the given places of the file header.
fn table(
    image: &Image,
    header: &[u8],
    offset_at: usize,
    size_at: usize,
    count_at: usize,
    most: u64,
    entry: u64,
) -> Option<Vec<u8>> {
    let count = u64::from(u16_at(header, count_at)?);
    if count == 0 {
        return Some(Vec::new());
    }
    (u64::from(u16_at(header, size_at)?) == entry && count <= most).then_some(())?;
    image.read(u64_at(header, offset_at)?, count * entry, most * entry)
}

fn name(names: &[u8], offset: u32) -> String {
    let rest = names.get(offset as usize..).unwrap_or_default();
    let bytes: Vec<u8> = rest
        .iter()
        .copied()
        .take_while(|&byte| byte != 0)
        .take(MAX_NAME)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let name_size = usize::try_from(u32_at(notes, 0)?).ok()?;
        let size = usize::try_from(u32_at(notes, 4)?).ok()?;
        let kind = u32_at(notes, 8)?;
        let name_end = name_size.checked_add(12)?;
        let start = name_end.checked_next_multiple_of(4)?;
        let end = start.checked_add(size)?;
        let found = notes.get(start..end)?;
        if kind == 3 && notes.get(12..name_end) == Some(b"GNU\0") {
            return (1..=MAX_BUILD_ID).contains(&size).then(|| found.to_vec());
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn own() -> Vec<u8> {
        // The head and the tables of a real file are enough, and keep the cases small.
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn reads_its_own_file() {
        let image = Image::Bytes(own().into());
        let elf = Elf::parse(&image).unwrap();
        assert!(elf.section(".eh_frame").is_some());
        assert!(elf.build_id.is_some());
        assert!(elf.loads().any(|segment| segment.flags & EXECUTE != 0));
        let (start, end) = elf.extent().unwrap();
        assert!(start < end);
    }

    #[test]
    fn names_what_is_wrong() {
        let parse = |bytes: &[u8]| Elf::parse(&Image::Bytes(bytes.into())).map(|_| ());
        assert_eq!(parse(b"#!/bin/sh"), Err(ElfError::NotElf));
        let mut header = [0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x01\x01");
        assert_eq!(parse(&header), Err(ElfError::Unsupported));
        header[4] = 2;
        header[54] = 56;
        header[56] = 9;
        assert_eq!(parse(&header), Err(ElfError::Damaged));
    }

    #[test]
    fn inflates_no_more_than_promised() {
        use std::io::Write as _;
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert_eq!(inflate(&bomb, 1 << 20, 1 << 20).unwrap().len(), 1 << 20);
        assert!(inflate(&bomb, 1 << 20, 1 << 10).is_none());
        assert!(inflate(&bomb, u64::MAX, u64::MAX).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            if let Some(magic) = bytes.get_mut(..6) {
                magic.copy_from_slice(b"\x7fELF\x02\x01");
            }
            survive(bytes);
        }

        #[test]
        fn damaged_headers_are_survived(damage in proptest::collection::vec((0usize..1024, any::<u8>()), 1..64)) {
            let mut bytes = own();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            survive(bytes);
        }
    }

    fn survive(bytes: Vec<u8>) {
        let image = Image::Bytes(bytes.into());
        if let Ok(elf) = Elf::parse(&image) {
            elf.extent();
            elf.debug_link(&image);
            for section in elf.sections.iter().take(8) {
                contents(&image, section, 1 << 16);
            }
        }
    }
}
