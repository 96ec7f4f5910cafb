//! Atomic additions, and the counters of what is lost.

use core::arch::asm;

pub use holdup_abi::counter::Counter;

use crate::maps::COUNTERS;

/// Adds to a word that other processors add to as well. `core::sync::atomic` has no `fetch_add` on this target before
/// instruction set v3, which Linux 5.10 does not know.
///
/// # Safety
/// `word` points into a live map value and is 8-byte aligned.
#[inline(always)]
pub unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: the caller's promise; the instruction is one atomic read-modify-write of that word.
    unsafe {
        asm!("lock *(u64 *)({word} + 0) += {value}", word = in(reg) word, value = in(reg) value)
    }
}

/// Notes one loss.
#[inline(always)]
pub fn lost(counter: Counter) {
    if let Some(count) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU element; atomic because an interrupt may bring another program onto this processor.
        unsafe { add(count, 1) }
    }
}
