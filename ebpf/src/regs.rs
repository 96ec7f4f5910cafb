//! `struct pt_regs` of each architecture, as an array of 8-byte words (user ABI, stable).

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs,
};
use core::ffi::c_void;
use holdup_abi::record::Regs;

use crate::maps::config;

#[cfg(bpf_target_arch = "x86_64")]
mod arch {
    pub const WORDS: usize = 21;
    /// bp, bx, r11, r10, r9, r8.
    pub const LOW: usize = 4;
    /// dx, si, di, orig_ax, ip, cs, flags, sp.
    pub const HIGH: usize = 12;
    pub const HIGH_WORDS: usize = 8;
    pub const ARGS: [usize; 6] = [14, 13, 12, 7, 9, 8];
    pub const SYSCALL: usize = 15;
    pub const PC: usize = 16;
    pub const SP: usize = 19;
    pub const FP: usize = 4;
    pub const LR: Option<usize> = None;
}

#[cfg(bpf_target_arch = "aarch64")]
mod arch {
    pub const WORDS: usize = 36;
    /// x0 to x5.
    pub const LOW: usize = 0;
    /// x29, x30, sp, pc, pstate, orig_x0, syscallno.
    pub const HIGH: usize = 29;
    pub const HIGH_WORDS: usize = 7;
    // x0 is overwritten by the result, so the first argument is `orig_x0`.
    pub const ARGS: [usize; 6] = [34, 1, 2, 3, 4, 5];
    // `s32 syscallno` in the low half on little-endian.
    pub const SYSCALL: usize = 35;
    pub const PC: usize = 32;
    pub const SP: usize = 31;
    pub const FP: usize = 29;
    pub const LR: Option<usize> = Some(30);
}

const LOW_WORDS: usize = 6;

/// A copy of those saved user registers that matter: all of them would not fit on a BPF stack.
pub struct Saved {
    low: [u64; LOW_WORDS],
    high: [u64; arch::HIGH_WORDS],
}

impl Saved {
    /// Copies from the saved registers at `regs`, a kernel address.
    #[inline(always)]
    pub fn read(regs: *const c_void) -> Option<Self> {
        let mut saved = Self {
            low: [0; LOW_WORDS],
            high: [0; arch::HIGH_WORDS],
        };
        let at = |word: usize| regs.wrapping_byte_add(word * 8);
        // SAFETY: the destinations are as long as said; the helper checks the sources.
        let failed = unsafe {
            bpf_probe_read_kernel(
                saved.low.as_mut_ptr().cast(),
                LOW_WORDS as u32 * 8,
                at(arch::LOW),
            ) | bpf_probe_read_kernel(
                saved.high.as_mut_ptr().cast(),
                arch::HIGH_WORDS as u32 * 8,
                at(arch::HIGH),
            )
        };
        (failed == 0).then_some(saved)
    }

    /// Word `index` of `struct pt_regs`; only called with the constants of [`arch`].
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        if index < arch::HIGH {
            self.low[index - arch::LOW]
        } else {
            self.high[index - arch::HIGH]
        }
    }

    #[inline(always)]
    pub fn arg(&self, index: usize) -> u64 {
        self.word(arch::ARGS[index])
    }

    #[inline(always)]
    pub fn syscall(&self) -> i64 {
        // A 32-bit field on aarch64, sign-extended by hand on both.
        i64::from(self.word(arch::SYSCALL) as i32)
    }

    #[inline(always)]
    pub fn unwind(&self) -> Regs {
        Regs {
            pc: self.word(arch::PC),
            sp: self.word(arch::SP),
            fp: self.word(arch::FP),
            lr: arch::LR.map_or(0, |word| self.word(word)),
        }
    }
}

/// Saved user registers of the current thread. Call only where `config!(has_task_regs)` is set (Linux 5.15).
#[inline(always)]
pub fn current() -> Option<Saved> {
    // SAFETY: helpers that return kernel pointers; they are only handed to a checked read.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf().cast()) };
    Saved::read(regs as *const c_void)
}

/// Saved stack pointer of the current thread, likewise.
#[inline(always)]
pub fn stack_pointer() -> Option<u64> {
    // SAFETY: helpers that return kernel pointers; they are only handed to a checked read.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf().cast()) };
    crate::task::read_u64(regs as *const u8, arch::SP as u32 * 8)
}

/// Saved user registers of `task`: through the helper, or by the kernel's layout where it is missing (before 5.15).
#[inline(always)]
pub fn of_task(task: *const u8) -> Option<Saved> {
    if config!(has_task_regs) == 1 {
        // SAFETY: `task` is the iterator's own typed pointer.
        let regs = unsafe { bpf_task_pt_regs(task as *mut _) };
        return Saved::read(regs as *const c_void);
    }
    // The registers are at the very top of the kernel stack: arch/x86/include/asm/processor.h `task_pt_regs`.
    let stack = crate::task::read_u64(task, config!(task.stack))?;
    let top = stack.wrapping_add(u64::from(config!(kernel_stack_bytes)));
    Saved::read(top.wrapping_sub(arch::WORDS as u64 * 8) as *const c_void)
}

/// Reads argument `index` of a system call from the registers that a `__x64_sys_*` wrapper was called with.
///
/// # Safety
/// `regs` is the wrapper's own typed `struct pt_regs *` argument.
#[inline(always)]
pub unsafe fn wrapper_arg(regs: *const u64, index: usize) -> u64 {
    // SAFETY: the caller's promise; the verifier checks the offset against the structure.
    unsafe { *regs.add(wrapper_index(index)) }
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
const fn wrapper_index(index: usize) -> usize {
    arch::ARGS[index]
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
const fn wrapper_index(index: usize) -> usize {
    // At entry x0 still holds the first argument.
    index
}
