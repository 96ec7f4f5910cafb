//! The attach cookie of a uprobe: what a program knows about the place that it was called from.
//!
//! | bits | meaning |
//! |---|---|
//! | 0..16 | number of the function in its owner's table |
//! | 16..24 | 8-byte words between the stack pointer and the return address |
//! | 24..32 | flags, see [`MAY_REPEAT`] |
//! | 32..64 | whatever the owner wants |

/// Flag: one call may hit the place twice, because the function starts again after its stack was made larger (Go).
pub const MAY_REPEAT: u8 = 1;

/// An attach cookie, unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// Number of the function in its owner's table.
    pub function: u16,
    /// Words pushed since the function's entry: the return address is at `sp + 8 * pushed_words` on x86-64, and in `x30`
    /// on aarch64 whatever this says.
    pub pushed_words: u8,
    /// Any of the flags, such as [`MAY_REPEAT`].
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
            flags: MAY_REPEAT,
            own: 0xdead_beef,
        };
        assert_eq!(cookie.pack(), 0xdead_beef_0156_1234);
        assert_eq!(Cookie::unpack(cookie.pack()), cookie);
        assert_eq!(Cookie::unpack(u64::MAX).pack(), u64::MAX);
    }
}
