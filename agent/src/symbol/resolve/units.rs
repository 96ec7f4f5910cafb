//! The size of the largest unit in a DWARF section.
//!
//! blazesym decodes a whole unit at a time into structures some twenty to fifty times as large, so it is the unit,
//! not the section, that decides about memory.

use crate::symbol::module::image::{u32_at, u64_at};

/// Largest unit of `.debug_line`, in bytes; one byte can stand for a row of 24.
const MAX_LINE_UNIT: u64 = 8 << 20;
/// Largest unit of `.debug_info`, in bytes.
const MAX_INFO_UNIT: u64 = 32 << 20;

/// Whether every unit of a section is small enough to be decoded.
pub fn acceptable(section: &str, bytes: &[u8]) -> bool {
    match section {
        ".debug_line" => largest(bytes) <= MAX_LINE_UNIT,
        ".debug_info" | ".debug_types" => largest(bytes) <= MAX_INFO_UNIT,
        _ => true,
    }
}

/// Length of the largest unit: each begins with the number of bytes that follow.
fn largest(bytes: &[u8]) -> u64 {
    let mut largest = 0;
    let mut rest = bytes;
    while let Some(short) = u32_at(rest, 0) {
        let (length, header) = match short {
            u32::MAX => (u64_at(rest, 4).unwrap_or(u64::MAX), 12),
            short => (u64::from(short), 4),
        };
        // A unit that claims more than there is ends with the section.
        let unit = length.min(rest.len() as u64 - header.min(rest.len() as u64));
        largest = largest.max(unit);
        let next = usize::try_from(unit + header).unwrap_or(usize::MAX);
        rest = rest.get(next..).unwrap_or_default();
    }
    largest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_largest() {
        let mut bytes = Vec::new();
        for length in [3_u32, 70, 5] {
            bytes.extend(length.to_le_bytes());
            bytes.extend(vec![0xff; length as usize]);
        }
        assert_eq!(largest(&bytes), 70);
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend(100_u64.to_le_bytes());
        bytes.extend([0; 100]);
        assert_eq!(largest(&bytes), 100);
        bytes.extend(1000_u32.to_le_bytes());
        bytes.extend([0; 200]);
        assert_eq!(largest(&bytes), 200);
        assert!(acceptable(".debug_line", &bytes));
        let mut huge = (9_u32 << 20).to_le_bytes().to_vec();
        huge.resize(9 << 20, 0);
        assert!(!acceptable(".debug_line", &huge) && acceptable(".debug_info", &huge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xff), Just(0)], 0..256)) {
            prop_assert!(largest(&bytes) <= bytes.len() as u64);
        }
    }
}
