//! What a probe on a contended entry point tells of the wait that is about to come.

/// Flag of [`crate::thread::Thread::flags`]: the futex word is the thread's own, and `address` is that of the lock
/// instead.
pub const OWN_WORD: u32 = 16;

/// How a futex word is known to be the lock's, or what else a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Fit {
    /// It lies in the lock object: from `low` to `low + span` bytes after its beginning.
    Inside = 0,
    /// It is the thread's own, and beside it lies the lock's address, or the next one (`parking_lot`). The lock's
    /// statistics are kept `low` bytes after its beginning, so that readers and writers are told apart.
    Keyed = 1,
    /// It is the thread's own, and a [`Self::Tells`] has named it.
    Told = 2,
    /// No lock: the argument points to the thread's own futex word, which is `low` bytes further.
    Tells = 3,
    /// No lock: the wait that was told of is over.
    Over = 4,
    /// It is the thread's own, on the stack of the function that was probed or of one that it calls (musl).
    OnStack = 5,
    /// It is the thread's own, in a condition variable of glibc's (HotSpot): the one that a [`Self::Variable`] names, if a
    /// probe is there.
    Condition = 6,
    /// As [`Self::Inside`]: a condition variable, which may be another lock's means of waiting.
    Variable = 7,
}

impl Fit {
    /// Whether waiters for the lock sleep on words of their own, so that it is accounted under its address.
    #[must_use]
    #[inline(always)]
    pub const fn is_own_word(self) -> bool {
        !matches!(self, Self::Inside | Self::Variable)
    }

    const ALL: [Self; 8] = [
        Self::Inside,
        Self::Keyed,
        Self::Told,
        Self::Tells,
        Self::Over,
        Self::OnStack,
        Self::Condition,
        Self::Variable,
    ];
}

/// Where the lock's address is: one of the first six arguments of a C function, or from [`FIRST_REGISTER`] on a word of
/// `struct pt_regs`.
pub const FIRST_REGISTER: u32 = 8;

/// The owner's part of a probe's cookie ([`crate::uprobe::Cookie::own`]).
///
/// | bits | meaning |
/// |---|---|
/// | 0..5 | `source` |
/// | 5 | `in_midst` |
/// | 6..9 | `fit` |
/// | 9..20 | `low` |
/// | 20..32 | `span` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the lock's address is, see [`FIRST_REGISTER`].
    pub source: u32,
    /// The probe is not at a function's beginning, so that no return address is on top of the stack.
    pub in_midst: bool,
    /// How the word is known.
    pub fit: Fit,
    /// Bytes, see [`Fit`]; less than 2,048.
    pub low: u32,
    /// Bytes, see [`Fit`]; less than 4,096.
    pub span: u32,
}

impl Place {
    /// As the cookie carries it. What is too large is cut off.
    #[must_use]
    pub const fn pack(self) -> u32 {
        let Self {
            source,
            in_midst,
            fit,
            low,
            span,
        } = self;
        source & 0x1f
            | (in_midst as u32) << 5
            | (fit as u32) << 6
            | (low & 0x7ff) << 9
            | (span & 0xfff) << 20
    }

    /// As it came out of the cookie.
    #[must_use]
    #[inline(always)]
    pub const fn unpack(own: u32) -> Self {
        Self {
            source: own & 0x1f,
            in_midst: own >> 5 & 1 == 1,
            fit: Fit::ALL[(own >> 6 & 7) as usize],
            low: own >> 9 & 0x7ff,
            span: own >> 20,
        }
    }
}

/// What a thread is about to wait for. It holds for futex waits of the function that was probed, and of those that it
/// calls: as long as its return address is where it was, and the thread's stack has not shrunk beyond that.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// User address of the lock.
    pub object: u64,
    /// Address of the word on the stack that the return address is in (x86-64), or the caller's stack pointer.
    pub stack: u64,
    /// That return address; 0: not on the stack.
    pub return_address: u64,
    /// The thread's own futex word or condition variable, with [`Fit::Told`] and [`Fit::Condition`]; 0: not told yet.
    pub own_word: u64,
    /// Futex word that the thread sleeps on, listed for those that wake it; 0: none.
    pub listed_word: u64,
    /// Thread; 0: there is no note.
    pub tid: u32,
    /// Number of the row in the agent's table, plus 1.
    pub row: u32,
    /// [`Place`], packed.
    pub place: u32,
    /// 1: it is about the wait that has begun last.
    pub fits: u32,
    /// With `fits`, how far the address that the wait is accounted under lies into the lock, in bytes.
    pub inside: u32,
    /// 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Note>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_place() {
        for fit in Fit::ALL {
            for (source, in_midst, low, span) in
                [(0, false, 0, 0), (31, true, 2047, 4095), (9, true, 4, 8)]
            {
                let place = Place {
                    source,
                    in_midst,
                    fit,
                    low,
                    span,
                };
                assert_eq!(Place::unpack(place.pack()), place);
            }
        }
    }
}
