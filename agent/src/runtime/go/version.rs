//! Which Go release built a program, from its build information. Source: `src/debug/buildinfo/buildinfo.go`.

use super::binary::Binary;
use crate::{proc::memory::Memory, symbol::module::image::u64_at};

/// What build information begins with.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the linker aligns it.
const ALIGN: usize = 16;
/// Length of its header.
const HEADER: usize = 32;
/// Offset of the flags.
const FLAGS: usize = 15;
/// The version follows the header; else (before Go 1.18) the header points to it.
const INLINE: u8 = 2;
/// Longest version that is believed.
const MAX_LENGTH: usize = 128;
/// Bytes at the start of the data segment in which it is looked for when there are no section headers.
const SEARCHED: usize = 1 << 20;

/// Experiments (`GOEXPERIMENT`) that are known to move nothing that we read.
const HARMLESS: &[&str] = &[
    "aliastypeparams",
    "arenas",
    "boringcrypto",
    "cgocheck2",
    "coverageredesign",
    "greenteagc",
    "jsonv2",
    "loopvar",
    "nogreenteagc",
    "noswissmap",
    "rangefunc",
    "swissmap",
    "synctest",
];

/// A Go release, e.g. `go1.22.10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the toolchain calls itself.
    pub text: String,
    /// 22 in `go1.22.10`.
    pub minor: u32,
}

impl Version {
    /// Parses `go1.22.10`, `devel go1.28-3bea95b277 Thu ...`, `go1.24.1 X:boringcrypto`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("go1.")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        Some(Self {
            text: text.to_owned(),
            minor: rest.get(..digits)?.parse().ok()?,
        })
    }

    /// The experiments that it was built with (`X:` in its version) and that may have moved what we read.
    pub fn experiments(&self) -> impl Iterator<Item = &str> {
        let (_, names) = self.text.split_once(" X:").unwrap_or_default();
        let names = names.split([',', ' ']).filter(|name| !name.is_empty());
        names.filter(|name| !HARMLESS.contains(name))
    }

    /// Reads it from a process; `None` when that is no Go program.
    #[must_use]
    pub fn of(binary: &Binary, memory: &dyn Memory) -> Option<Self> {
        let head = match binary.place(".go.buildinfo") {
            Some((address, _)) => address,
            None if binary.elf.sections.is_empty() => {
                binary.segments(true).find_map(|(address, bytes)| {
                    let searched = bytes.get(..bytes.len().min(SEARCHED))?;
                    let index = searched
                        .chunks(ALIGN)
                        .position(|chunk| chunk.starts_with(MAGIC))?;
                    address.checked_add((index * ALIGN) as u64)
                })?
            }
            None => return None,
        };
        Self::parse(&read(memory, head)?)
    }
}

/// The version out of the build information at `head`.
fn read(memory: &dyn Memory, head: u64) -> Option<String> {
    let mut header = [0; HEADER];
    if !memory.read(head, &mut header) || !header.starts_with(MAGIC) {
        return None;
    }
    let (start, length) = if header.get(FLAGS)? & INLINE != 0 {
        let start = head.checked_add(HEADER as u64)?;
        let mut varint = [0; 2];
        memory.read(start, &mut varint).then_some(())?;
        match varint {
            [low, _] if low < 0x80 => (start + 1, usize::from(low)),
            [low, high] => (start + 2, usize::from(low & 0x7f) | usize::from(high) << 7),
        }
    } else {
        let string = u64_at(&header, 16)?;
        let length = memory.u64(string.checked_add(8)?)?;
        (memory.u64(string)?, usize::try_from(length).ok()?)
    };
    let mut text = vec![0; Some(length).filter(|length| *length <= MAX_LENGTH)?];
    memory.read(start, &mut text).then_some(())?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::memory::Copied;

    fn inline(version: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, 2]);
        bytes.resize(HEADER, 0);
        bytes.push(u8::try_from(version.len()).unwrap());
        bytes.extend(version.bytes());
        bytes
    }

    #[test]
    fn both_forms() {
        let base = 0x1000;
        let bytes = inline("go1.22.10");
        let memory = Copied {
            base,
            bytes: &bytes,
        };
        assert_eq!(read(&memory, base).as_deref(), Some("go1.22.10"));
        // Before 1.18: a pointer to a string, which is a pointer and a length.
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, 0]);
        bytes.extend((base + 32).to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend((base + 48).to_le_bytes());
        bytes.extend(6_u64.to_le_bytes());
        bytes.extend(b"go1.17");
        let memory = Copied {
            base,
            bytes: &bytes,
        };
        assert_eq!(read(&memory, base).as_deref(), Some("go1.17"));
    }

    #[test]
    fn experiments_that_matter() {
        for (text, matter) in [
            ("go1.27.3", &[][..]),
            ("go1.24.1 X:boringcrypto", &[]),
            (
                "go1.27.3 X:nogreenteagc,staticlockranking",
                &["staticlockranking"],
            ),
            ("go1.30 X:new,other foo", &["new", "other", "foo"]),
        ] {
            let version = Version::parse(text).unwrap();
            assert_eq!(version.experiments().collect::<Vec<_>>(), matter, "{text}");
        }
    }

    #[test]
    fn minors() {
        let minor = |text| Version::parse(text).map(|version| version.minor);
        assert_eq!(minor("go1.19"), Some(19));
        assert_eq!(minor("devel go1.28-3bea95b277 Thu"), Some(28));
        assert_eq!(minor("go1.24.1 X:boringcrypto"), Some(24));
        assert_eq!(minor("go2"), None);
        assert_eq!(minor("go1."), None);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..128), form in any::<u8>()) {
            let mut info = MAGIC.to_vec();
            info.extend([8, form]);
            info.extend(bytes);
            let _ = read(&Copied { base: 0, bytes: &info }, 0);
        }
    }
}
