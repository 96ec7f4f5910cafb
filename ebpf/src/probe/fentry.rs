//! `fentry`/`fexit` on the system call wrappers (`__x64_sys_futex`, ...): cheaper where the kernel allows them, and no
//! other system call pays for them. Not on `do_futex`: its seven arguments exceed what older trampolines pass.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::syscall;
use crate::{regs::wrapper_arg, sample::Source, settle, wait};

#[inline(always)]
fn arg(context: &FEntryContext, index: usize) -> u64 {
    // SAFETY: the one argument of the wrapper is its `struct pt_regs *`.
    unsafe { wrapper_arg(context.arg::<*const u64>(0), index) }
}

macro_rules! enter {
    ($name:ident, |$context:ident| $body:expr) => {
        #[fentry]
        pub fn $name($context: FEntryContext) -> u32 {
            $body;
            0
        }
    };
}

/// The wrapper's result comes after its one argument.
macro_rules! exit {
    ($($name:ident => $end:path),+ $(,)?) => {
        $(
            #[fexit]
            pub fn $name(context: FExitContext) -> u32 {
                $end(Source::of(&context), context.arg::<i64>(1));
                0
            }
        )+
    };
}

enter!(fentry_futex, |c| syscall::futex(
    Source::of(&c),
    arg(&c, 0),
    arg(&c, 1) as u32,
    arg(&c, 2) as u32
));
enter!(fentry_futex_wait, |c| syscall::futex_wait(
    Source::of(&c),
    arg(&c, 0),
    arg(&c, 1) as u32,
    arg(&c, 3) as u32
));
enter!(fentry_futex_waitv, |c| syscall::futex_waitv(
    Source::of(&c),
    arg(&c, 0)
));
enter!(fentry_futex_wake, |c| syscall::futex_wake(
    Source::of(&c),
    arg(&c, 0)
));
enter!(fentry_futex_requeue, |c| syscall::futex_requeue(
    Source::of(&c),
    arg(&c, 0)
));
enter!(fentry_restart_syscall, |_c| wait::restart());
exit!(
    fexit_futex => settle::end_futex,
    fexit_futex_wait => settle::end,
    fexit_futex_waitv => settle::end,
    fexit_restart_syscall => settle::end,
);
