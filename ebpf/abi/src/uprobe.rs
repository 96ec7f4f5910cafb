//! The attach cookie of a uprobe: what a program knows about the place that it was called from.
//!
//! | bits | meaning |
//! |---|---|
//! | 0..16 | number of the function in its owner's table |
//! | 16..24 | 8-byte words between the stack pointer and the return address |
//! | 24..32 | flags: bit 24 is [`MAY_REPEAT`], bits 25..28 what a hit costs, see [`PRICES`] |
//! | 32..64 | whatever the owner wants |

/// Flag: one call may hit the place twice, because the function starts again after its stack was made larger (Go).
pub const MAY_REPEAT: u8 = 1;

/// A hit costs one trap: the kernel emulates the instruction.
pub const PRICE_EMULATED: u8 = 0;
/// A hit costs three traps: the kernel single-steps the instruction.
pub const PRICE_STEPPED: u8 = 1;
/// The probe is at a function's return, and a hit includes one at its entry, on an instruction that is emulated.
pub const PRICE_RETURN: u8 = 2;
/// A hit costs a system call: the instruction is a 5-byte `nop`, which newer kernels turn into a call (x86-64, Linux 6.18).
pub const PRICE_NOP5: u8 = 3;
/// As [`PRICE_RETURN`], on an entry that is single-stepped.
pub const PRICE_RETURN_STEPPED: u8 = 4;
/// Number of prices: hits are counted apart by them.
pub const PRICES: u32 = 5;

/// Not counted: what another probe costs has it in already.
pub const PRICE_NONE: u8 = 7;

/// Where the price begins in the flags.
const PRICE_SHIFT: u32 = 1;
/// Its bits.
const PRICE_MASK: u8 = 7;

/// An attach cookie, unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// Number of the function in its owner's table.
    pub function: u16,
    /// Words pushed since the function's entry: the return address is at `sp + 8 * pushed_words` on x86-64, and in `x30`
    /// on aarch64 whatever this says.
    pub pushed_words: u8,
    /// See [`Self::flags`].
    pub flags: u8,
    /// The owner's own.
    pub own: u32,
}

impl Cookie {
    /// As the kernel carries it.
    #[must_use]
    pub const fn pack(self) -> u64 {
        let Self {
            function,
            pushed_words,
            flags,
            own,
        } = self;
        function as u64 | (pushed_words as u64) << 16 | (flags as u64) << 24 | (own as u64) << 32
    }

    /// The flags for a place.
    #[must_use]
    pub const fn flags(may_repeat: bool, price: u8) -> u8 {
        (price & PRICE_MASK) << PRICE_SHIFT | if may_repeat { MAY_REPEAT } else { 0 }
    }

    /// What a hit costs: one of the `PRICE_*` constants.
    #[must_use]
    #[inline(always)]
    pub const fn price(self) -> u8 {
        self.flags >> PRICE_SHIFT & PRICE_MASK
    }

    /// As it came out of `bpf_get_attach_cookie`.
    #[must_use]
    #[inline(always)]
    pub const fn unpack(cookie: u64) -> Self {
        Self {
            function: cookie as u16,
            pushed_words: (cookie >> 16) as u8,
            flags: (cookie >> 24) as u8,
            own: (cookie >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_place() {
        let cookie = Cookie {
            function: 0x1234,
            pushed_words: 0x56,
            flags: Cookie::flags(true, PRICE_RETURN),
            own: 0xdead_beef,
        };
        assert_eq!(cookie.pack(), 0xdead_beef_0556_1234);
        assert_eq!(cookie.price(), PRICE_RETURN);
        assert_eq!(Cookie::unpack(cookie.pack()), cookie);
        assert_eq!(Cookie::unpack(u64::MAX).pack(), u64::MAX);
    }
}
