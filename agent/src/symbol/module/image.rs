//! The bytes of an ELF file: on disk, or copied out of a target's memory.

use std::{fs::File, io::Read as _, os::unix::fs::FileExt as _};

/// Random access to an ELF file. A file is read, never mapped: one that shrinks under a mapping would kill the reader.
#[derive(Debug)]
pub enum Image {
    /// A regular file.
    File(File),
    /// A copy, as of the vdso.
    Bytes(Box<[u8]>),
}

impl Image {
    /// Length in bytes now; 0 when it cannot be told.
    pub fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.metadata().map_or(0, |metadata| metadata.len()),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `buffer` from `offset`; false when the image ends before.
    pub fn fill(&self, offset: u64, buffer: &mut [u8]) -> bool {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset).is_ok(),
            Self::Bytes(bytes) => {
                let copy = || {
                    let start = usize::try_from(offset).ok()?;
                    bytes.get(start..start.checked_add(buffer.len())?)
                };
                match copy() {
                    Some(found) => {
                        buffer.copy_from_slice(found);
                        true
                    }
                    None => false,
                }
            }
        }
    }

    /// `length` bytes at `offset`, or nothing when the image is shorter or `length` is above `limit`.
    pub fn read(&self, offset: u64, length: u64, limit: u64) -> Option<Vec<u8>> {
        // Before the allocation: a hostile header must not be able to ask for more memory than its file has bytes.
        if length > limit || offset.checked_add(length)? > self.len() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.fill(offset, &mut bytes).then_some(bytes)
    }
}

/// Inflates `bytes`, which must give exactly `length` bytes, at most `limit`.
pub fn inflate(bytes: &[u8], length: u64, limit: u64) -> Option<Vec<u8>> {
    if length > limit {
        return None;
    }
    let mut inflated = Vec::new();
    flate2::read::ZlibDecoder::new(bytes)
        .take(length)
        .read_to_end(&mut inflated)
        .ok()?;
    (inflated.len() as u64 == length).then_some(inflated)
}

/// Little-endian integers out of a header.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// See [`u16_at`].
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// See [`u16_at`].
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
