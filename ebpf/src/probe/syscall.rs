//! What the futex system calls mean, whichever hook saw them.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user};
use core::ffi::c_void;
use holdup_abi::futex::{self, Action, CMD_MASK, FUTEX2_PRIVATE, FUTEX2_WAIT, FUTEX2_WAITV};

use crate::{
    count::{Counter, lost},
    filter,
    sample::Source,
    wait, wake,
};

/// `struct futex_waitv` (`include/uapi/linux/futex.h`), also each half of `futex_requeue`'s vector.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Waiter {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// `futex(uaddr, op, val, ...)`.
#[inline(always)]
pub fn futex(source: Source, address: u64, op: u32, value: u32) {
    match futex::action(op & CMD_MASK) {
        Action::Wait => wait::begin(source, op, address, value),
        Action::Wake => wake::wake(source, address, false),
        Action::Requeue => wake::wake(source, address, true),
        Action::Other => {}
    }
}

/// `futex_wait(uaddr, val, mask, flags, ...)`.
#[inline(always)]
pub fn futex_wait(source: Source, address: u64, value: u32, flags: u32) {
    wait::begin(
        source,
        FUTEX2_WAIT | (flags & FUTEX2_PRIVATE),
        address,
        value,
    );
}

/// `futex_waitv(waiters, ...)`: accounted at the first futex of the vector, as one wait.
#[inline(always)]
pub fn futex_waitv(source: Source, vector: u64) {
    if !is_watched() {
        return;
    }
    match first(vector) {
        Some(waiter) => {
            let op = FUTEX2_WAITV | (waiter.flags & FUTEX2_PRIVATE);
            wait::begin(source, op, waiter.address, waiter.value as u32);
        }
        None => lost(Counter::WaitvUnreadable),
    }
}

/// `futex_wake(uaddr, ...)`.
#[inline(always)]
pub fn futex_wake(source: Source, address: u64) {
    wake::wake(source, address, false);
}

/// `futex_requeue(waiters, ...)`: the first element is where the waiters are.
#[inline(always)]
pub fn futex_requeue(source: Source, vector: u64) {
    if !is_watched() {
        return;
    }
    match first(vector) {
        Some(waiter) => wake::wake(source, waiter.address, true),
        None => lost(Counter::WaitvUnreadable),
    }
}

/// Asked again later, but an unreadable vector of somebody else is no loss.
#[inline(always)]
fn is_watched() -> bool {
    filter::watches_current((bpf_get_current_pid_tgid() >> 32) as u32)
}

#[inline(always)]
fn first(vector: u64) -> Option<Waiter> {
    let mut waiter = Waiter::default();
    // SAFETY: the destination is one `Waiter`; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_user(
            (&raw mut waiter).cast(),
            size_of::<Waiter>() as u32,
            vector as *const c_void,
        )
    };
    (failed == 0).then_some(waiter)
}
