//! From an address to the offset of the entry that may describe it.

use crate::symbol::module::{
    elf::{self, EH_FRAME, Elf},
    image::{Image, u32_at},
};

/// Version 1, pointers relative to themselves, count, table of 4-byte numbers relative to the header: what every
/// linker writes.
const USUAL: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// How entries are found.
pub enum Index {
    /// By the table that the linker made; the number is the address of `.eh_frame`.
    Header(Header, u64),
    /// First address and offset of each entry, ascending.
    Sorted(Vec<(u64, usize)>),
}

impl Index {
    /// Offset of the last entry that does not begin after `address`.
    pub fn find(&self, address: u64) -> Option<usize> {
        match self {
            Self::Header(header, frame) => {
                usize::try_from(header.find(address)?.checked_sub(*frame)?).ok()
            }
            Self::Sorted(entries) => {
                let after = entries.partition_point(|entry| entry.0 <= address);
                Some(entries.get(after.checked_sub(1)?)?.1)
            }
        }
    }
}

/// `.eh_frame_hdr`.
pub struct Header {
    address: u64,
    data: Vec<u8>,
}

impl Header {
    /// Reads it; nothing when it is missing, not of the usual form, or longer than `limit` bytes.
    pub fn load(image: &Image, elf: &Elf, limit: u64) -> Option<Self> {
        let (address, data) = match elf.section(".eh_frame_hdr") {
            Some(section) => (section.address, elf::contents(image, section, limit)?),
            None => {
                let mut segments = elf.segments.iter();
                let segment = segments.find(|segment| segment.kind == EH_FRAME)?;
                let data = image.read(segment.offset, segment.file_size, limit)?;
                (segment.address, data)
            }
        };
        Self::new(address, data)
    }

    fn new(address: u64, data: Vec<u8>) -> Option<Self> {
        data.starts_with(&USUAL).then_some(Self { address, data })
    }

    /// Address of `.eh_frame`, its offset in the file, and the bytes up to the end of its segment.
    pub fn frame_address(&self, elf: &Elf) -> Option<(u64, u64, u64)> {
        let relative = u32_at(&self.data, 4)?.cast_signed();
        let address = self
            .address
            .checked_add(4)?
            .checked_add_signed(relative.into())?;
        elf.loads().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            let size = segment.file_size.checked_sub(inside)?;
            Some((address, segment.offset.checked_add(inside)?, size))
        })
    }

    fn find(&self, address: u64) -> Option<u64> {
        let table = self.data.get(12..)?;
        let count = u32_at(&self.data, 8)? as usize;
        let wanted = address.wrapping_sub(self.address).cast_signed();
        let number = |at: usize| Some(i64::from(u32_at(table, at)?.cast_signed()));
        // Not partition_point: there is no slice of numbers, the bytes are not aligned.
        let (mut low, mut high) = (0, count.min(table.len() / 8));
        while low < high {
            let middle = low + (high - low) / 2;
            if number(middle * 8)? <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.address
            .checked_add_signed(number(low.checked_sub(1)? * 8 + 4)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(entries: &[(i32, i32)]) -> Header {
        let mut data = USUAL.to_vec();
        data.extend(0x100_i32.to_le_bytes());
        data.extend((entries.len() as u32).to_le_bytes());
        for (location, entry) in entries {
            data.extend(location.to_le_bytes());
            data.extend(entry.to_le_bytes());
        }
        Header::new(0x5000, data).unwrap()
    }

    #[test]
    fn finds_the_entry_below() {
        let header = header(&[(-0x1000, 0x200), (-0x800, 0x240), (0x400, 0x280)]);
        assert_eq!(header.find(0x3fff), None);
        assert_eq!(header.find(0x4000), Some(0x5200));
        assert_eq!(header.find(0x47ff), Some(0x5200));
        assert_eq!(header.find(0x4800), Some(0x5240));
        assert_eq!(header.find(u64::MAX / 2), Some(0x5280));
        assert_eq!(Index::Header(header, 0x5104).find(0x4900), Some(0x13c));
    }

    proptest! {
        #[test]
        fn any_table_is_survived(mut data in proptest::collection::vec(any::<u8>(), 4..256), at: u64, address: u64) {
            data[..4].copy_from_slice(&USUAL);
            Header::new(at, data).unwrap().find(address);
        }
    }
}
