//! aarch64.

use gimli::AArch64 as Dwarf;

use super::arch::{Arch, Call};

/// aarch64.
pub static AARCH64: Arch = Arch {
    stack_pointer: Dwarf::SP,
    frame_pointer: Dwarf::X29,
    return_address: Dwarf::X30,
    link_register: true,
    // 48-bit user addresses; longer ones are only given to programs that ask for them.
    address_mask: (1 << 48) - 1,
    call_bytes: 4,
    call,
};

fn call(bytes: &[u8], return_address: u64) -> Option<Call> {
    let word = u32::from_le_bytes(*bytes.last_chunk()?);
    if word >> 26 == 0b10_0101 {
        // BL: a signed 26-bit number of words.
        let words = i64::from((word << 6) as i32 >> 6);
        let from = return_address.wrapping_sub(4);
        return Some(Call::Direct(from.wrapping_add_signed(words * 4)));
    }
    // BLR, and BLRAA and its kin, which check a signature first.
    let register = word & 0xffff_fc1f == 0xd63f_0000;
    let signed = word & 0xfeff_f800 == 0xd63f_0800;
    (register || signed).then_some(Call::Indirect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: u32) -> Option<Call> {
        (AARCH64.call)(&word.to_le_bytes(), 0x1004)
    }

    #[test]
    fn knows_every_call() {
        assert_eq!(check(0x9400_0002), Some(Call::Direct(0x1008)));
        assert_eq!(check(0x97ff_ffff), Some(Call::Direct(0xffc)));
        assert_eq!(check(0xd63f_0100), Some(Call::Indirect)); // blr x8
        assert_eq!(check(0xd73f_0910), Some(Call::Indirect)); // blraa x8, x16
        assert_eq!(check(0xd63f_091f), Some(Call::Indirect)); // blraaz x8
    }

    #[test]
    fn refuses_the_rest() {
        for word in [0x1400_0001, 0xd61f_0100, 0xd65f_03c0, 0xd503_201f] {
            assert_eq!(check(word), None, "{word:x}");
        }
        assert_eq!((AARCH64.call)(&[0x94], 0x1004), None);
    }
}
