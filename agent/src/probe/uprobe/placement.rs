//! Where in a function a probe is cheapest.
//!
//! The kernel replaces the probed instruction by a trap. Afterwards it must do what the instruction did: some it emulates,
//! all others it executes elsewhere and single-steps, which takes two more traps. So the place is the first emulated
//! instruction from which the function's arguments are still where the caller put them, provided that every call comes
//! past it exactly once: no way out before it, no way back to it. Where there is none, the place is the entry.
//!
//! Here is what the architectures have in common; [`x86`] and [`aarch64`] tell what an instruction is.

pub mod aarch64;
pub mod x86;

use std::collections::BTreeSet;

/// Most instructions looked at: compilers save registers first, so an emulated one comes early or too late.
const MAX_INSTRUCTIONS: usize = 16;
/// Most code of a function that is looked at for branches, in bytes. Beyond it a loop would have to lead back to the
/// function's first instructions, which no compiler does.
pub const MAX_CODE: usize = 64 << 10;

/// Registers that must still hold what the caller put there, by their hardware numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u32);

impl Needs {
    /// None.
    pub const NONE: Self = Self(0);

    /// Argument registers of C functions by number on this machine.
    const ARGUMENTS: [u8; 6] = if cfg!(target_arch = "aarch64") {
        [0, 1, 2, 3, 4, 5]
    } else {
        // rdi, rsi, rdx, rcx, r8, r9
        [7, 6, 2, 1, 8, 9]
    };

    /// The first `count` arguments of a C function, at most six.
    #[must_use]
    pub const fn arguments(count: u8) -> Self {
        let mut needs = Self::NONE;
        let mut index = 0;
        while index < count as usize && index < Self::ARGUMENTS.len() {
            needs = needs.register(Self::ARGUMENTS[index]);
            index += 1;
        }
        needs
    }

    /// These, and a register by its hardware number: on x86-64 rax is 0 and r14 is 14, on aarch64 x28 is 28.
    #[must_use]
    pub const fn register(self, number: u8) -> Self {
        Self(self.0 | 1 << (number % 32))
    }
}

/// Where to place a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Offset in the file.
    pub offset: u64,
    /// 8-byte words between the stack pointer and the return address (x86-64; aarch64 has it in `x30`).
    pub pushed_words: u8,
    /// The kernel emulates the instruction: one trap, not three.
    pub emulated: bool,
    /// One call may come past twice: see [`holdup_abi::uprobe::MAY_REPEAT`].
    pub may_repeat: bool,
    /// What the place is, or why it is only the entry.
    pub why: &'static str,
}

impl Placement {
    /// The entry of a function.
    #[must_use]
    pub const fn entry(offset: u64, why: &'static str) -> Self {
        Self {
            offset,
            pushed_words: 0,
            emulated: false,
            may_repeat: false,
            why,
        }
    }
}

/// Places a probe in a function of this machine's architecture. `code` is the function's, from its entry on and at most
/// [`MAX_CODE`] of it; `function_offset` its offset in the file.
#[must_use]
pub fn place(code: &[u8], function_offset: u64, needs: Needs) -> Placement {
    #[cfg(target_arch = "x86_64")]
    return x86::place(code, function_offset, needs);
    #[cfg(target_arch = "aarch64")]
    return aarch64::place(code, function_offset, needs);
}

/// What an instruction is to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The kernel emulates it.
    Emulated,
    /// Emulated: the jump of a Go function that wants a larger stack, after which it starts again.
    StackCheck {
        /// The code that it jumps to was seen to lead back to the entry and nowhere else.
        returns: bool,
    },
    /// Goes on with the next instruction.
    Plain {
        /// Registers that it writes.
        writes: u32,
        /// Bytes that it takes from the stack pointer; nothing when that cannot be told.
        stack_bytes: Option<i64>,
    },
    /// Goes elsewhere, or cannot be decoded.
    End,
}

/// The search. `instructions` are offsets in the function with what is there; `targets` offsets in the function that its
/// branches lead to.
fn search(
    instructions: impl Iterator<Item = (usize, Kind)>,
    targets: &BTreeSet<usize>,
    function_offset: u64,
    needs: Needs,
) -> Placement {
    let mut stack_bytes = 0;
    let mut check = None;
    let why = 'search: {
        for (at, kind) in instructions.take(MAX_INSTRUCTIONS) {
            // A branch to the entry itself is a call, or the end of a stack check.
            if at != 0 && targets.contains(&at) {
                break 'search "a branch leads back to the beginning";
            }
            let place = |why, may_repeat| {
                let words = u8::try_from(stack_bytes / 8).ok();
                Some(Placement {
                    offset: function_offset.checked_add(at as u64)?,
                    pushed_words: words.filter(|_| stack_bytes % 8 == 0)?,
                    emulated: true,
                    may_repeat,
                    why,
                })
            };
            match kind {
                Kind::Emulated => match place("emulated", false) {
                    Some(placement) => return placement,
                    None => break 'search "the return address is too far away",
                },
                Kind::StackCheck { returns } => {
                    check = place("emulated, the stack check of a Go function", true);
                    if !returns {
                        break;
                    }
                }
                Kind::Plain { writes, .. } if writes & needs.0 != 0 => {
                    break 'search "arguments are overwritten before an emulated instruction";
                }
                Kind::Plain {
                    stack_bytes: None, ..
                } => break 'search "the stack is realigned",
                Kind::Plain {
                    stack_bytes: Some(taken),
                    ..
                } => stack_bytes = i64::saturating_add(stack_bytes, taken),
                Kind::End => break,
            }
        }
        "no emulated instruction at the beginning"
    };
    check.unwrap_or(Placement::entry(function_offset, why))
}
