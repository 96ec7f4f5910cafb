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
    // x0 is overwritten by the result, so the first argument is `orig_x0`.
    pub const ARGS: [usize; 6] = [34, 1, 2, 3, 4, 5];
    // `s32 syscallno` in the low half on little-endian.
    pub const SYSCALL: usize = 35;
    pub const PC: usize = 32;
    pub const SP: usize = 31;
    pub const FP: usize = 29;
    pub const LR: Option<usize> = Some(30);
}

/// A copy of the saved user registers.
pub struct Saved([u64; arch::WORDS]);

impl Saved {
    /// Copies the saved registers at `regs`, a kernel address.
    #[inline(always)]
    pub fn read(regs: *const c_void) -> Option<Self> {
        let mut saved = Self([0; arch::WORDS]);
        // SAFETY: the destination is as long as said; the helper checks the source.
        let failed = unsafe {
            bpf_probe_read_kernel(saved.0.as_mut_ptr().cast(), (arch::WORDS * 8) as u32, regs)
        };
        (failed == 0).then_some(saved)
    }

    #[inline(always)]
    pub fn arg(&self, index: usize) -> u64 {
        self.0[arch::ARGS[index]]
    }

    #[inline(always)]
    pub fn syscall(&self) -> i64 {
        // A 32-bit field on aarch64, sign-extended by hand on both.
        i64::from(self.0[arch::SYSCALL] as i32)
    }

    #[inline(always)]
    pub fn unwind(&self) -> Regs {
        Regs {
            pc: self.0[arch::PC],
            sp: self.0[arch::SP],
            fp: self.0[arch::FP],
            lr: arch::LR.map_or(0, |word| self.0[word]),
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
