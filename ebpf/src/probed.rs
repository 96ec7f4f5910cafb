//! Registers of a thread at an instruction that a uprobe is on: the program's own context.

use aya_ebpf::{EbpfContext as _, programs::ProbeContext};
use core::arch::asm;
use holdup_abi::slow::FIRST_REGISTER;

#[cfg(bpf_target_arch = "x86_64")]
mod arch {
    /// di, si, dx, cx, r8, r9.
    pub const ARGUMENTS: [usize; 6] = [14, 13, 12, 11, 9, 8];
    pub const SP: usize = 19;
    pub const RETURN_ADDRESS_ON_STACK: bool = true;
}

#[cfg(bpf_target_arch = "aarch64")]
mod arch {
    pub const ARGUMENTS: [usize; 6] = [0, 1, 2, 3, 4, 5];
    pub const SP: usize = 31;
    pub const RETURN_ADDRESS_ON_STACK: bool = false;
}

pub use arch::RETURN_ADDRESS_ON_STACK;

/// One load at a fixed offset. Written by hand, or the compiler would make a table of offsets and one load of them all,
/// which the verifier forbids.
macro_rules! load {
    ($context:expr, $word:expr) => {{
        let value: u64;
        // SAFETY: a word of the context; the verifier checks the offset.
        unsafe {
            asm!(
                "{value} = *(u64 *)({context} + {offset})",
                value = out(reg) value,
                context = in(reg) $context,
                offset = const $word * 8,
            )
        };
        value
    }};
}

/// The word that `source` names, see [`FIRST_REGISTER`]; 0 when it names none.
#[inline(always)]
pub fn word(context: &ProbeContext, source: u32) -> u64 {
    let context = context.as_ptr();
    macro_rules! registers {
        ($($word:literal)+) => {
            match source {
                0 => load!(context, arch::ARGUMENTS[0]),
                1 => load!(context, arch::ARGUMENTS[1]),
                2 => load!(context, arch::ARGUMENTS[2]),
                3 => load!(context, arch::ARGUMENTS[3]),
                4 => load!(context, arch::ARGUMENTS[4]),
                5 => load!(context, arch::ARGUMENTS[5]),
                $(source if source == FIRST_REGISTER + $word => load!(context, $word),)+
                _ => 0,
            }
        };
    }
    registers!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

#[inline(always)]
pub fn stack_pointer(context: &ProbeContext) -> u64 {
    load!(context.as_ptr(), arch::SP)
}
