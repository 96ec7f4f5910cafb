//! `syscalls:sys_{enter,exit}_*` tracepoints: the hooks that every kernel has.
//!
//! Their records are fixed by the kernel (`struct syscall_trace_enter` and `_exit`, kernel/trace/trace.h): arguments
//! start at byte 16, 8 bytes each; so does the result.

use aya_ebpf::{EbpfContext as _, macros::tracepoint, programs::TracePointContext};

use super::syscall;
use crate::{sample::Source, settle, wait};

#[inline(always)]
fn word(context: &TracePointContext, index: usize) -> u64 {
    // SAFETY: the record has six arguments; the verifier checks the offset.
    unsafe { *context.as_ptr().cast::<u64>().add(2 + index) }
}

macro_rules! probe {
    ($name:ident, |$context:ident| $body:expr) => {
        #[tracepoint]
        pub fn $name($context: TracePointContext) -> u32 {
            $body;
            0
        }
    };
}

probe!(tp_enter_futex, |c| syscall::futex(
    Source::of(&c),
    word(&c, 0),
    word(&c, 1) as u32,
    word(&c, 2) as u32
));
probe!(tp_enter_futex_wait, |c| syscall::futex_wait(
    Source::of(&c),
    word(&c, 0),
    word(&c, 1) as u32,
    word(&c, 3) as u32
));
probe!(tp_enter_futex_waitv, |c| syscall::futex_waitv(
    Source::of(&c),
    word(&c, 0)
));
probe!(tp_enter_futex_wake, |c| syscall::futex_wake(
    Source::of(&c),
    word(&c, 0)
));
probe!(tp_enter_futex_requeue, |c| syscall::futex_requeue(
    Source::of(&c),
    word(&c, 0)
));
probe!(tp_enter_restart_syscall, |_c| wait::restart());
probe!(tp_exit_futex, |c| settle::end_futex(
    Source::of(&c),
    word(&c, 0) as i64
));
// One program serves the exits of all other calls that can wait.
probe!(tp_exit, |c| settle::end(Source::of(&c), word(&c, 0) as i64));
