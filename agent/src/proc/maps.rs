//! `/proc/PID/maps`: which file is mapped where.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Most mappings that are kept; the kernel's own default limit is 65,530.
const MAX_MAPPINGS: usize = 65_536;
/// Most bytes of the file that are read: room for [`MAX_MAPPINGS`] lines with paths of ordinary length.
const MAX_BYTES: u64 = 32 << 20;
/// Longest path that is kept, in bytes: `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Whether code in it can run.
    pub executable: bool,
    /// Whether it is writable.
    pub writable: bool,
    /// Whether it is shared (`s`), not private (`p`).
    pub shared: bool,
    /// Offset of `start` in the file.
    pub file_offset: u64,
    /// Device major and minor number.
    pub device: (u32, u32),
    /// Inode; 0 when no file is mapped.
    pub inode: u64,
    /// Path in the target's mount namespace, without ` (deleted)`; `[heap]`, `[vdso]`, ...; empty when anonymous.
    pub path: String,
    /// The file was deleted or replaced.
    pub deleted: bool,
}

/// A process's mappings, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps(pub Vec<Mapping>);

impl Maps {
    /// Reads and parses `/proc/PID/maps`.
    ///
    /// # Errors
    /// The file cannot be opened (no such process, no permission) or read.
    pub fn read(pid: u32) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(format!("/proc/{pid}/maps"))?
            .take(MAX_BYTES)
            .read_to_end(&mut text)?;
        let mut maps = Self::parse(&text);
        // The kernel writes paths as we see them; a process in a chroot sees less of them.
        if let Ok(root) = std::fs::read_link(format!("/proc/{pid}/root")) {
            maps.below(&root);
        }
        Ok(maps)
    }

    /// Makes paths relative to `root`, where they are below it.
    fn below(&mut self, root: &Path) {
        if root == Path::new("/") {
            return;
        }
        for mapping in &mut self.0 {
            if let Ok(inside) = Path::new(&mapping.path).strip_prefix(root) {
                mapping.path = format!("/{}", inside.display());
            }
        }
    }

    /// Parses the file's text. Lines that make no sense, and mappings that overlap an earlier one, are left out.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut mappings: Vec<_> = text
            .split(|&byte| byte == b'\n')
            .filter_map(parse_line)
            .take(MAX_MAPPINGS)
            .collect();
        mappings.sort_by_key(|mapping| mapping.start);
        let mut end = 0;
        mappings.retain(|mapping| {
            let ascending = mapping.start >= end;
            if ascending {
                end = mapping.end;
            }
            ascending
        });
        Self(mappings)
    }

    /// The mapping that holds `address`.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let index = self.0.partition_point(|mapping| mapping.end <= address);
        self.0.get(index).filter(|mapping| mapping.start <= address)
    }
}

/// `7f00-7f10 r-xp 00001000 fd:01 1234      /usr/lib/libc.so.6 (deleted)`
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let (range, rest) = word(line)?;
    let (permissions, rest) = word(rest)?;
    let (file_offset, rest) = word(rest)?;
    let (device, rest) = word(rest)?;
    let (inode, rest) = word(rest)?;

    let (start, end) = pair(range, b'-')?;
    let (major, minor) = pair(device, b':')?;
    let &[_, write, execute, share] = permissions else {
        return None;
    };
    // The path is padded with spaces on its left only: spaces at its end belong to it.
    let path = rest.trim_ascii_start();
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) if path.starts_with(b"/") => (path, true),
        _ => (path, false),
    };
    (start < end && path.len() <= MAX_PATH).then_some(())?;
    Some(Mapping {
        start,
        end,
        executable: execute == b'x',
        writable: write == b'w',
        shared: share == b's',
        file_offset: hex(file_offset)?,
        device: (u32::try_from(major).ok()?, u32::try_from(minor).ok()?),
        inode: std::str::from_utf8(inode).ok()?.parse().ok()?,
        // The kernel escapes a newline, and nothing else.
        path: String::from_utf8_lossy(path).replace("\\012", "\n"),
        deleted,
    })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let length = text
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(text.len());
    text.split_at_checked(length)
        .filter(|(word, _)| !word.is_empty())
}

fn pair(text: &[u8], separator: u8) -> Option<(u64, u64)> {
    let middle = text.iter().position(|&byte| byte == separator)?;
    let (left, right) = text.split_at_checked(middle)?;
    Some((hex(left)?, hex(right.get(1..)?)?))
}

fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
5581e0000000-5581e0001000 r-xp 00002000 fd:01 1234                       /opt/my app/b\\012in (deleted)
7ffd1c000000-7ffd1c002000 r-xp 00000000 00:00 0                          [vdso]
7f0000000000-7f0000001000 rw-s 00000000 00:01 77                         /dev/shm/x
7f0000002000-7f0000003000 rw-p 00000000 00:00 0 
";

    #[test]
    fn parses_and_finds() {
        let maps = Maps::parse(TEXT.as_bytes());
        assert_eq!(maps.0.len(), 4);
        let binary = maps.find(0x5581_e000_0fff).unwrap();
        assert_eq!(binary.path, "/opt/my app/b\nin");
        assert!(binary.deleted && binary.executable && !binary.writable && !binary.shared);
        assert_eq!(
            (binary.file_offset, binary.device, binary.inode),
            (0x2000, (0xfd, 1), 1234)
        );
        assert!(maps.find(0x5581_e000_1000).is_none());
        let shared = maps.find(0x7f00_0000_0000).unwrap();
        assert!(shared.shared && shared.writable && !shared.deleted);
        assert_eq!(maps.find(0x7f00_0000_2000).unwrap().path, "");
        assert_eq!(maps.find(0x7ffd_1c00_1000).unwrap().path, "[vdso]");
    }

    #[test]
    fn drops_overlaps_and_broken_lines() {
        let maps = Maps::parse(
            b"1000-3000 r--p 0 0:0 0\n2000-4000 r--p 0 0:0 0\n5000-4000 r--p 0 0:0 0\nx\n6000-7000 r--p 0 0:0",
        );
        assert_eq!(maps.0.len(), 1);
    }

    #[test]
    fn reads_itself() {
        let maps = Maps::read(std::process::id()).unwrap();
        let code = maps
            .find(reads_itself as *const () as u64)
            .expect("own code is mapped");
        assert!(code.executable);
        assert!(Maps::read(0).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_ascending_mappings(text in proptest::collection::vec(any::<u8>(), 0..512)) {
            check(&Maps::parse(&text));
        }

        #[test]
        fn any_damage_to_a_real_text_is_survived(
            damage in proptest::collection::vec((0..TEXT.len(), any::<u8>()), 0..32),
        ) {
            let mut text = TEXT.as_bytes().to_vec();
            for (at, byte) in damage {
                text[at] = byte;
            }
            check(&Maps::parse(&text));
        }
    }

    fn check(maps: &Maps) {
        let mut end = 0;
        for mapping in &maps.0 {
            assert!(end <= mapping.start && mapping.start < mapping.end);
            assert_eq!(maps.find(mapping.start), Some(mapping));
            end = mapping.end;
        }
    }
}
