//! Go's own calling convention, since 1.17 (`src/cmd/compile/abi-internal.md`): words of `struct pt_regs`.

use aya_ebpf::{EbpfContext as _, programs::ProbeContext};

/// r14.
#[cfg(bpf_target_arch = "x86_64")]
pub const GOROUTINE: usize = 1;
/// rax and rbx.
#[cfg(bpf_target_arch = "x86_64")]
pub const ARGUMENTS: [usize; 2] = [10, 5];

/// x28.
#[cfg(bpf_target_arch = "aarch64")]
pub const GOROUTINE: usize = 28;
/// x0 and x1.
#[cfg(bpf_target_arch = "aarch64")]
pub const ARGUMENTS: [usize; 2] = [0, 1];

/// A register of the probed thread; only called with the constants above.
#[inline(always)]
pub fn word(context: &ProbeContext, index: usize) -> u64 {
    // SAFETY: the context is `struct pt_regs`; the verifier checks the offset.
    unsafe { *context.as_ptr().cast::<u64>().add(index) }
}
