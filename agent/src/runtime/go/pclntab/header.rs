//! The header of the function table.

use crate::symbol::module::image::{u32_at, u64_at};

/// Magic numbers of Go 1.20 and later, and of 1.18 and 1.19.
pub(super) const MAGICS: [u32; 2] = [0xffff_fff1, 0xffff_fff0];
/// Zeros, the smallest instruction of x86-64, and the size of a pointer.
pub(super) const SHAPE: [u8; 4] = [0, 0, 1, 8];
/// Bytes of the header that are looked at.
pub const HEADER: usize = 72;
/// Most functions: the biggest programs have some hundred thousand.
const MAX_FUNCTIONS: u64 = 1 << 24;

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of functions.
    pub functions: u64,
    pub(super) names: u64,
    pub(super) units: u64,
    pub(super) files: u64,
    pub(super) values: u64,
    pub(super) table: u64,
}

impl Header {
    /// Reads a header that makes sense.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let magic = u32_at(bytes, 0)?;
        (MAGICS.contains(&magic) && bytes.get(4..8)? == SHAPE).then_some(())?;
        let word = |index: usize| u64_at(bytes, index * 8);
        let header = Self {
            functions: word(1)?,
            names: word(4)?,
            units: word(5)?,
            files: word(6)?,
            values: word(7)?,
            table: word(8)?,
        };
        let ascending = header.names <= header.units
            && header.units <= header.files
            && header.files <= header.values
            && header.values <= header.table;
        (ascending && (1..=MAX_FUNCTIONS).contains(&header.functions)).then_some(header)
    }
}
