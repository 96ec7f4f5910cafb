//! A small table, and what damage does to it.

use proptest::prelude::*;

use super::{
    header::{MAGICS, SHAPE},
    *,
};
use crate::{proc::memory::Copied, runtime::go::layout};

/// A table of two functions of 16 bytes each; the depth of the first is 0, then 24 from its fourth byte on.
pub fn table() -> Vec<u8> {
    let mut bytes = MAGICS[0].to_le_bytes().to_vec();
    bytes.extend(SHAPE);
    // Names, units, files, values and table follow each other.
    let words: [u64; 8] = [2, 0, 0, 72, 96, 104, 112, 128];
    words
        .iter()
        .for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes.extend(b"\0main.a\0type:.eq.b\0\0\0\0\0\0");
    bytes.extend([0; 8]);
    bytes.extend(b"a.go\0\0\0\0");
    // At 1: 0 for 3 bytes (delta +1), then 24 for 13 bytes. At 6: line 7.
    bytes.extend([0, 2, 3, 48, 13, 0, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0]);
    for word in [0, 24, 16, 24 + 44, 32, 0_u32] {
        bytes.extend(word.to_le_bytes());
    }
    for (name, id) in [(1_u32, 0), (8, 23_u8)] {
        let mut record = vec![0; 44];
        record[4..8].copy_from_slice(&name.to_le_bytes());
        record[16] = 1;
        record[24] = 6;
        record[40] = id;
        bytes.extend(record);
    }
    bytes
}

/// That table, whose code begins at 0x4000.
pub fn parsed(bytes: Vec<u8>) -> Option<Pclntab> {
    Pclntab::new(bytes, 0x1000, layout::of_minor(22)?, 0x4000, 0x9000)
}

#[test]
fn functions_and_values() {
    let table = parsed(table()).unwrap();
    let first = table.find(0x4000).unwrap();
    assert_eq!(table.name(first).as_deref(), Some("main.a"));
    assert_eq!(table.find(0x400f), Some(first));
    assert_eq!(table.find(0x4010).unwrap().entry, 0x4010);
    assert_eq!((table.find(0x3fff), table.find(0x4020)), (None, None));
    assert_eq!(table.stack_depth(first, 0x4002), Some(0));
    assert_eq!(table.stack_depth(first, 0x4003), Some(24));
    assert_eq!(table.stack_depth(first, 0x4010), None);
    let memory = Copied {
        base: 0,
        bytes: &[],
    };
    let [frame] = &table.frames(first, 0x4001, &memory)[..] else {
        panic!("one frame");
    };
    assert_eq!(frame.line, Some(7));
    assert!(!frame.is_wrapper && !frame.inlined);
    let second = table.find(0x4010).unwrap();
    assert!(table.frames(second, 0x4011, &memory)[0].is_wrapper);
}

fn use_all(bytes: Vec<u8>, pc: u64) {
    let memory = Copied {
        base: 0x9000,
        bytes: &[1; 64],
    };
    if let Some(table) = parsed(bytes)
        && let Some(function) = table.find(pc)
    {
        let _ = table.stack_depth(function, pc);
        let _ = table.frames(function, pc, &memory);
        let _ = table.inlined_into(function, &memory);
        let _ = (table.defers(function), table.end(function));
    }
}

proptest! {
    #[test]
    fn any_damage(
        damage in proptest::collection::vec((8..240_usize, any::<u8>()), 0..48),
        pc in 0x4000..0x4020_u64,
        cut in 0..240_usize,
    ) {
        let mut bytes = table();
        for (at, byte) in damage {
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        use_all(bytes.clone(), pc);
        bytes.truncate(cut);
        use_all(bytes, pc);
    }
}
