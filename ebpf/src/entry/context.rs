//! Registers of a probed call, straight from the program's context.

use aya_ebpf::{
    EbpfContext as _,
    programs::{ProbeContext, RetProbeContext},
};
use core::arch::asm;
use holdup_abi::record::Regs;

#[cfg(bpf_target_arch = "x86_64")]
mod arch {
    /// di, si, dx, cx, r8, r9.
    pub const ARGS: [usize; 6] = [14, 13, 12, 11, 9, 8];
    pub const RESULT: usize = 10;
    pub const SP: usize = 19;
    pub const FP: usize = 4;
}

#[cfg(bpf_target_arch = "aarch64")]
mod arch {
    pub const ARGS: [usize; 6] = [0, 1, 2, 3, 4, 5];
    pub const RESULT: usize = 0;
    pub const SP: usize = 31;
    pub const FP: usize = 29;
    pub const LR: usize = 30;
}

/// Word `N` of `struct pt_regs`. One instruction, or the compiler would compute an address, which the verifier refuses in a
/// context.
#[inline(always)]
fn word<const N: usize>(regs: *const u64) -> u64 {
    let value: u64;
    // SAFETY: a load from within the program's context; the verifier checks that.
    unsafe {
        asm!(
            "{value} = *(u64 *)({regs} + {offset})",
            value = out(reg) value,
            regs = in(reg) regs,
            offset = const N * 8,
            options(pure, readonly, nostack),
        );
    }
    value
}

/// Argument `number` of the function; 0 beyond those that are in registers.
#[inline(always)]
pub fn argument(context: &ProbeContext, number: u32) -> u64 {
    let regs = context.as_ptr() as *const u64;
    match number {
        0 => word::<{ arch::ARGS[0] }>(regs),
        1 => word::<{ arch::ARGS[1] }>(regs),
        2 => word::<{ arch::ARGS[2] }>(regs),
        3 => word::<{ arch::ARGS[3] }>(regs),
        4 => word::<{ arch::ARGS[4] }>(regs),
        5 => word::<{ arch::ARGS[5] }>(regs),
        _ => 0,
    }
}

/// Registers of the caller as they will be when the call has returned, `pushed` words after the function's entry. `pc` is
/// the return address minus 1, or 0 when that cannot be read.
#[inline(always)]
pub fn caller(context: &ProbeContext, pushed: u8) -> Regs {
    let regs = context.as_ptr() as *const u64;
    let sp = word::<{ arch::SP }>(regs).wrapping_add(u64::from(pushed) * 8);
    let fp = word::<{ arch::FP }>(regs);
    #[cfg(bpf_target_arch = "x86_64")]
    let (pc, sp, lr) = (return_address(sp), sp.wrapping_add(8), 0);
    #[cfg(bpf_target_arch = "aarch64")]
    let (pc, lr) = (word::<{ arch::LR }>(regs).wrapping_sub(1), 0);
    Regs { pc, sp, fp, lr }
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn return_address(at: u64) -> u64 {
    use crate::count::{Counter, lost};
    use aya_ebpf::helpers::generated::bpf_probe_read_user;
    use core::ffi::c_void;

    let mut address = 1u64;
    // SAFETY: the destination is 8 bytes long; the helper checks the source.
    let failed = unsafe { bpf_probe_read_user((&raw mut address).cast(), 8, at as *const c_void) };
    if failed != 0 {
        lost(Counter::EntryStackUnreadable);
        return 0;
    }
    address.wrapping_sub(1)
}

/// Stack pointer of the caller, to which the function has returned, and the result.
#[inline(always)]
pub fn returned(context: &RetProbeContext) -> (u64, u64) {
    let regs = context.as_ptr() as *const u64;
    (word::<{ arch::SP }>(regs), word::<{ arch::RESULT }>(regs))
}
